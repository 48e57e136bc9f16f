"""Rows for the web process to show, written by a process of its own: `python -m benchmarks.web._fill FILE`.

The file gets, as JSON, who may ask: a personal token, a run's token with its run, and a browser's session.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

RUNS, CLUSTERS = 200, 30
PROJECT = "vision"


def main(target: Path) -> None:
    """Fill the tables and write the file."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
    import django

    django.setup()
    from django.db import connection

    from apps.core.models import Membership, Project, User
    from apps.core.secrets.tokens import issue_token
    from benchmarks.clusters._rows import Fleet
    from benchmarks.web._session import opened

    Fleet(clusters=CLUSTERS, nodes=3, pods=10, big_nodes=0).fill()
    project, _ = Project.objects.get_or_create(name=PROJECT)
    vera = User.objects.create(username="vera")
    Membership.objects.create(project=project, user=vera, role="developer")
    run = _runs(project)
    access = {
        "run": run.uid,
        "token": issue_token(name="bench", user=vera)[1],
        "run_token": issue_token(name="run", project=project, run_uid=run.uid)[1],
        "session": opened(vera),
    }
    with connection.cursor() as cursor:
        # As autovacuum does on a system that has run for a minute.
        cursor.execute("VACUUM ANALYZE")
    target.write_text(json.dumps(access))


def _runs(project: Any) -> Any:
    """Runs of one experiment, each with two params, three latest metrics and a tag; returns the newest, which runs."""
    from django.utils import timezone

    from apps.experiments.models import Experiment, LatestMetric, Param, Run, Tag

    experiment = Experiment.objects.create(project=project, name="digits")
    known: dict[str, Any] = {"experiment": experiment, "kind": "external", "created_by": "vera"}
    runs = [
        Run.objects.create(**known, name=f"trial-{number}", state="Succeeded", started_at=timezone.now())
        for number in range(RUNS)
    ]
    for run in runs:
        of: dict[str, Any] = {"run": run, "experiment": experiment}
        Param.objects.bulk_create(Param(**of, key=key, value="0.1") for key in ("alpha", "solver"))
        LatestMetric.objects.bulk_create(
            LatestMetric(**of, key=key, value=0.5, step=9, timestamp=1) for key in ("accuracy", "f1", "loss")
        )
        Tag.objects.create(**of, key="mlflow.user", value="vera")
    Run.objects.filter(pk=runs[-1].pk).update(state="Running")
    return runs[-1]


if __name__ == "__main__":
    main(Path(sys.argv[1]))

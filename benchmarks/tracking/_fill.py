"""A project and its token, written by a process of its own: `python -m benchmarks.tracking._fill FILE`.

The file gets, as JSON, the project's token and the id of an experiment.
"""

import json
import os
import sys
from pathlib import Path


def main(target: Path) -> None:
    """Make both and write the file."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
    import django

    django.setup()

    from apps.core.models import Membership, Project, User
    from apps.core.secrets.tokens import issue_token
    from apps.experiments.models import Experiment

    project = Project.objects.create(name="bench")
    person = User.objects.create(username="vera")
    Membership.objects.create(project=project, user=person, role="developer")
    experiment = Experiment.objects.create(project=project, name="bench")
    access = {"experiment": str(experiment.pk), "token": issue_token(name="bench", user=person)[1]}
    target.write_text(json.dumps(access))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

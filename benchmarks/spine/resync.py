"""The cost of the safety net under the queue: ten thousand settled deployments are compared with what is observed."""

import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from benchmarks.clusters._servers import django_on_own_servers
from benchmarks.figures import Figure
from benchmarks.usage import cpu_seconds

DEPLOYMENTS, CLUSTERS = 10_000, 50
EVERY_SECONDS = 600.0
TIMES = 5


def run() -> Iterator[Figure]:
    """CPU of this process and of its Postgres session, as a share of one core over the time between two resyncs."""
    with django_on_own_servers():
        _fill()
        from django.db import connection
        from django.utils import timezone

        from apps.deployments import selectors
        from apps.deployments.services.access import RENEW_BEFORE

        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
            cursor.execute("SELECT pg_backend_pid()")
            (backend,) = cursor.fetchone()
        assert selectors.unsettled(timezone.now(), token_margin=RENEW_BEFORE) == [], "all of them are settled"
        ours, theirs = time.process_time(), cpu_seconds(backend)
        for _ in range(TIMES):
            selectors.unsettled(timezone.now(), token_margin=RENEW_BEFORE)
        seconds = (time.process_time() - ours + cpu_seconds(backend) - theirs) / TIMES
    beside = {"deployments": DEPLOYMENTS, "cpu_s_each": round(seconds, 3), "every_s": EVERY_SECONDS}
    yield Figure("resync_of_settled_deployments", seconds / EVERY_SECONDS * 100, "% of a core", goal=2.0, beside=beside)


def _fill() -> None:
    from django.utils import timezone

    from apps.core.models import Project
    from apps.deployments.models import Deployment, Placement, Revision, Target
    from tests import factories

    now = timezone.now()
    project = Project.objects.create(name="bench")
    clusters = [factories.cluster(f"c{number}", nodes=0) for number in range(CLUSTERS)]
    targets = [
        Target.objects.create(
            project=project, name=each.name, cluster=each, namespace="flotilla-bench", environment="p"
        )
        for each in clusters
    ]
    seen = {
        "state": "Active",
        "desired_replicas": 2,
        "ready_replicas": 2,
        "observed_generation": 1,
        "observed_at": now,
        "health": "Healthy",
    }
    deployments = Deployment.objects.bulk_create(
        Deployment(project=project, name=f"app-{number}", **seen) for number in range(DEPLOYMENTS)
    )
    revisions = Revision.objects.bulk_create(
        Revision(deployment=each, number=1, spec={}, digest="0" * 16) for each in deployments
    )
    for each, revision in zip(deployments, revisions, strict=True):
        each.current = each.stable = revision
    Deployment.objects.bulk_update(deployments, ["current", "stable"], batch_size=1000)
    places = Placement.objects.bulk_create(
        Placement(deployment=each, target=targets[number % CLUSTERS], stable=each.current, **seen)
        for number, each in enumerate(deployments)
    )
    _observe(places, now)


def _observe(places: list[Any], now: datetime) -> None:
    """The rows that a watcher would have written."""
    from apps.clusters.models import Workload

    Workload.objects.bulk_create(
        Workload(
            cluster=each.target.cluster,
            uid=f"uid-{each.pk}",
            kind="Deployment",
            namespace="flotilla-bench",
            name=f"{each.deployment.name}-r1",
            project="bench",
            wanted=2,
            ready=2,
            observed_at=now,
        )
        for each in places
    )

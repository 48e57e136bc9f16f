"""Pages and endpoints of a project with a thousand deployments and ten thousand replicas on fifty clusters: time in the
server and queries; and the look of the queue's net over all of them.

Every tenth deployment is on three targets, every fiftieth in the middle of a canary, every twentieth in trouble.
`floor` is the page of settings, which asks nothing of deployments.
"""

import time
from collections.abc import Iterator
from typing import Any

from benchmarks.clusters._servers import django_on_own_servers
from benchmarks.figures import Figure
from benchmarks.pagetime import page_time

DEPLOYMENTS, CLUSTERS, REPLICAS = 1_000, 50, 10
RESYNC_GOAL_S = 5.0
PAGES = {
    "list": "/p/bench/deployments/",
    "list, in trouble": "/p/bench/deployments/?health=Degraded",
    "list, by name": "/p/bench/deployments/?q=app-7",
    "list, last page": "/p/bench/deployments/?page=20",
    "deployment": "/p/bench/deployments/app-1/",
    "deployment on three targets": "/p/bench/deployments/app-10/",
    "canary": "/p/bench/deployments/app-50/",
    "canary, live summary": "/p/bench/deployments/app-50/?part=summary",
    "targets": "/p/bench/targets/",
    "overview": "/p/bench/",
    "search": "/search?q=app-77",
    "REST deployments": "/api/v1/deployments?project=bench",
    "REST deployments on a cluster": "/api/v1/deployments?project=bench&cluster=c7",
    "REST deployment": "/api/v1/deployments/app-50?project=bench",
    "REST replicas": "/api/v1/deployments/app-10/replicas?project=bench",
}


def run() -> Iterator[Figure]:
    """Fill the tables and measure every page; yields p95 with p50, queries and size beside it, and the resync."""
    with django_on_own_servers():
        from django.db import connection
        from django.utils import timezone

        from apps.core.models import User
        from apps.core.process import collector
        from apps.deployments import selectors
        from apps.deployments.services.access import RENEW_BEFORE

        _fill()
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
        root = User.objects.create_superuser("root")
        collector.settle()  # as the web process does
        for name, path in ({"floor": "/settings/"} | PAGES).items():
            yield page_time(name, path, root)
        began = time.perf_counter()
        left = selectors.unsettled(timezone.now(), token_margin=RENEW_BEFORE)
        took = time.perf_counter() - began
        yield Figure("resync_look", took, "s", RESYNC_GOAL_S, beside={"unsettled": len(left)})


def _fill() -> None:
    from apps.core.models import Project
    from apps.deployments.models import Target
    from tests import factories

    project = Project.objects.create(name="bench")
    clusters = [factories.cluster(f"c{number}", nodes=0) for number in range(CLUSTERS)]
    targets = [
        Target.objects.create(
            project=project, name=f"on-{each.name}", cluster=each, namespace="flotilla-bench", environment="production"
        )
        for each in clusters
    ]
    for number in range(DEPLOYMENTS):
        count = 1 if number % 10 else 3
        _deployment(project, number, [targets[(number + more) % CLUSTERS] for more in range(count)])


def _deployment(project: Any, number: int, targets: list[Any]) -> None:
    """One deployment with all its replicas, and as its number says in trouble or in the middle of a canary."""
    from apps.clusters.models import Pod
    from apps.deployments.models import Deployment, Placement, Revision
    from tests import factories

    name, bad = f"app-{number}", number % 20 == 0
    seen = factories.observed(REPLICAS // len(targets))
    seen |= {"health": "Degraded", "reason": "CrashLoopBackOff", "message": "9 of 10 ready."} if bad else {}
    made = Deployment.objects.create(project=project, name=name, state="Active", last_revision=1, **seen)
    spec: dict[str, Any] = {"image": "team/app:1", "command": ["serve"], "args": [], "env": {}, "model": None}
    spec |= {"port": 8080, "resources": {"cpu": "1", "memory": "1Gi", "gpu": 0}}
    revision = Revision.objects.create(deployment=made, number=1, spec=spec, digest=f"{number:016}")
    Deployment.objects.filter(pk=made.pk).update(current=revision, stable=revision)
    Placement.objects.bulk_create(
        Placement(deployment=made, target=target, state="Active", stable=revision, **seen) for target in targets
    )
    Pod.objects.bulk_create(
        Pod(
            cluster=target.cluster,
            uid=f"{name}-{place}",
            namespace=target.namespace,
            name=f"{name}-r1-{place}",
            project="bench",
            deployment=name,
            revision="1",
            phase="Running",
            ready=not (bad and place == 0),
            health="Degraded" if bad and place == 0 else "Healthy",
            observed_at=seen["observed_at"],
        )
        for place in range(REPLICAS)
        for target in [targets[place % len(targets)]]
    )
    if number % 50 == 0 and number:
        _canary(made)


def _canary(deployment: Any) -> None:
    """A second revision that has reached its share on every target, and waits to be promoted."""
    from apps.deployments.models import Deployment, Placement, Revision, Rollout, Stage

    old = deployment.revisions.get()
    new = Revision.objects.create(deployment=deployment, number=2, spec=old.spec, digest=f"{deployment.pk:015}b")
    places = list(Placement.objects.filter(deployment=deployment).select_related("target"))
    targets = [place.target.name for place in places]
    steps = ({"do": "set_weight", "weight": 20}, {"do": "pause"}, {"do": "promote"})
    rollout = Rollout.objects.create(
        deployment=deployment,
        from_revision=old,
        to_revision=new,
        state="Paused",
        step=1,
        plan=[{**step, "wave": 0, "targets": targets} for step in steps],
        on_failure="rollback",
    )
    Stage.objects.bulk_create(
        Stage(rollout=rollout, placement=place, weight=20, actual=20, state="Healthy") for place in places
    )
    Placement.objects.filter(deployment=deployment).update(coming=new, weight=20)
    Deployment.objects.filter(pk=deployment.pk).update(current=new, last_revision=2)

"""Pages and endpoints of a project with a thousand deployments and ten thousand replicas on fifty clusters: time in the
server and queries; and the look of the queue's net over all of them.

Every tenth deployment is on three targets, every fiftieth in the middle of a canary, every twentieth in trouble, and
every fifth waits for approval. Every target has a policy with approval, a freeze and a quota. `floor` is the page of
settings, which asks nothing of deployments. The queries of each page are counted with the first few deployments, too.
"""

import time
from collections.abc import Iterator
from typing import Any

from benchmarks.clusters._servers import django_on_own_servers
from benchmarks.figures import Figure
from benchmarks.pagetime import page_time, queries_of

DEPLOYMENTS, CLUSTERS, REPLICAS = 1_000, 50, 10
# Enough for one of each kind.
FEW = 60
POLICY = {
    "approval": True,
    "freezes": [{"name": "weekend", "from": "fri 18:00", "until": "mon 08:00"}],
    "quota": {"replicas": 1000, "cpu": "2000"},
}
RESYNC_GOAL_S = 5.0
PAGES = {
    "list": "/p/bench/deployments/",
    "list, in trouble": "/p/bench/deployments/?health=Degraded",
    "list, by name": "/p/bench/deployments/?q=app-7",
    "list, on a cluster": "/p/bench/deployments/?cluster=c7&environment=production",
    "list, rolling out": "/p/bench/deployments/?rollout=UnderWay",
    "list, nothing found": "/p/bench/deployments/?cluster=c7&rollout=Paused&strategy=canary&health=Missing",
    "list, last page": "/p/bench/deployments/?page=20",
    "deployment": "/p/bench/deployments/app-1/",
    "deployment on three targets": "/p/bench/deployments/app-10/",
    "canary": "/p/bench/deployments/app-50/",
    "canary, live summary": "/p/bench/deployments/app-50/?part=summary",
    "list as a matrix": "/p/bench/deployments/?view=matrix",
    "matrix, on a cluster": "/p/bench/deployments/?view=matrix&cluster=c7",
    "matrix, last page": "/p/bench/deployments/?view=matrix&page=20",
    "deployment that waits for approval": "/p/bench/deployments/app-11/",
    "approvals": "/p/bench/approvals/",
    "targets": "/p/bench/targets/",
    "target": "/p/bench/targets/on-c7/",
    "overview": "/p/bench/",
    "search": "/search?q=app-5",
    "REST deployments": "/api/v1/deployments?project=bench",
    "REST deployments on a cluster": "/api/v1/deployments?project=bench&cluster=c7",
    "REST deployment": "/api/v1/deployments/app-50?project=bench",
    "REST approvals": "/api/v1/approvals?project=bench",
    "REST targets": "/api/v1/targets?project=bench",
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

        root, fill = User.objects.create_superuser("root"), _Fill()
        fill.deployments(0, FEW)
        few = {name: queries_of(path, root) for name, path in PAGES.items()}
        fill.deployments(FEW, DEPLOYMENTS)
        many = {name: queries_of(path, root) for name, path in PAGES.items()}
        grow = {name: (few[name], many[name]) for name in PAGES if many[name] > few[name]}
        yield Figure(
            "pages_whose_queries_grow", len(grow), "pages", 0.0, beside={"from": FEW, "to": DEPLOYMENTS, **grow}
        )
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
        collector.settle()  # as the web process does
        for name, path in ({"floor": "/settings/"} | PAGES).items():
            yield page_time(name, path, root)
        began = time.perf_counter()
        left = selectors.unsettled(timezone.now(), token_margin=RENEW_BEFORE)
        took = time.perf_counter() - began
        yield Figure("resync_look", took, "s", RESYNC_GOAL_S, beside={"unsettled": len(left)})


class _Fill:
    """A project with a target on each cluster, to be filled with deployments."""

    def __init__(self) -> None:
        from apps.core.models import Project
        from apps.deployments.models import Target
        from apps.deployments.rollout.policy import parse_policy
        from tests import factories

        self._project, policy = Project.objects.create(name="bench"), parse_policy(POLICY).to_json()
        self._asker = factories.member(self._project, "asker")
        clusters = [factories.cluster(f"c{number}", nodes=0) for number in range(CLUSTERS)]
        at = {"project": self._project, "namespace": "flotilla-bench", "environment": "production", "policy": policy}
        self._targets = [Target.objects.create(name=f"on-{each.name}", cluster=each, **at) for each in clusters]

    def deployments(self, first: int, end: int) -> None:
        """Make those with these numbers."""
        for number in range(first, end):
            count = 1 if number % 10 else 3
            targets = [self._targets[(number + more) % CLUSTERS] for more in range(count)]
            _deployment(self._project, number, targets, self._asker)


def _deployment(project: Any, number: int, targets: list[Any], asker: Any) -> None:
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
        _next(made, asker, 20, "PauseStep")
    elif number % 5 == 1:
        _wait_for_approval(_next(made, asker, 0, "WaitingForApproval"))


def _wait_for_approval(rollout: Any) -> None:
    from apps.deployments.models import Approval

    stages = rollout.stages.select_related("placement")
    Approval.objects.bulk_create(Approval(rollout=rollout, target_id=stage.placement.target_id) for stage in stages)


def _next(deployment: Any, asker: Any, weight: int, reason: str) -> Any:
    """A second revision that has this share on every target, and waits for a person; its rollout."""
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
        reason=reason,
        message="It waits for a person.",
        requester=asker,
        step=1 if weight else 0,
        plan=[{**step, "wave": 0, "targets": targets} for step in steps],
        on_failure="rollback",
    )
    Stage.objects.bulk_create(
        Stage(rollout=rollout, placement=place, weight=weight, actual=weight, state="Healthy") for place in places
    )
    Placement.objects.filter(deployment=deployment).update(coming=new, weight=weight)
    Deployment.objects.filter(pk=deployment.pk).update(current=new, last_revision=2)
    return rollout

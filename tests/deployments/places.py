"""Deployments with one placement, as most tests have them, and how their rollouts end where no cluster is asked."""

from django.utils import timezone

from apps.deployments import selectors
from apps.deployments.models import Deployment, Placement
from apps.deployments.rollout.decisions import Decision
from apps.deployments.services.observing import Round, record_round
from apps.deployments.specs import ObservedRevision
from apps.deployments.states import RolloutState


def place_of(deployment: Deployment) -> Placement:
    """The only placement, as its row is now."""
    return Placement.objects.select_related("deployment__project", "target__cluster").get(deployment=deployment)


def arrive(deployment: Deployment) -> None:
    """As if rounds had found everything that is wanted on every target."""
    for pk in deployment.placements.order_by("pk").values_list("pk", flat=True):
        _arrive(pk)
    reread(deployment)


def arrive_on(deployment: Deployment, target: str) -> None:
    """The same on one target alone."""
    _arrive(deployment.placements.get(target__name=target).pk)
    reread(deployment)


def _arrive(pk: int) -> None:
    now, placement = timezone.now(), selectors.for_reconcile(pk)
    assert placement is not None
    serving, count = placement.serving, placement.desired_replicas
    number = serving.number if serving else 0
    seen = {number: ObservedRevision(count, count, count)} if serving else {}
    if placement.coming is not None and 0 < placement.weight < 100:
        # Beside as many as make the weight a ratio.
        beside = max(1, count * placement.weight // (100 - placement.weight))
        seen[placement.coming.number] = ObservedRevision(beside, beside, beside)
    replicas = {number: each.wanted for number, each in seen.items()}
    decision = Decision(replicas, RolloutState.HEALTHY, "Complete", "All ready.", count, 0, True)
    record_round(placement, selectors.stage_of(placement), Round(seen, decision, [], now))


def reread(deployment: Deployment) -> Deployment:
    """The same object as its rows are now, without what was prefetched."""
    deployment.refresh_from_db()
    deployment._prefetched_objects_cache = {}  # type: ignore[attr-defined]
    return deployment

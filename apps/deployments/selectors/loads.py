"""What deployments ask of targets together."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.db.models import F, Q
from django.utils import timezone

from apps.clusters.fit import Ask
from apps.clusters.quantities.resources import amount, millicores
from apps.clusters.quantities.sizes import Size
from apps.deployments.models import Deployment, Placement, Target
from apps.deployments.rollout.policy import NOTHING, Load, load_of
from apps.deployments.scaling.policy import Bounds, stored_policy
from apps.deployments.scaling.schedule import most_ever, stored_schedule
from apps.deployments.states import DeploymentState

# Of more placements than this that changed and were not looked at since the others are not counted.
MAX_PROMISED = 500
# So long after a round what it has asked for is taken to be on its way. What is still missing then has a round again.
BEING_MADE = timedelta(seconds=30)
_COLUMNS = (
    "target_id",
    "scaled_to",
    "desired_replicas",
    "deployment__autoscaling",
    "deployment__schedule",
    "deployment__current__spec__resources",
)


def loads_of(targets: Sequence[Target | int], *, but: Deployment | None = None) -> dict[int, Load]:
    """What is asked of each target, of all deployments there or of all but one: a query, or none for no target."""
    if not targets:
        return {}
    rows = Placement.objects.filter(target__in=targets)
    if but is not None:
        rows = rows.exclude(deployment=but)
    loads: dict[int, Load] = {}
    for target, scaled, desired, policy, schedule, resources in rows.values_list(*_COLUMNS):
        size, wanted = size_of({"resources": resources}), _wanted(scaled, desired, schedule)
        loads[target] = loads.get(target, NOTHING) + load_of(most_of(schedule, policy, wanted), size)
    return loads


def most_of(schedule: Sequence[Any], policy: Mapping[str, Any], wanted: int) -> int:
    """How many replicas count where so many are wanted: the most that an autoscaler and windows of time may ask for."""
    if not schedule:
        return int(policy.get("max", wanted))
    scaled = stored_policy(policy)
    return most_ever(stored_schedule(schedule), scaled.bounds if scaled else Bounds(wanted, wanted))


def _wanted(scaled: int | None, desired: int, schedule: Sequence[Any]) -> int:
    """What is wanted where no autoscaler of ours says it; with a schedule what it will be after the window."""
    return desired if scaled is None or schedule else scaled


def promised_replicas() -> dict[int, list[Ask]]:
    """The replicas that are wanted on each cluster and were not made yet, as far as is known: no pod of theirs holds
    their room. A round only asks Kubernetes for them; what it has made of that, one of the next rounds sees."""
    is_new = Q(generation__gt=F("observed_generation"))
    is_being_made = Q(observed_at__gt=timezone.now() - BEING_MADE, ready_replicas__lt=F("desired_replicas"))
    rows = Placement.objects.filter(is_new | is_being_made, state=DeploymentState.ACTIVE)
    columns = ("target__cluster_id", "desired_replicas", "observed", "deployment__current__spec__resources")
    promised: dict[int, list[Ask]] = {}
    for cluster, desired, observed, resources in rows.order_by("pk").values_list(*columns)[:MAX_PROMISED]:
        missing = desired - sum(int(entry["existing"]) for entry in observed)
        if missing > 0:
            promised.setdefault(cluster, []).append(Ask(size_of({"resources": resources}), missing))
    return promised


def replicas_of(place: Placement) -> int:
    """How many replicas count on a placement."""
    deployment = place.deployment
    wanted = _wanted(place.scaled_to, place.desired_replicas, deployment.schedule)
    return most_of(deployment.schedule, deployment.autoscaling, wanted)


def size_of(spec: dict[str, Any]) -> Size:
    """What one replica of a revision asks for."""
    asked = spec.get("resources") or {}
    return Size(millicores(asked.get("cpu")), amount(asked.get("memory")), int(asked.get("gpu") or 0))

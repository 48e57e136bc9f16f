"""What deployments ask of targets together."""

from collections.abc import Sequence
from typing import Any

from apps.clusters.quantities.resources import amount, millicores
from apps.clusters.quantities.sizes import Size
from apps.deployments.models import Deployment, Placement, Target
from apps.deployments.rollout.policy import NOTHING, Load, load_of

_COLUMNS = (
    "target_id",
    "scaled_to",
    "desired_replicas",
    "deployment__autoscaling__max",
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
    for target, scaled, desired, most, resources in rows.values_list(*_COLUMNS):
        size, wanted = size_of({"resources": resources}), desired if scaled is None else scaled
        loads[target] = loads.get(target, NOTHING) + load_of(wanted if most is None else most, size)
    return loads


def replicas_of(place: Placement) -> int:
    """How many replicas count on a placement: as many as its autoscaler may ask for, else those that are wanted."""
    most = place.deployment.autoscaling.get("max")
    return place.wanted_replicas if most is None else int(most)


def size_of(spec: dict[str, Any]) -> Size:
    """What one replica of a revision asks for."""
    asked = spec.get("resources") or {}
    return Size(millicores(asked.get("cpu")), amount(asked.get("memory")), int(asked.get("gpu") or 0))

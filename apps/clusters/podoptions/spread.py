"""How evenly pods are spread over nodes, zones or whatever a label of nodes tells apart. Pure.

https://kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints/
"""

from collections.abc import Mapping
from typing import Any

from apps.clusters.podoptions.checks import choice, items, mapping, text, whole
from apps.core.errors import Invalid
from apps.core.text.names import is_label_key

Object = Mapping[str, Any]

MOST_CONSTRAINTS = 10
MAX_SKEW = 1000
HARD, SOFT = "DoNotSchedule", "ScheduleAnyway"
_KEYS = ("topologyKey", "maxSkew", "whenUnsatisfiable", "minDomains")


def parse_spread(value: Any, field: str) -> tuple[Object, ...]:
    """The constraints, without the pods that they count: those are always the pod's own kind."""
    constraints = tuple(
        _constraint(item, f"{field}[{number}]") for number, item in enumerate(items(value, field, MOST_CONSTRAINTS))
    )
    known = [(each["topologyKey"], each["whenUnsatisfiable"]) for each in constraints]
    for number, pair in enumerate(known):
        if pair in known[:number]:
            raise Invalid(f"Two constraints are {pair[1]} by {pair[0]}.", field=f"{field}[{number}].topologyKey")
    return constraints


def _constraint(value: Any, field: str) -> Object:
    spec = mapping(value, field, _KEYS)
    key = text(spec.get("topologyKey"), f"{field}.topologyKey", is_label_key, "the name of a label of nodes")
    skew = spec.get("maxSkew")
    unsatisfiable = choice(spec.get("whenUnsatisfiable"), f"{field}.whenUnsatisfiable", (HARD, SOFT), SOFT)
    constraint: dict[str, Any] = {
        "topologyKey": key,
        "maxSkew": 1 if skew is None else whole(skew, f"{field}.maxSkew", 1, MAX_SKEW),
        "whenUnsatisfiable": unsatisfiable,
    }
    if spec.get("minDomains") is not None:
        constraint["minDomains"] = whole(spec["minDomains"], f"{field}.minDomains", 1, MAX_SKEW)
        if unsatisfiable != HARD:
            raise Invalid(f"minDomains goes with {HARD} alone.", field=f"{field}.minDomains")
    return constraint


def constraints_of(spread: tuple[Object, ...], labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """The constraints as a pod's spec has them, for pods with these labels."""
    return [{**constraint, "labelSelector": {"matchLabels": dict(labels)}} for constraint in spread]

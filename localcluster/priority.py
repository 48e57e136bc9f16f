"""The Priority admission controller: a pod's priority comes from its PriorityClass. Nothing is preempted here.

https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from localcluster.errors import forbidden

Obj = dict[str, Any]

#: The classes that every cluster has for its own pods, by name.
SYSTEM_CLASSES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}


def complete(pod: Obj, classes: Iterable[Mapping[str, Any]]) -> None:
    """Set a new pod's priority, in place.

    Raises StatusError 403 when there is no such class, or when the pod names a priority of its own.
    """
    spec, name = pod["spec"], pod["metadata"].get("name", "")
    class_name = spec.get("priorityClassName")
    priority_class: Mapping[str, Any] | None = None
    for each in classes:
        if each["metadata"]["name"] == class_name or (not class_name and each.get("globalDefault")):
            # Of several global defaults, "the smallest value ... will be used as the default priority".
            priority_class = min((priority_class, each), key=_value) if priority_class else each
    if class_name and priority_class is None:
        raise forbidden("pods", name, f"no PriorityClass with name {class_name} was found")
    value = _value(priority_class) if priority_class else 0
    if spec.get("priority") not in (None, 0, value):
        refusal = (
            f"the integer value of priority ({spec['priority']}) must not be provided in pod spec; "
            f"priority admission controller computed {value} from the given PriorityClass name"
        )
        raise forbidden("pods", name, refusal)
    spec["priority"] = value
    if priority_class:
        spec["priorityClassName"] = priority_class["metadata"]["name"]
        spec["preemptionPolicy"] = priority_class.get("preemptionPolicy") or "PreemptLowerPriority"


def _value(each: Mapping[str, Any]) -> int:
    return int(each.get("value") or 0)


def ensure_system_classes(registry: Any) -> None:
    """Make the classes that every cluster has."""
    for name, value in SYSTEM_CLASSES.items():
        if not registry.exists("priorityclasses", name):
            registry.create("priorityclasses", {"metadata": {"name": name}, "value": value})

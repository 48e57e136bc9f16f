"""A pod's status as its row keeps it: as much as pages and "why?" read, whatever else a server may send. Pure."""

from collections.abc import Mapping
from typing import Any

from apps.clusters.observed.values import MESSAGE, cut, moment, time_or_none
from apps.clusters.why.observe import extras

Object = Mapping[str, Any]
Row = dict[str, Any]

_STATE_TIMES = frozenset({"startedAt", "finishedAt"})
_STATE_FIELDS = frozenset({"reason", "message", "exitCode", *_STATE_TIMES})


def phase_of(status: Object) -> str:
    """The pod's phase as far as its containers bear it out: it has succeeded only where each has ended with exit code
    0. Some kubelets say Succeeded of a pod that was deleted before it ran; as Kubernetes has it, that is Failed."""
    phase = str(status.get("phase") or "")
    if phase != "Succeeded":
        return phase
    ends = [(container.get("state") or {}).get("terminated") for container in status.get("containerStatuses") or []]
    return phase if all(end is not None and not end.get("exitCode") for end in ends) else "Failed"


def pod_status(pod: Object) -> Row:
    """The part of a pod's spec and status that its row keeps. `words`: its own message, as Kubernetes wrote it."""
    metadata, spec, status = (pod.get(part) or {} for part in ("metadata", "spec", "status"))
    return {
        "containers": [_container(container) for container in status.get("containerStatuses") or []],
        "init_containers": [_container(container) for container in status.get("initContainerStatuses") or []],
        "conditions": [condition_row(condition) for condition in status.get("conditions") or []],
        "qos_class": status.get("qosClass") or "",
        "words": cut(status.get("message"), MESSAGE),
        **extras(metadata, spec),
    }


def _container(container: Object) -> Row:
    return {
        "name": cut(container.get("name"), 253),
        "image": cut(container.get("image"), 1000),
        "ready": bool(container.get("ready")),
        "started": container.get("started") if isinstance(container.get("started"), bool) else None,
        "restarts": int(container.get("restartCount") or 0),
        "state": _state(container.get("state")),
        "last_state": _state(container.get("lastState")),
    }


def _state(state: Any) -> Row:
    """The part of a container's state that pages read, whatever else a server may send there."""
    known = state if isinstance(state, Mapping) else {}
    return {
        kind: {
            field: int(value) if field == "exitCode" else cut(value, MESSAGE)
            for field, value in (known[kind] if isinstance(known[kind], Mapping) else {}).items()
            if field in _STATE_FIELDS and (field not in _STATE_TIMES or moment(value))
        }
        for kind in ("waiting", "running", "terminated")
        if kind in known
    }


def condition_row(condition: Object) -> Row:
    """A condition of any object."""
    return {
        "type": condition.get("type") or "",
        "status": condition.get("status") or "Unknown",
        "reason": condition.get("reason") or "",
        "message": str(condition.get("message") or "")[:MESSAGE],
        "last_transition_time": time_or_none(condition.get("lastTransitionTime")),
    }

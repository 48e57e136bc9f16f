"""A Deployment's status out of its ReplicaSets. Pure.

As kube-controller-manager (pkg/controller/deployment/sync.go and progress.go).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from localcluster.controllers.pods import condition
from localcluster.controllers.rolling import Bounds
from localcluster.meta import parse_time, time_of

Object = Mapping[str, Any]
NO_DEADLINE = 2**31 - 1
NOT_MADE = "ReplicaSetCreateError"


def status(
    deployment: Object, new: Object | None, sets: Sequence[Object], limits: Bounds, now: float
) -> tuple[dict[str, Any], float | None]:
    """The status, and the seconds after which the progress deadline is over."""
    old = deployment.get("status") or {}
    available = _sum(sets, "availableReplicas")
    desired = sum(int(each["spec"].get("replicas", 1)) for each in sets)
    fresh: dict[str, Any] = {
        "observedGeneration": deployment["metadata"].get("generation", 1),
        "replicas": _sum(sets, "replicas"),
        "updatedReplicas": _sum([new] if new is not None else [], "replicas"),
        "readyReplicas": _sum(sets, "readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(desired - available, 0),
    }
    fresh = {key: value for key, value in fresh.items() if value}
    if "collisionCount" in old:
        fresh["collisionCount"] = old["collisionCount"]
    progressing, again = _progressing(deployment, fresh, new, limits, now)
    conditions = [_available(available, limits), progressing, _failure(new)]
    fresh["conditions"] = [_kept(deployment, each, now) for each in conditions if each is not None]
    return fresh, again


def _sum(sets: Sequence[Object], field: str) -> int:
    return sum(int((each.get("status") or {}).get(field) or 0) for each in sets)


def _available(available: int, limits: Bounds) -> dict[str, str]:
    if available >= limits.least_available:
        return _condition("Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    return _condition(
        "Available", "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability."
    )


def _failure(new: Object | None) -> dict[str, str] | None:
    failure = condition(new, "ReplicaFailure") if new is not None else None
    return None if failure is None else _condition("ReplicaFailure", "True", failure["reason"], failure["message"])


def refused(deployment: Object, message: str, now: float) -> list[dict[str, Any]]:
    """The conditions when its ReplicaSet is refused; none to write where no progress is asked for."""
    if int(deployment["spec"].get("progressDeadlineSeconds") or NO_DEADLINE) == NO_DEADLINE:
        return []
    others = [
        each for each in (deployment.get("status") or {}).get("conditions") or () if each["type"] != "Progressing"
    ]
    return [*others, _kept(deployment, _condition("Progressing", "False", NOT_MADE, message), now)]


def complete(deployment: Object, fresh: Mapping[str, Any], desired: int) -> bool:
    """Has every replica the present template, is it available, and is none of an older one left?"""
    return bool(
        fresh.get("updatedReplicas", 0) == desired
        and fresh.get("replicas", 0) == desired
        and fresh.get("availableReplicas", 0) == desired
        and fresh.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 1)
    )


def _moved(old: Mapping[str, Any], fresh: Mapping[str, Any]) -> bool:
    def stale(each: Mapping[str, Any]) -> int:
        return int(each.get("replicas", 0)) - int(each.get("updatedReplicas", 0))

    return (
        fresh.get("updatedReplicas", 0) > old.get("updatedReplicas", 0)
        or stale(fresh) < stale(old)
        or fresh.get("readyReplicas", 0) > old.get("readyReplicas", 0)
        or fresh.get("availableReplicas", 0) > old.get("availableReplicas", 0)
    )


def _progressing(
    deployment: Object, fresh: Mapping[str, Any], new: Object | None, limits: Bounds, now: float
) -> tuple[dict[str, str] | None, float | None]:
    known = condition(deployment, "Progressing")
    deadline = int(deployment["spec"].get("progressDeadlineSeconds") or NO_DEADLINE)
    if deployment["spec"].get("paused"):
        return _condition("Progressing", "Unknown", "DeploymentPaused", "Deployment is paused"), None
    subject = (
        f'ReplicaSet "{new["metadata"]["name"]}"'
        if new is not None
        else f'Deployment "{deployment["metadata"]["name"]}"'
    )
    if new is not None and complete(deployment, fresh, limits.desired):
        message = f"{subject} has successfully progressed."
        return _condition("Progressing", "True", "NewReplicaSetAvailable", message), None
    old = deployment.get("status") or {}
    new_rollout = old.get("observedGeneration") != fresh.get("observedGeneration") and known is not None
    if known is None or known["reason"] == "DeploymentPaused":
        message = (
            f'Created new replica set "{new["metadata"]["name"]}"' if new is not None else f"{subject} is progressing."
        )
        reason = "NewReplicaSetCreated" if new is not None else "ReplicaSetUpdated"
        return {**_condition("Progressing", "True", reason, message), "lastUpdateTime": time_of(now)}, float(deadline)
    if _moved(old, fresh) or new_rollout:
        updated = _condition("Progressing", "True", "ReplicaSetUpdated", f"{subject} is progressing.")
        return {**updated, "lastUpdateTime": time_of(now)}, float(deadline)
    settled = known["reason"] == "NewReplicaSetAvailable"
    left = parse_time(known["lastUpdateTime"]).timestamp() + deadline - now
    if settled or deadline == NO_DEADLINE:
        return {key: known[key] for key in ("type", "status", "reason", "message", "lastUpdateTime")}, None
    if left <= 0:
        return _condition(
            "Progressing", "False", "ProgressDeadlineExceeded", f"{subject} has timed out progressing."
        ), None
    return {key: known[key] for key in ("type", "status", "reason", "message", "lastUpdateTime")}, left


def _condition(kind: str, true: str, reason: str, message: str) -> dict[str, str]:
    return {"type": kind, "status": true, "reason": reason, "message": message}


def _kept(deployment: Object, fresh: Mapping[str, str], now: float) -> dict[str, str]:
    """Times: a transition is a change of status, an update one of status, reason or message (or as given)."""
    known = condition(deployment, fresh["type"])
    moment = time_of(now)
    if known is None:
        return {"lastUpdateTime": moment, "lastTransitionTime": moment, **fresh}
    same = known["status"] == fresh["status"]
    unchanged = same and known["reason"] == fresh["reason"] and known["message"] == fresh["message"]
    updated = fresh.get("lastUpdateTime") or (known["lastUpdateTime"] if unchanged else moment)
    return {
        **fresh,
        "lastUpdateTime": updated,
        "lastTransitionTime": known["lastTransitionTime"] if same else moment,
    }

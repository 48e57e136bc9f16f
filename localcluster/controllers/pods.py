"""The facts about pods that controllers need. Pure, but for `make`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kubevalues.numbers import whole
from localcluster.errors import StatusError
from localcluster.meta import parse_time, thaw

if TYPE_CHECKING:
    from localcluster.registry import Registry

Object = dict[str, Any]


def phase(pod: Mapping[str, Any]) -> str:
    """Pending, Running, Succeeded or Failed."""
    return str((pod.get("status") or {}).get("phase") or "Pending")


def active(pod: Mapping[str, Any]) -> bool:
    """Is it neither finished nor being deleted?"""
    return phase(pod) not in {"Succeeded", "Failed"} and not pod["metadata"].get("deletionTimestamp")


def condition(obj: Mapping[str, Any], kind: str) -> dict[str, Any] | None:
    """A condition of an object's status, by type."""
    for each in (obj.get("status") or {}).get("conditions") or ():
        if each["type"] == kind:
            return dict(each)
    return None


def ready(pod: Mapping[str, Any]) -> bool:
    """Is the Ready condition true?"""
    ready_condition = condition(pod, "Ready")
    return ready_condition is not None and ready_condition["status"] == "True"


def available_in(pod: Mapping[str, Any], min_ready_seconds: int, now: float) -> float | None:
    """Seconds until a ready pod counts as available (0: it does); None for one that is not ready."""
    ready_condition = condition(pod, "Ready")
    if ready_condition is None or ready_condition["status"] != "True":
        return None
    if not min_ready_seconds:
        return 0.0
    return max(parse_time(ready_condition["lastTransitionTime"]).timestamp() + min_ready_seconds - now, 0.0)


def restarts(pod: Mapping[str, Any]) -> int:
    """Restarts of all containers."""
    return sum(int(s.get("restartCount") or 0) for s in (pod.get("status") or {}).get("containerStatuses") or ())


def deletion_order(pod: Mapping[str, Any]) -> tuple[Any, ...]:
    """Sorts pods so that those to delete first come first (kube-controller-manager's ActivePods).

    Unscheduled before scheduled, Pending before Running, not ready before ready, a lower deletion cost, ready for a
    shorter time, more restarts, younger.
    """
    metadata = pod["metadata"]
    since = (condition(pod, "Ready") or {}).get("lastTransitionTime", "")
    cost = whole((metadata.get("annotations") or {}).get("controller.kubernetes.io/pod-deletion-cost", "")) or 0
    return (
        bool(pod["spec"].get("nodeName")),
        {"Pending": 0, "Running": 2}.get(phase(pod), 1),
        ready(pod),
        cost,
        -parse_time(since).timestamp() if ready(pod) and since else 0.0,
        -restarts(pod),
        -parse_time(metadata["creationTimestamp"]).timestamp(),
    )


def from_template(owner: Mapping[str, Any], template: Mapping[str, Any], stem: str = "") -> Object:
    """A pod of a controller's template, owned by it; its name is to be generated after the owner's, or the `stem`."""
    metadata = template.get("metadata") or {}
    pod: Object = {
        "metadata": {
            "generateName": f"{stem or owner['metadata']['name']}-",
            "labels": dict(metadata.get("labels") or {}),
            "ownerReferences": [owner_reference(owner)],
        },
        "spec": thaw(dict(template["spec"])),
    }
    if metadata.get("annotations"):
        pod["metadata"]["annotations"] = dict(metadata["annotations"])
    if metadata.get("finalizers"):
        pod["metadata"]["finalizers"] = list(metadata["finalizers"])
    return pod


def owner_reference(owner: Mapping[str, Any]) -> dict[str, Any]:
    """The controlling ownerReference to an object."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def make(registry: Registry, owner: Object, template: Mapping[str, Any], component: str, stem: str = "") -> Object:
    """Create a pod for its owner and say so. Raises StatusError, with an event as well."""
    try:
        pod = registry.create("pods", from_template(owner, template, stem), namespace=owner["metadata"]["namespace"])
    except StatusError as error:
        registry.record_event(owner, "Warning", "FailedCreate", f"Error creating: {error.message}", component)
        raise
    registry.record_event(owner, "Normal", "SuccessfulCreate", f"Created pod: {pod['metadata']['name']}", component)
    return pod


def remove(registry: Registry, owner: Object, pod: Object, component: str) -> None:
    """Delete a pod of an owner and say so."""
    metadata = pod["metadata"]
    registry.delete("pods", metadata["name"], metadata["namespace"], uid=metadata["uid"])
    registry.record_event(owner, "Normal", "SuccessfulDelete", f"Deleted pod: {metadata['name']}", component)

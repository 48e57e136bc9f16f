"""PersistentVolumeClaims as pods, the scheduler and the kubelet see them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Object = Mapping[str, Any]


def claims_of(pod: Object) -> list[str]:
    """The names of the claims that a pod mounts."""
    volumes = pod["spec"].get("volumes") or []
    return list(
        dict.fromkeys(v["persistentVolumeClaim"]["claimName"] for v in volumes if v.get("persistentVolumeClaim"))
    )


def is_bound(claim: Object) -> bool:
    """Has the claim its volume?"""
    return bool((claim.get("status") or {}).get("phase") == "Bound")


def why_not(pod: Object, find: Callable[[str], Object | None]) -> str:
    """Why no node takes the pod for want of a volume, in kube-scheduler's words; "" where it lacks none.

    `find` gives a claim of the pod's namespace by its name.
    """
    for name in claims_of(pod):
        claim = find(name)
        if claim is None:
            return f'persistentvolumeclaim "{name}" not found'
        if claim["metadata"].get("deletionTimestamp"):
            return f'persistentvolumeclaim "{name}" is being deleted'
        if not is_bound(claim):
            return "pod has unbound immediate PersistentVolumeClaims"
    return ""

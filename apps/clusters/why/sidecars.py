"""Sidecars: init containers that go on beside the others, and that the kubelet starts again whenever they end. Pure.

https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/. Their readiness is the pod's, their restarts are
no failure of its start, and how they end decides nothing: a pod has ended when its other containers have.
"""

from collections.abc import Mapping
from typing import Any

Object = Mapping[str, Any]


def is_sidecar(container: Object) -> bool:
    """Whether one of a pod's init containers, as in its spec, is a sidecar."""
    return container.get("restartPolicy") == "Always"


def names_of(spec: Object) -> list[str]:
    """The names of a pod's sidecars."""
    return [str(container.get("name") or "") for container in spec.get("initContainers") or [] if is_sidecar(container)]


def lasting(spec: Object, status: Object) -> list[Object]:
    """The statuses of the containers that are to go on: sidecars, then the pod's own."""
    sidecars = set(names_of(spec))
    inits = [container for container in status.get("initContainerStatuses") or [] if container.get("name") in sidecars]
    return [*inits, *(status.get("containerStatuses") or [])]


def restarts(spec: Object, status: Object) -> int:
    """As `kubectl get pods` counts: of init containers while these are at work, then of those that go on."""
    conditions = status.get("conditions") or []
    initialized = any(
        condition.get("type") == "Initialized" and condition.get("status") == "True" for condition in conditions
    )
    counted = lasting(spec, status) if initialized else _all(status)
    return sum(int(container.get("restartCount") or 0) for container in counted)


def _all(status: Object) -> list[Object]:
    return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]

"""Faults of nodes and pods: what is done to the cluster, and how it is undone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from kubevalues.quantities import amount, text
from localcluster.errors import bad_request
from localcluster.faults.spec import Fault, Kind
from localcluster.fit import allocatable, used_by
from localcluster.registry import Registry

Obj = dict[str, Any]
Undo = Callable[[], None]

FILLER = {"localcluster/fault": "filler"}
_NAMESPACE = "kube-system"
#: As the kubelet says it: https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/
_EVICTED = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 52Mi. "


class NodeKeeper(Protocol):
    """Whoever keeps the nodes' heartbeats."""

    def fail(self, name: str) -> None:
        """Let a node's heartbeats stop."""

    def recover(self, name: str) -> None:
        """Let a node's heartbeats go on."""

    def set_pressure(self, name: str, kind: str, *, on: bool) -> None:
        """Put a node under pressure, or relieve it."""


class Evictor(Protocol):
    """The kubelet."""

    def evict(self, namespace: str, pod: str, message: str) -> None:
        """Fail a pod because its node is short of something."""


def _pod(node: str, amounts: dict[str, str]) -> Obj:
    extended = {name: value for name, value in amounts.items() if name not in ("cpu", "memory", "ephemeral-storage")}
    container = {
        "name": "filler",
        "image": "busybox",
        "command": ["sleep", "1000000"],
        "resources": {"requests": amounts, "limits": extended},
    }
    return {
        "metadata": {"name": f"fault-filler-{node}", "labels": FILLER},
        "spec": {
            "nodeName": node,
            "terminationGracePeriodSeconds": 0,
            "containers": [container],
            "tolerations": [{"operator": "Exists"}],
        },
    }


def fill_node(registry: Registry, node: str, leave: dict[str, Any]) -> Undo:
    """Put a pod on a node that asks for all that is free there, but for ``leave``. Raises StatusError 404, 409."""
    total = allocatable(registry.get("nodes", node))
    used = used_by(registry.list("pods")).get(node, {})
    amounts = {}
    for name, have in total.items():
        try:
            left = amount(name, leave.get(name, 0))
        except ValueError as error:
            raise bad_request(f"leave: {error}") from error
        free = have - used.get(name, 0) - left
        if name != "pods" and free > 0:
            amounts[name] = text(name, free)
    filler = registry.create("pods", _pod(node, amounts), namespace=_NAMESPACE)
    return partial(_remove, registry, filler["metadata"]["name"])


def _remove(registry: Registry, name: str) -> None:
    if registry.exists("pods", name, _NAMESPACE):
        registry.delete("pods", name, _NAMESPACE, grace_seconds=0)


def remove_fillers(registry: Registry) -> None:
    """Delete the pods of FillNode faults of an earlier process."""
    for pod in registry.list("pods", _NAMESPACE, label_selector="localcluster/fault=filler"):
        _remove(registry, pod["metadata"]["name"])


class ClusterFaults:
    """Does the faults of nodes and pods; those of requests are done elsewhere."""

    def __init__(self, registry: Registry, nodes: NodeKeeper, kubelet: Evictor) -> None:
        self._registry = registry
        self._nodes = nodes
        self._kubelet = kubelet

    def start(self, fault: Fault) -> Undo | None:
        """Do the fault; returns what ends it. Raises StatusError 400, 404 and 409."""
        parameters = fault.parameters
        if fault.kind is Kind.FILL_NODE:
            return fill_node(self._registry, parameters["node"], parameters.get("leave") or {})
        if fault.kind is Kind.FAIL_NODE:
            return self._fail(parameters["node"])
        if fault.kind is Kind.PRESS_NODE:
            return self._press(parameters["node"], parameters["condition"])
        if fault.kind is Kind.EVICT_POD:
            self._kubelet.evict(parameters["namespace"], parameters["pod"], parameters.get("message") or _EVICTED)
        return None

    def _fail(self, node: str) -> Undo:
        self._nodes.fail(node)
        return partial(self._nodes.recover, node)

    def _press(self, node: str, condition: str) -> Undo:
        try:
            self._nodes.set_pressure(node, condition, on=True)
        except ValueError as error:
            raise bad_request(str(error)) from error
        return partial(self._nodes.set_pressure, node, condition, on=False)

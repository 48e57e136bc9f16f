"""Nodes: registers the virtual nodes and keeps their heartbeats, as the kubelets of a real cluster do."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from localcluster import KUBERNETES_VERSION, quantities
from localcluster.errors import StatusError

if TYPE_CHECKING:
    from localcluster.config import NodeConfig
    from localcluster.registry import Registry

Object = dict[str, Any]

HEARTBEAT_SECONDS = 60.0
HOST = "127.0.0.1"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_CONDITIONS = (
    ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
)


class Nodes:
    """Registers nodes and refreshes their status."""

    def __init__(self, registry: Registry, nodes: Sequence[NodeConfig]) -> None:
        self._registry = registry
        self._nodes = nodes
        self.register()

    def register(self) -> None:
        """Make the nodes that are missing; bring labels and amounts of the others up to date."""
        for config in self._nodes:
            if not self._registry.exists("nodes", config.name):
                self._registry.create("nodes", _manifest(config))
                node = self._registry.get("nodes", config.name)
                message = f"Node {config.name} status is now: NodeReady"
                self._registry.record_event(node, "Normal", "NodeReady", message, "kubelet")
            self._registry.mutate("nodes", config.name, None, partial(_label, config=config))
            self._heartbeat(config)

    async def run(self) -> None:
        """Heartbeats until cancelled."""
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            for config in self._nodes:
                try:
                    self._heartbeat(config)
                except StatusError:
                    self.register()  # somebody deleted the node: a kubelet registers again

    def _heartbeat(self, config: NodeConfig) -> None:
        def beat(node: Object) -> None:
            node["status"] = _status(config, node.get("status") or {})

        self._registry.mutate("nodes", config.name, None, beat, subresource="status")


def _labels(config: NodeConfig) -> dict[str, str]:
    architecture = _ARCHITECTURES.get(platform.machine(), platform.machine())
    system = platform.system().lower()
    return {
        "kubernetes.io/hostname": config.name,
        "kubernetes.io/os": system,
        "kubernetes.io/arch": architecture,
        "beta.kubernetes.io/os": system,
        "beta.kubernetes.io/arch": architecture,
        "node.kubernetes.io/instance-type": "local",
        **config.labels,
    }


def _label(node: Object, config: NodeConfig) -> None:
    node["metadata"]["labels"] = {**(node["metadata"].get("labels") or {}), **_labels(config)}


def _manifest(config: NodeConfig) -> Object:
    spec: dict[str, Any] = {"providerID": f"localcluster://{config.name}"}
    if config.taints:
        spec["taints"] = config.taints
    return {"metadata": {"name": config.name, "labels": _labels(config)}, "spec": spec, "status": _status(config, {})}


def _status(config: NodeConfig, old: Object) -> Object:
    now = quantities.now()
    before = {condition["type"]: condition for condition in old.get("conditions") or []}
    amounts = {"cpu": config.cpu, "memory": config.memory, "pods": str(config.pods), **config.extended}
    conditions = []
    for kind, status, reason, message in _CONDITIONS:
        known = before.get(kind, {})
        since = known["lastTransitionTime"] if known.get("status") == status else now
        conditions.append(
            {
                "type": kind,
                "status": status,
                "reason": reason,
                "message": message,
                "lastHeartbeatTime": now,
                "lastTransitionTime": since,
            }
        )
    return {
        "capacity": amounts,
        "allocatable": amounts,
        "conditions": conditions,
        "addresses": [{"type": "InternalIP", "address": HOST}, {"type": "Hostname", "address": config.name}],
        "nodeInfo": _info(),
    }


def _info() -> dict[str, str]:
    return {
        "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
        "operatingSystem": platform.system().lower(),
        "kernelVersion": platform.release(),
        "osImage": platform.platform(terse=True),
        "containerRuntimeVersion": "localcluster://1.0",
        "kubeletVersion": KUBERNETES_VERSION,
        "kubeProxyVersion": "",
        "machineID": "",
        "systemUUID": "",
        "bootID": "",
    }

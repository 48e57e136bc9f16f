"""Nodes: registers the virtual nodes and keeps their heartbeats, as the kubelets of a real cluster do."""

from __future__ import annotations

import asyncio
import logging
import platform
from collections.abc import Collection, Mapping, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Protocol

from localcluster import KUBERNETES_VERSION, meta
from localcluster.errors import not_found

if TYPE_CHECKING:
    from localcluster.config import NodeConfig
    from localcluster.kubelet.usage import ContainerUsage
    from localcluster.registry import Registry

log = logging.getLogger(__name__)

Object = dict[str, Any]

HEARTBEAT_SECONDS = 60.0
#: kube-controller-manager's --node-monitor-grace-period (40 in older releases).
GRACE_SECONDS = 50.0
HOST = "127.0.0.1"
READY, PRESSURES = "Ready", ("MemoryPressure", "DiskPressure", "PIDPressure")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
AMOUNTS = ("capacity", "allocatable")
# (status, reason, message) of each condition of a node that is well, and of one under pressure.
_WELL = {
    "MemoryPressure": ("False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    "DiskPressure": ("False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    "PIDPressure": ("False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    "Ready": ("True", "KubeletReady", "kubelet is posting ready status"),
}
_PRESSED = {
    "MemoryPressure": ("True", "KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
    "DiskPressure": ("True", "KubeletHasDiskPressure", "kubelet has disk pressure"),
    "PIDPressure": ("True", "KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
}
_LOST = ("Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status.")


class Agent(Protocol):
    """Whoever runs the pods of the nodes."""

    def cut_off(self, node: str) -> None:
        """The node's kubelet can't reach the API any more: its pods go on, and nobody hears of them."""

    def reconnect(self, node: str) -> None:
        """It can again."""

    def usage(self) -> Mapping[tuple[str, str], Sequence[ContainerUsage]]:
        """The usage of the containers of each (namespace, pod)."""


class Nodes:
    """Registers nodes and refreshes their status; lets them fail and recover."""

    def __init__(
        self,
        registry: Registry,
        nodes: Sequence[NodeConfig],
        *,
        agent: Agent | None = None,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        self._registry = registry
        self._nodes = {config.name: config for config in nodes}
        self._agent = agent
        self._grace = grace_seconds
        self._pressures: dict[str, set[str]] = {}
        #: Nodes whose heartbeats have stopped, and when they are given up.
        self._failed: dict[str, asyncio.TimerHandle] = {}
        self.register()

    def register(self) -> None:
        """Make the nodes that are missing; bring labels and amounts of the others up to date."""
        for config in self._nodes.values():
            self._register(config)

    def _register(self, config: NodeConfig) -> None:
        if not self._registry.exists("nodes", config.name):
            self._registry.create("nodes", _manifest(config))
            self._say(config.name, "NodeReady", "kubelet")
        self._registry.mutate("nodes", config.name, None, partial(_label, config=config))
        self._heartbeat(config, goes_on=False)

    async def run(self) -> None:
        """Heartbeats until cancelled, spread out evenly."""
        pause = HEARTBEAT_SECONDS / max(len(self._nodes), 1)
        while True:
            if not self._nodes:
                await asyncio.sleep(pause)
            for config in self._nodes.values():
                await asyncio.sleep(pause)
                if config.name not in self._failed:
                    self._beat(config)

    def _beat(self, config: NodeConfig) -> None:
        try:
            if self._registry.exists("nodes", config.name):
                self._heartbeat(config)
            else:
                self._register(config)  # somebody deleted the node: a kubelet registers again
        except Exception:
            log.exception("the heartbeat of %s failed", config.name)  # the next one comes; the others must not miss it

    # -- what tests and trials do to nodes

    def fail(self, name: str) -> None:
        """Stop a node's heartbeats; after the grace period the node is Unknown. Raises StatusError 404.

        https://kubernetes.io/docs/concepts/architecture/nodes/#node-heartbeats
        """
        self._config(name)
        if name in self._failed:
            return
        if self._agent is not None:
            self._agent.cut_off(name)
        self._failed[name] = asyncio.get_running_loop().call_later(self._grace, self._give_up, name)

    def recover(self, name: str) -> None:
        """Let a node's heartbeats go on. Raises StatusError 404."""
        config = self._config(name)
        timer = self._failed.pop(name, None)
        if timer is None:
            return
        timer.cancel()
        if self._registry.exists("nodes", name):
            lost = not is_ready(self._registry.get("nodes", name))
            self._heartbeat(config)
            if lost:
                self._say(name, "NodeReady", "kubelet")
        if self._agent is not None:
            self._agent.reconnect(name)

    def set_pressure(self, name: str, kind: str, *, on: bool) -> None:
        """Put a node under MemoryPressure, DiskPressure or PIDPressure, or relieve it.

        Raises StatusError 404 and ValueError (no such pressure).
        """
        config = self._config(name)
        if kind not in PRESSURES:
            raise ValueError(f"{kind!r} is not one of {', '.join(PRESSURES)}")
        have = self._pressures.setdefault(name, set())
        (have.add if on else have.discard)(kind)
        if name not in self._failed:
            self._heartbeat(config)
            self._say(name, (_PRESSED if on else _WELL)[kind][1].replace("Kubelet", "Node"), "kubelet")

    def _config(self, name: str) -> NodeConfig:
        if name not in self._nodes:
            raise not_found("nodes", name)
        return self._nodes[name]

    def _give_up(self, name: str) -> None:
        """Mark a node as the node lifecycle controller does when it has not heard of it for the grace period."""

        def lose(node: Object) -> None:
            now, old = meta.now(), {each["type"]: each for each in node["status"].get("conditions") or ()}
            conditions = [_condition(kind, _LOST, old.get(kind, {}), now) for kind in (*PRESSURES, READY)]
            for each in conditions:
                each["lastHeartbeatTime"] = old.get(each["type"], {}).get("lastHeartbeatTime", now)
            node["status"]["conditions"] = conditions

        if self._registry.exists("nodes", name):
            self._registry.mutate("nodes", name, None, lose, subresource="status")
            self._say(name, "NodeNotReady", "node-controller")

    def _say(self, name: str, status: str, component: str) -> None:
        node = self._registry.get("nodes", name)
        self._registry.record_event(node, "Normal", status, f"Node {name} status is now: {status}", component)

    def _heartbeat(self, config: NodeConfig, *, goes_on: bool = True) -> None:
        pressures = self._pressures.get(config.name, ())

        def beat(node: Object) -> None:
            old = node.get("status") or {}
            node["status"] = _status(config, old, pressures)
            for kind in AMOUNTS if goes_on else ():
                node["status"][kind] = {**_advertised(old.get(kind) or {}), **node["status"][kind]}

        self._registry.mutate("nodes", config.name, None, beat, subresource="status")


def _advertised(amounts: Mapping[str, str]) -> dict[str, str]:
    """What others wrote into a node's status, as devices are announced; a kubelet forgets it when it starts anew.

    https://kubernetes.io/docs/tasks/administer-cluster/extended-resource-node/
    """
    return {name: amount for name, amount in amounts.items() if "/" in name}


def is_ready(node: Object) -> bool:
    """Is the Ready condition true?"""
    conditions = (node.get("status") or {}).get("conditions") or ()
    return any(each["type"] == READY and each["status"] == "True" for each in conditions)


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


def _condition(kind: str, state: tuple[str, str, str], old: Object, now: str) -> Object:
    status, reason, message = state
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastHeartbeatTime": now,
        "lastTransitionTime": old["lastTransitionTime"] if old.get("status") == status else now,
    }


def _status(config: NodeConfig, old: Object, pressures: Collection[str] = ()) -> Object:
    now = meta.now()
    before = {condition["type"]: condition for condition in old.get("conditions") or []}
    amounts = {"cpu": config.cpu, "memory": config.memory, "pods": str(config.pods), **config.extended}
    states = {kind: _PRESSED[kind] if kind in pressures else well for kind, well in _WELL.items()}
    return {
        **{kind: dict(amounts) for kind in AMOUNTS},
        "conditions": [_condition(kind, state, before.get(kind, {}), now) for kind, state in states.items()],
        "addresses": [{"type": "InternalIP", "address": HOST}, {"type": "Hostname", "address": config.name}],
        "nodeInfo": _info(),
    }


@cache
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

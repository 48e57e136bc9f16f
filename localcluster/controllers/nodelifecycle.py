"""The consequences of a node's conditions: taints, pods that are no longer ready, and pods that have to go.

https://kubernetes.io/docs/concepts/architecture/nodes/#node-controller
https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/#taint-based-evictions
"""

from __future__ import annotations

import time
from typing import Any

from localcluster import meta
from localcluster.controllers import pods
from localcluster.controllers.base import Controller, Key, Object
from localcluster.controllers.grouped import PodsByNode
from localcluster.meta import parse_time
from localcluster.registry import Registry
from localcluster.taints import NO_EXECUTE, NO_SCHEDULE, seconds_left_on

_PREFIX = "node.kubernetes.io/"
# (condition, its status) -> (taint, effects); every pressure keeps new pods away, a lost node loses those it has.
_BY_CONDITION: dict[tuple[str, str], tuple[str, tuple[str, ...]]] = {
    ("Ready", "Unknown"): ("unreachable", (NO_SCHEDULE, NO_EXECUTE)),
    ("Ready", "False"): ("not-ready", (NO_SCHEDULE, NO_EXECUTE)),
    ("MemoryPressure", "True"): ("memory-pressure", (NO_SCHEDULE,)),
    ("DiskPressure", "True"): ("disk-pressure", (NO_SCHEDULE,)),
    ("PIDPressure", "True"): ("pid-pressure", (NO_SCHEDULE,)),
}
_UNSCHEDULABLE = f"{_PREFIX}unschedulable"
_OURS = frozenset({_UNSCHEDULABLE, *(_PREFIX + name for name, _ in _BY_CONDITION.values())})


def taints_of(node: Object, now: str) -> list[dict[str, Any]]:
    """The taints that a node should have: its own, and those of its conditions and of a cordon. Pure."""
    old = node["spec"].get("taints") or []
    due = [(_UNSCHEDULABLE, NO_SCHEDULE)] if node["spec"].get("unschedulable") else []
    for condition in (node.get("status") or {}).get("conditions") or ():
        name, effects = _BY_CONDITION.get((condition["type"], condition["status"]), ("", ()))
        due += [(_PREFIX + name, effect) for effect in effects]
    have = {(each["key"], each.get("effect")): each for each in old if each["key"] in _OURS}
    others = [each for each in old if each["key"] not in _OURS]
    ours = [have.get(each) or {"key": each[0], "effect": each[1], "timeAdded": now} for each in due]
    return [*others, *ours]


class NodeLifecycle(Controller):
    """Taints nodes as their conditions say, and takes readiness from the pods of a node that is lost."""

    name = "node-controller"
    resource = "nodes"
    also = ("pods",)

    def __init__(self, registry: Registry, by_node: PodsByNode) -> None:
        super().__init__(registry)
        self._by_node = by_node

    def keys_for(self, resource: str, obj: Object) -> list[Key]:
        """A ready pod's node, where that is lost."""
        name = obj["spec"].get("nodeName")
        if not name or not pods.ready(obj) or not self.registry.exists("nodes", name):
            return []
        return [("", name)] if _lost(self.registry.get("nodes", name)) else []

    def sync(self, key: Key) -> float | None:
        """One round."""
        name = key[1]
        if not self.registry.exists("nodes", name):
            return None
        node = self.registry.get("nodes", name)
        taints = taints_of(node, meta.now())
        if taints != (node["spec"].get("taints") or []):

            def taint(obj: Object) -> None:
                obj["spec"]["taints"] = taints
                if not taints:
                    del obj["spec"]["taints"]

            self.registry.mutate("nodes", name, None, taint)
        if _lost(node):
            for pod in self._by_node.members(name):
                if pods.ready(pod):
                    self._unready(pod)
        return None

    def _unready(self, pod: Object) -> None:
        def change(obj: Object) -> None:
            for condition in obj["status"]["conditions"]:
                if condition["type"] == "Ready":
                    condition.update(status="False", lastTransitionTime=meta.now())

        metadata = pod["metadata"]
        self.registry.mutate("pods", metadata["name"], metadata["namespace"], change, subresource="status")
        self.registry.record_event(pod, "Warning", "NodeNotReady", "Node is not ready", self.name)


def _lost(node: Object) -> bool:
    ready_condition = pods.condition(node, "Ready")
    return ready_condition is not None and ready_condition["status"] == "Unknown"


class TaintEviction(Controller):
    """Deletes the pods that don't tolerate a NoExecute taint of their node, or no longer."""

    name = "taint-eviction-controller"
    resource = "nodes"
    also = ("pods",)

    def __init__(self, registry: Registry, by_node: PodsByNode) -> None:
        super().__init__(registry)
        self._by_node = by_node
        self._seen: dict[tuple[str, str], float] = {}  # (node, taint) -> since when, for those that don't say

    def keys_for(self, resource: str, obj: Object) -> list[Key]:
        """A pod's node, where that has such a taint."""
        name = obj["spec"].get("nodeName")
        if not name or not self.registry.exists("nodes", name):
            return []
        return [("", name)] if _evicting(self.registry.get("nodes", name)) else []

    def sync(self, key: Key) -> float | None:
        """One round."""
        name = key[1]
        taints = _evicting(self.registry.get("nodes", name)) if self.registry.exists("nodes", name) else []
        since = self._since(name, taints)
        waits = []
        for pod in self._by_node.members(name) if taints else ():
            if pod["metadata"].get("deletionTimestamp"):
                continue
            left = seconds_left_on(taints, pod["spec"].get("tolerations") or ())
            if left is None:
                continue
            wait = since + left - time.time()
            if wait > 0:
                waits.append(wait)
            else:
                self._evict(pod)
        return min(waits, default=None)

    def _since(self, name: str, taints: list[Object]) -> float:
        """The time when the latest of a node's taints was added."""
        kept = {(name, str(each["key"])) for each in taints}
        self._seen = {each: at for each, at in self._seen.items() if each[0] != name or each in kept}
        times = [
            parse_time(each["timeAdded"]).timestamp()
            if each.get("timeAdded")
            else self._seen.setdefault((name, str(each["key"])), time.time())
            for each in taints
        ]
        return max(times, default=0.0)

    def _evict(self, pod: Object) -> None:
        disruption = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint",
            "lastTransitionTime": meta.now(),
        }

        def mark(obj: Object) -> None:
            conditions = (obj.setdefault("status", {})).get("conditions") or []
            obj["status"]["conditions"] = [each for each in conditions if each["type"] != "DisruptionTarget"]
            obj["status"]["conditions"].append(disruption)

        metadata = pod["metadata"]
        name, namespace = metadata["name"], metadata["namespace"]
        message = f"Marking for deletion Pod {namespace}/{name}"
        self.registry.record_event(pod, "Normal", "TaintManagerEviction", message, self.name)
        self.registry.mutate("pods", name, namespace, mark, subresource="status")
        self.registry.delete("pods", name, namespace, uid=metadata["uid"])


def _evicting(node: Object) -> list[Object]:
    return [each for each in node["spec"].get("taints") or () if each.get("effect") == NO_EXECUTE]

"""PodDisruptionBudgets: keeps their status, which evictions go by.

https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-budgets
"""

from __future__ import annotations

import time
from typing import Any

from localcluster import disruption, meta
from localcluster.controllers import pods
from localcluster.controllers.base import Controller, Key, Object
from localcluster.controllers.grouped import PodsByLabel
from localcluster.meta import controller_of, key_of, parse_time
from localcluster.registry import Registry
from localcluster.selectors import label_selector_matches as matches

COMPONENT = "controllermanager"  # as the disruption controller names itself in events
_SCALABLE = {"Deployment": "deployments", "ReplicaSet": "replicasets"}
#: How long an evicted pod that is still there counts as gone, in seconds.
_FORGET = 120.0


class DisruptionBudgets(Controller):
    """Counts the pods of every budget."""

    name = "disruption-controller"
    resource = "poddisruptionbudgets"
    also = ("pods", *_SCALABLE.values())

    def __init__(self, registry: Registry, by_label: PodsByLabel) -> None:
        super().__init__(registry)
        self._by_label = by_label

    def keys_for(self, resource: str, obj: Object) -> list[Key]:
        """The budgets that select a pod; for a workload, whose scale may matter, those of its namespace."""
        budgets = self.registry.list(self.resource, obj["metadata"]["namespace"])
        if resource == "pods":
            labels = obj["metadata"].get("labels")
            budgets = [each for each in budgets if matches(each["spec"].get("selector"), labels)]
        return [key_of(each) for each in budgets]

    def sync(self, key: Key) -> float | None:
        """One round."""
        namespace, name = key
        if not self.registry.exists(self.resource, name, namespace):
            return None
        budget = self.registry.get(self.resource, name, namespace)
        selector = budget["spec"].get("selector")
        selected = self._by_label.select(namespace, selector) if selector is not None else []
        present = [pod for pod in selected if not pod["metadata"].get("deletionTimestamp")]
        names = {pod["metadata"]["name"] for pod in present}
        gone = {
            pod: since
            for pod, since in ((budget.get("status") or {}).get("disruptedPods") or {}).items()
            if pod in names and parse_time(since).timestamp() + _FORGET > time.time()
        }
        healthy = sum(pods.ready(pod) and pod["metadata"]["name"] not in gone for pod in present)
        scale, unmanaged = self._scale(selected) if disruption.needs_scale(budget["spec"]) else (0, [])
        if self._publish(budget, disruption.count(budget["spec"], len(selected), healthy, scale), gone):
            self._say(budget, selected, unmanaged)
        return _FORGET if gone else None

    def _say(self, budget: Object, selected: list[Object], unmanaged: list[str]) -> None:
        if not selected:
            self.registry.record_event(budget, "Normal", "NoPods", "No matching pods found", COMPONENT)
        if unmanaged:
            message = (
                f"Pods selected by this PodDisruptionBudget were found to be unmanaged: {', '.join(unmanaged[:10])}. "
                'To account for these pods please set ".spec.minAvailable" field of the PDB to an integer value.'
            )
            self.registry.record_event(budget, "Warning", "UnmanagedPods", message, COMPONENT)

    def _scale(self, selected: list[Object]) -> tuple[int, list[str]]:
        """The number of pods that their controllers want, each controller counted once; and the pods that have none."""
        replicas_of: dict[str, int] = {}
        unmanaged = []
        for pod in selected:
            above = self._topmost(pod)
            if above is None:
                unmanaged.append(pod["metadata"]["name"])
            else:
                replicas_of[above["metadata"]["uid"]] = int(above["spec"].get("replicas", 1))
        return sum(replicas_of.values()), unmanaged

    def _topmost(self, pod: Object) -> Object | None:
        """The Deployment or ReplicaSet that a pod belongs to, if one does."""
        topmost: Object | None = None
        owner = controller_of(pod)
        while owner is not None:
            plural, namespace = _SCALABLE.get(owner["kind"]), pod["metadata"]["namespace"]
            if plural is None or not self.registry.exists(plural, owner["name"], namespace):
                return topmost
            topmost = self.registry.get(plural, owner["name"], namespace)
            owner = controller_of(topmost)
        return topmost

    def _publish(self, budget: Object, counts: disruption.Counts, gone: dict[str, str]) -> bool:
        """Write the status; did it change?"""
        generation = budget["metadata"].get("generation", 1)

        def change(obj: Object) -> None:
            old = (obj.get("status") or {}).get("conditions") or ()
            others = [each for each in old if each["type"] != "DisruptionAllowed"]
            obj["status"] = {
                "observedGeneration": generation,
                "disruptionsAllowed": counts.allowed,
                "currentHealthy": counts.healthy,
                "desiredHealthy": counts.desired,
                "expectedPods": counts.expected,
                **({"disruptedPods": gone} if gone else {}),
                "conditions": [*others, _condition(obj, counts.allowed > 0, generation)],
            }

        namespace, name = key_of(budget)
        after = self.registry.mutate(self.resource, name, namespace, change, subresource="status")
        return after is not budget


def _condition(budget: Object, allowed: bool, generation: int) -> dict[str, Any]:
    old = pods.condition(budget, "DisruptionAllowed") or {}
    status = "True" if allowed else "False"
    return {
        "type": "DisruptionAllowed",
        "status": status,
        "reason": disruption.SUFFICIENT if allowed else disruption.INSUFFICIENT,
        "message": "",
        "observedGeneration": generation,
        "lastTransitionTime": old["lastTransitionTime"] if old.get("status") == status else meta.now(),
    }

"""ReplicaSet: as many pods as `spec.replicas` says."""

from __future__ import annotations

import time
from typing import Any

from localcluster import meta
from localcluster.controllers import pods
from localcluster.controllers.base import Controller, Index, Key, Object
from localcluster.errors import StatusError
from localcluster.meta import controller_of
from localcluster.registry import Registry
from localcluster.selectors import label_selector_matches as matches

COMPONENT = "replicaset-controller"
BURST = 500  # at most so many pods are made or deleted in one round, as kube-controller-manager does


class ReplicaSets(Controller):
    """Creates, adopts and deletes pods."""

    name = COMPONENT
    resource = "replicasets"
    also = ("pods",)

    def __init__(self, registry: Registry, index: Index) -> None:
        super().__init__(registry)
        self._index = index

    def keys_for(self, resource: str, obj: Object) -> list[Key]:
        """The pod's ReplicaSet; for an orphan, those that would adopt it."""
        owner = controller_of(obj)
        if owner is not None:
            return [(obj["metadata"]["namespace"], owner["name"])] if owner["kind"] == "ReplicaSet" else []
        return [
            (replica_set["metadata"]["namespace"], replica_set["metadata"]["name"])
            for replica_set in self.registry.list("replicasets", obj["metadata"]["namespace"])
            if matches(replica_set["spec"]["selector"], obj["metadata"].get("labels") or {})
        ]

    def sync(self, key: Key) -> float | None:
        """One round."""
        namespace, name = key
        if not self.registry.exists("replicasets", name, namespace):
            return None
        replica_set = self.registry.get("replicasets", name, namespace)
        deleting = bool(replica_set["metadata"].get("deletionTimestamp"))
        if not deleting:
            self._adopt(replica_set)
        owned = self._index.owned("pods", replica_set["metadata"]["uid"])
        alive = [pod for pod in owned if pods.active(pod)]
        failure = None if deleting else self._scale(replica_set, alive)
        owned = self._index.owned("pods", replica_set["metadata"]["uid"])
        status, again = status_of(replica_set, [pod for pod in owned if pods.active(pod)], failure, time.time())
        status["terminatingReplicas"] = sum(1 for pod in owned if pod["metadata"].get("deletionTimestamp"))

        def change(obj: Object) -> None:
            obj["status"] = status

        self.registry.mutate("replicasets", name, namespace, change, subresource="status")
        if failure is not None:
            self.give_up(key, failure, again)
        return again

    def _adopt(self, owner: Object) -> None:
        selector, namespace = owner["spec"]["selector"], owner["metadata"]["namespace"]

        def own(pod: Object) -> None:
            pod["metadata"].setdefault("ownerReferences", []).append(pods.owner_reference(owner))

        def disown(pod: Object) -> None:
            references = pod["metadata"].get("ownerReferences") or []
            pod["metadata"]["ownerReferences"] = [r for r in references if r["uid"] != owner["metadata"]["uid"]]

        for pod in self._index.orphans("pods", namespace):
            if pods.active(pod) and matches(selector, pod["metadata"].get("labels") or {}):
                self.registry.mutate("pods", pod["metadata"]["name"], namespace, own)
        plain = {} if selector.get("matchExpressions") else selector.get("matchLabels") or {}
        for pod in self._index.owned("pods", owner["metadata"]["uid"]):
            if plain and plain.items() <= (pod["metadata"].get("labels") or {}).items():
                continue  # the quick way: there may be thousands
            if not matches(selector, pod["metadata"].get("labels") or {}):
                self.registry.mutate("pods", pod["metadata"]["name"], namespace, disown)

    def _scale(self, owner: Object, alive: list[Object]) -> StatusError | None:
        """Make or delete pods; the error that stopped it, if one did."""
        desired = int(owner["spec"].get("replicas", 1))
        try:
            for _ in range(min(desired - len(alive), BURST)):
                pods.make(self.registry, owner, owner["spec"]["template"], COMPONENT)
            if len(alive) > desired:
                for pod in sorted(alive, key=pods.deletion_order)[: min(len(alive) - desired, BURST)]:
                    pods.remove(self.registry, owner, pod, COMPONENT)
        except StatusError as error:
            return error
        return None


def status_of(
    owner: Object, alive: list[Object], failure: StatusError | None, now: float
) -> tuple[dict[str, Any], float | None]:
    """The status, and the seconds after which a pod may have become available."""
    seconds = int(owner["spec"].get("minReadySeconds") or 0)
    waits = [pods.available_in(pod, seconds, now) for pod in alive]
    labels = (owner["spec"]["template"].get("metadata") or {}).get("labels") or {}
    status: dict[str, Any] = {
        "replicas": len(alive),
        "fullyLabeledReplicas": sum(
            1 for pod in alive if labels.items() <= (pod["metadata"].get("labels") or {}).items()
        ),
        "readyReplicas": sum(1 for wait in waits if wait is not None),
        "availableReplicas": sum(1 for wait in waits if wait == 0),
        "observedGeneration": owner["metadata"].get("generation", 1),
    }
    if failure is not None:
        # As SetCondition of kube-controller-manager: what is known is not said anew. A refusal names the pod that it
        # refused, another one each time; each would be a change, and each change another round.
        known = pods.condition(owner, "ReplicaFailure")
        reason = "FailedCreate" if len(alive) < int(owner["spec"].get("replicas", 1)) else "FailedDelete"
        if known is None or (known["status"], known["reason"]) != ("True", reason):
            since = known["lastTransitionTime"] if known and known["status"] == "True" else meta.now()
            known = {
                "type": "ReplicaFailure",
                "status": "True",
                "reason": reason,
                "message": failure.message,
                "lastTransitionTime": since,
            }
        status["conditions"] = [known]
    pending = [wait for wait in waits if wait]
    return status, min(pending, default=None)

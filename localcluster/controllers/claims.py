"""PersistentVolumeClaims: gives each of the default class its volume, and keeps one that pods use until they are gone.

The volume is a folder that the kubelet makes; there are no objects for volumes and classes.
https://kubernetes.io/docs/concepts/storage/persistent-volumes/#lifecycle-of-a-volume-and-claim
"""

from __future__ import annotations

from localcluster.claims import claims_of, is_bound
from localcluster.controllers.base import Controller, Key, Object
from localcluster.meta import key_of
from localcluster.strategies import CLAIM_PROTECTION, DEFAULT_CLASS

COMPONENT = "persistentvolume-controller"
_FINISHED = frozenset({"Succeeded", "Failed"})


class Claims(Controller):
    """Looks after every claim."""

    name = COMPONENT
    resource = "persistentvolumeclaims"
    also = ("pods",)

    def keys_for(self, resource: str, obj: Object) -> list[Key]:
        """The claims that a pod mounts."""
        namespace = obj["metadata"]["namespace"]
        return [(namespace, name) for name in claims_of(obj)]

    def sync(self, key: Key) -> float | None:
        """One round."""
        namespace, name = key
        if not self.registry.exists(self.resource, name, namespace):
            return None
        claim = self.registry.get(self.resource, name, namespace)
        if claim["metadata"].get("deletionTimestamp"):
            if not self._is_used(namespace, name):
                self.registry.mutate(self.resource, name, namespace, _let_go)
        elif not is_bound(claim):
            self._bind(claim)
        return None

    def _bind(self, claim: Object) -> None:
        namespace, name = key_of(claim)
        class_name = claim["spec"].get("storageClassName")
        if class_name != DEFAULT_CLASS:
            if class_name:
                message = f'storageclass.storage.k8s.io "{class_name}" not found'
                self.registry.record_event(claim, "Warning", "ProvisioningFailed", message, COMPONENT)
            return

        def bind(obj: Object) -> None:
            obj["spec"]["volumeName"] = f"pvc-{obj['metadata']['uid']}"

        def tell(obj: Object) -> None:
            size = obj["spec"]["resources"]["requests"]["storage"]
            obj["status"] = {
                "phase": "Bound",
                "accessModes": list(obj["spec"]["accessModes"]),
                "capacity": {"storage": size},
            }

        self.registry.mutate(self.resource, name, namespace, bind)
        self.registry.mutate(self.resource, name, namespace, tell, subresource="status")

    def _is_used(self, namespace: str, name: str) -> bool:
        return any(
            name in claims_of(pod) and (pod.get("status") or {}).get("phase") not in _FINISHED
            for pod in self.registry.list("pods", namespace)
            if pod["spec"].get("nodeName")
        )


def _let_go(obj: Object) -> None:
    kept = [each for each in obj["metadata"].get("finalizers") or [] if each != CLAIM_PROTECTION]
    obj["metadata"]["finalizers"] = kept

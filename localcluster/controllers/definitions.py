"""Deleting a CustomResourceDefinition deletes its objects first.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#delete-a-customresourcedefinition
"""

from __future__ import annotations

from localcluster.controllers.base import Controller, Key, Object
from localcluster.crd.definitions import CLEANUP, terminating
from localcluster.crd.kinds import DEFINITIONS
from localcluster.meta import key_of

#: Seconds until it is looked again whether objects that others hold (finalizers) are gone.
_AGAIN = 0.5


class DefinitionCleanup(Controller):
    """Empties definitions that are being deleted, then lets them go."""

    name = "crd-finalizer"
    resource = DEFINITIONS

    def sync(self, key: Key) -> float | None:
        """One round for one definition."""
        name = key[1]
        if not self.registry.exists(DEFINITIONS, name):
            return None
        metadata = self.registry.get(DEFINITIONS, name)["metadata"]
        if not metadata.get("deletionTimestamp") or CLEANUP not in (metadata.get("finalizers") or ()):
            return None
        self.registry.mutate(DEFINITIONS, name, None, terminating, subresource="status")
        if self._is_emptied(name):
            self.registry.mutate(DEFINITIONS, name, None, _release)
            return None
        return _AGAIN

    def _is_emptied(self, resource: str) -> bool:
        if self.registry.catalog.find(resource) is None:
            return True
        for obj in self.registry.list(resource):
            if not obj["metadata"].get("deletionTimestamp"):
                namespace, name = key_of(obj)
                self.registry.delete(resource, name, namespace)
        return self.registry.store.count(resource) == 0


def _release(definition: Object) -> None:
    metadata = definition["metadata"]
    metadata["finalizers"] = [each for each in metadata["finalizers"] if each != CLEANUP]

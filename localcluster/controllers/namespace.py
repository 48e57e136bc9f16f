"""Namespaces: empties those that are being deleted, then lets them go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localcluster.controllers.base import Controller, Key, Object
from localcluster.meta import key_of
from localcluster.store import ANY

if TYPE_CHECKING:
    from localcluster.store import Change


class Namespaces(Controller):
    """Deletes the content of namespaces in phase Terminating."""

    name = "namespace-controller"
    resource = "namespaces"
    also = (ANY,)

    def keys_for(self, resource: str, obj: Object) -> list[Key]:
        """The object's namespace, when it is on its way out."""
        name = obj["metadata"].get("namespace", "")
        if not self.registry.exists("namespaces", name):
            return []
        return [("", name)] if self.registry.get("namespaces", name)["metadata"].get("deletionTimestamp") else []

    def _changed(self, change: Change) -> None:
        """Any object of any kind may be what a namespace waits for."""
        obj = change.stored.obj
        keys = [key_of(obj)] if change.resource == self.resource else self.keys_for(change.resource, obj)
        for key in keys:
            self.enqueue(key)

    def sync(self, key: Key) -> float | None:
        """One round."""
        name = key[1]
        if not self.registry.exists("namespaces", name):
            return None
        if not self.registry.get("namespaces", name)["metadata"].get("deletionTimestamp"):
            return None
        left = 0
        for resource in [row.key for row in self.registry.catalog.stored() if row.namespaced]:
            for obj in self.registry.list(resource, name):
                if not obj["metadata"].get("deletionTimestamp"):
                    self.registry.delete(resource, key_of(obj)[1], name)
                left += self.registry.exists(resource, key_of(obj)[1], name)
        if not left:
            self.registry.mutate("namespaces", name, None, _release, subresource="finalize")
        return None


def _release(namespace: Object) -> None:
    finalizers = namespace["spec"].get("finalizers") or []
    namespace["spec"]["finalizers"] = [finalizer for finalizer in finalizers if finalizer != "kubernetes"]

"""Garbage collection by ownerReferences: background, foreground and orphan.

https://kubernetes.io/docs/concepts/architecture/garbage-collection/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localcluster.controllers.base import Controller, Key, Object
from localcluster.meta import key_of
from localcluster.registry import FOREGROUND, ORPHAN, Registry
from localcluster.store import ANY

if TYPE_CHECKING:
    from localcluster.store import Change

#: Nobody owns events, and they own nothing.
_IGNORED = "events"


class GarbageCollector(Controller):
    """Deletes what has lost all its owners, and finishes deletions that wait for dependents.

    Its keys are (resource, namespace, name).
    """

    name = "garbage-collector"
    resource = ANY

    def __init__(self, registry: Registry) -> None:
        super().__init__(registry)
        self._dependents: dict[str, set[Key]] = {}

    def sync(self, key: Key) -> float | None:
        """One round for one object."""
        resource, namespace, name = key
        if self.registry.catalog.find(resource) is None or not self.registry.exists(resource, name, namespace):
            return None
        obj = self.registry.get(resource, name, namespace)
        finalizers = obj["metadata"].get("finalizers") or []
        if obj["metadata"].get("deletionTimestamp"):
            if ORPHAN in finalizers:
                self._orphan_dependents(obj)
                self._drop_finalizer(key, ORPHAN)
            elif FOREGROUND in finalizers and not self._delete_dependents(obj):
                self._drop_finalizer(key, FOREGROUND)
            return None
        self._check_owners(key, obj)
        return None

    def _check_owners(self, key: Key, obj: Object) -> None:
        references = obj["metadata"].get("ownerReferences") or []
        if not references:
            return
        owners = [(reference, self._owner(reference, obj)) for reference in references]
        resource, namespace, name = key
        alive = [reference for reference, owner in owners if owner is not None]
        waiting = [owner for _, owner in owners if owner is not None and _in_foreground(owner)]
        if not alive:
            self.registry.delete(resource, name, namespace, uid=obj["metadata"]["uid"])
        elif len(waiting) == len(alive):
            propagation = "Foreground" if self._dependents.get(obj["metadata"]["uid"]) else "Background"
            self.registry.delete(resource, name, namespace, propagation=propagation, uid=obj["metadata"]["uid"])
        elif len(alive) < len(references):

            def keep(each: Object) -> None:
                each["metadata"]["ownerReferences"] = alive

            self.registry.mutate(resource, name, namespace, keep)

    def _owner(self, reference: dict[str, Any], obj: Object) -> Object | None:
        """The owner, None when it does not exist any more. Owners of kinds unknown here are taken to exist."""
        row = self.registry.catalog.for_kind(reference["apiVersion"], reference["kind"])
        if row is None:
            return {"metadata": {}}
        namespace = obj["metadata"].get("namespace") if row.namespaced else None
        if not self.registry.exists(row.key, reference["name"], namespace):
            return None
        owner = self.registry.get(row.key, reference["name"], namespace)
        return owner if owner["metadata"]["uid"] == reference["uid"] else None

    def _delete_dependents(self, owner: Object) -> bool:
        """Delete an owner's dependents; True while one is left that blocks the owner's deletion."""
        blocked = False
        for key, obj in self._dependents_of(owner):
            blocked = blocked or any(
                reference["uid"] == owner["metadata"]["uid"] and reference.get("blockOwnerDeletion")
                for reference in obj["metadata"]["ownerReferences"]
            )
            if not obj["metadata"].get("deletionTimestamp"):
                self.enqueue(key)
        return blocked

    def _orphan_dependents(self, owner: Object) -> None:
        uid = owner["metadata"]["uid"]

        def let_go(obj: Object) -> None:
            obj["metadata"]["ownerReferences"] = [r for r in obj["metadata"]["ownerReferences"] if r["uid"] != uid]

        for (resource, namespace, name), _ in self._dependents_of(owner):
            self.registry.mutate(resource, name, namespace, let_go)

    def _dependents_of(self, owner: Object) -> list[tuple[Key, Object]]:
        keys = sorted(self._dependents.get(owner["metadata"]["uid"], ()))
        return [(key, self.registry.get(key[0], key[2], key[1])) for key in keys]

    def _drop_finalizer(self, key: Key, finalizer: str) -> None:
        def drop(obj: Object) -> None:
            obj["metadata"]["finalizers"] = [f for f in obj["metadata"].get("finalizers") or [] if f != finalizer]

        resource, namespace, name = key
        self.registry.mutate(resource, name, namespace, drop)

    # -- who depends on whom

    def _first_round(self) -> None:
        for row in self.registry.catalog.stored():
            for obj in self.registry.list(row.key) if row.key != _IGNORED else ():
                key = (row.key, *key_of(obj))
                self._note(key, obj)
                if obj["metadata"].get("ownerReferences") or obj["metadata"].get("deletionTimestamp"):
                    self.enqueue(key)

    def _changed(self, change: Change) -> None:
        if change.resource == _IGNORED:
            return
        obj = change.stored.obj
        key = (change.resource, *key_of(obj))
        if change.old is not None:
            for uid in _owner_uids(change.old.obj):
                self._dependents.get(uid, set()).discard(key)
                if not self._dependents.get(uid, True):
                    del self._dependents[uid]
        if change.type == "DELETED":
            for dependent in self._dependents.get(obj["metadata"]["uid"], ()):
                self.enqueue(dependent)
            self._wake_owners(obj)
            return
        self._note(key, obj)
        new_owners = change.old is None or _owner_uids(change.old.obj) != _owner_uids(obj)
        if (new_owners and _owner_uids(obj)) or obj["metadata"].get("deletionTimestamp"):
            self.enqueue(key)

    def _note(self, key: Key, obj: Object) -> None:
        for uid in _owner_uids(obj):
            self._dependents.setdefault(uid, set()).add(key)

    def _wake_owners(self, obj: Object) -> None:
        for reference in obj["metadata"].get("ownerReferences") or []:
            row = self.registry.catalog.for_kind(reference["apiVersion"], reference["kind"])
            if row is not None:
                namespace = obj["metadata"].get("namespace", "") if row.namespaced else ""
                self.enqueue((row.key, namespace, reference["name"]))


def _owner_uids(obj: Object) -> list[str]:
    return [reference["uid"] for reference in obj["metadata"].get("ownerReferences") or []]


def _in_foreground(obj: Object) -> bool:
    metadata = obj["metadata"]
    return bool(metadata.get("deletionTimestamp")) and FOREGROUND in (metadata.get("finalizers") or [])

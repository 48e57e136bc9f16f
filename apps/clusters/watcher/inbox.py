"""Collects changes between two writes: the last one of each object. No I/O; belongs to one event loop."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from apps.clusters import manifests, rows
from apps.clusters.observed import Batch
from apps.clusters.routing import Changed

Object = Mapping[str, Any]

# Kinds that have no table: they only wake what made them.
ROUTED_KINDS = frozenset({"Job", "Deployment"})


class Inbox:
    """What one cluster's streams have reported and nobody has written yet."""

    def __init__(self) -> None:
        self._batch = Batch()
        self._changes: dict[tuple[str, str], Changed] = {}
        # Small memories of what is there, for counting and for telling what a new list no longer has.
        self._routed: dict[str, dict[str, tuple[str, Changed]]] = {kind: {} for kind in ROUTED_KINDS}
        self._nodes_ready: dict[str, bool] = {}
        self._namespaces: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._batch or self._changes)

    @property
    def nodes(self) -> tuple[int, int]:
        """How many nodes there are, and how many of them are ready."""
        return len(self._nodes_ready), sum(self._nodes_ready.values())

    def take(self) -> tuple[Batch, list[Changed]]:
        """Everything collected so far; the inbox is empty then."""
        batch, changes = self._batch, list(self._changes.values())
        self._batch, self._changes = Batch(), {}
        return batch, changes

    def put_back(self, batch: Batch, changes: Iterable[Changed]) -> None:
        """Return what could not be written, under what has come in since."""
        newer = self._batch
        for old, new in ((batch.nodes, newer.nodes), (batch.pods, newer.pods), (batch.events, newer.events)):
            for uid, row in old.items():
                new.setdefault(uid, row)
        for uid in newer.deleted_nodes:
            newer.nodes.pop(uid, None)
        newer.deleted_nodes |= {uid for uid in batch.deleted_nodes if uid not in newer.nodes}
        for kind, uids in batch.present.items():
            newer.present.setdefault(kind, uids | set(self._rows(kind)))
        for change in changes:
            self._changes.setdefault((change.kind, f"{change.namespace}/{change.name}"), change)

    def listed(self, kind: str, objects: Iterable[Object]) -> set[str]:
        """Take one page of a list; returns its uids."""
        uids: set[str] = set()
        for obj in objects:
            self.event(kind, "ADDED", obj)
            uids.add(_uid(obj))
        return uids

    def complete(self, kind: str, uids: set[str]) -> None:
        """A list has ended: whatever it did not have is gone."""
        if kind == "Pod":
            self._batch.present[kind] = set(uids)
        elif kind == "Node":
            self._batch.present[kind] = set(uids)
            self._nodes_ready = {uid: ready for uid, ready in self._nodes_ready.items() if uid in uids}
        elif kind in ROUTED_KINDS:
            for uid in [uid for uid in self._routed[kind] if uid not in uids]:
                self._forget_routed(kind, uid)

    def event(self, kind: str, change: str, obj: Object) -> None:
        """Take one watch event: ADDED, MODIFIED or DELETED."""
        now, uid, deleted = datetime.now(UTC), _uid(obj), change == "DELETED"
        if not uid:
            return
        if kind == "Pod":
            self._pod(uid, rows.pod_row(obj, now, deleted=deleted), deleted)
        elif kind == "Node":
            self._node(uid, None if deleted else rows.node_row(obj, now))
        elif kind == "Event":
            if not deleted and self._is_kept(obj):
                self._batch.events[uid] = rows.event_row(obj, now)
        elif kind in ROUTED_KINDS:
            self._route(kind, uid, obj, deleted)

    def _pod(self, uid: str, row: rows.Row, deleted: bool) -> None:
        self._batch.pods[uid] = row
        if row["project"]:
            self._namespaces.add(row["namespace"])
        if "Pod" in self._batch.present:
            (self._batch.present["Pod"].discard if deleted else self._batch.present["Pod"].add)(uid)

    def _node(self, uid: str, row: rows.Row | None) -> None:
        batch = self._batch
        if row is None:
            batch.nodes.pop(uid, None)
            batch.deleted_nodes.add(uid)
            self._nodes_ready.pop(uid, None)
        else:
            batch.nodes[uid] = row
            batch.deleted_nodes.discard(uid)
            self._nodes_ready[uid] = row["ready"]
        if "Node" in batch.present:
            (batch.present["Node"].discard if row is None else batch.present["Node"].add)(uid)

    def _route(self, kind: str, uid: str, obj: Object, deleted: bool) -> None:
        metadata = obj.get("metadata") or {}
        labels = metadata.get("labels") or {}
        if labels.get(manifests.MANAGED_BY) != "flotilla":
            return
        if deleted:
            self._routed[kind].setdefault(uid, ("", _changed(kind, metadata, labels)))
            self._forget_routed(kind, uid)
            return
        version = str(metadata.get("resourceVersion") or "")
        known = self._routed[kind].get(uid)
        if known is not None and known[0] == version:
            # A list that repeats what is known wakes nobody.
            return
        change = _changed(kind, metadata, labels)
        self._routed[kind][uid] = (version, change)
        self._namespaces.add(change.namespace)
        self._changes[kind, f"{change.namespace}/{change.name}"] = change

    def _forget_routed(self, kind: str, uid: str) -> None:
        change = self._routed[kind].pop(uid)[1]
        gone = Changed(kind, change.namespace, change.name, change.labels, deleted=True)
        self._changes[kind, f"{change.namespace}/{change.name}"] = gone

    def _is_kept(self, event: Object) -> bool:
        """Every warning; the normal ones only where Flotilla has made something."""
        if (event.get("type") or "Normal") != "Normal":
            return True
        namespace = str((event.get("involvedObject") or {}).get("namespace") or "")
        return namespace in self._namespaces or namespace.startswith(manifests.NAMESPACE_PREFIX)

    def _rows(self, kind: str) -> Iterable[str]:
        return self._batch.pods if kind == "Pod" else self._batch.nodes


def _uid(obj: Object) -> str:
    return str((obj.get("metadata") or {}).get("uid") or "")


def _changed(kind: str, metadata: Object, labels: Mapping[str, str]) -> Changed:
    return Changed(kind, str(metadata.get("namespace") or ""), str(metadata.get("name") or ""), dict(labels))

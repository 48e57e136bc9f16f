"""Collects one cluster's changes between two writes: the last one of each object. No I/O; belongs to one event loop."""

import logging
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from apps.clusters.observed import rows
from apps.clusters.observed.podhealth import settles_at
from apps.clusters.observed.store import Batch
from apps.core.text.names import NAMESPACE_PREFIX

logger = logging.getLogger(__name__)

Object = Mapping[str, Any]


class Inbox:
    """The reports of one cluster's streams that are not written yet."""

    def __init__(self) -> None:
        self._batch = Batch()
        # Small memories of what is there: for counting, and for knowing which events concern us.
        self._nodes_ready: dict[str, bool] = {}
        self._namespaces: set[str] = set()
        # Pods whose state follows from the time alone, with when: nothing may be heard of them until then.
        self._unsettled: dict[str, tuple[datetime, Object]] = {}

    def __bool__(self) -> bool:
        return bool(self._batch)

    def __len__(self) -> int:
        return len(self._batch)

    @property
    def nodes(self) -> tuple[int, int]:
        """How many nodes there are, and how many of them are ready."""
        return len(self._nodes_ready), sum(self._nodes_ready.values())

    def take(self) -> Batch:
        """Everything collected so far; the inbox is empty then."""
        batch, self._batch = self._batch, Batch()
        return batch

    def put_back(self, batch: Batch) -> None:
        """Return what could not be written, under what has come in since."""
        newer = self._batch
        for kind, uids in batch.deleted.items():
            known = newer.deleted.setdefault(kind, set())
            known |= {uid for uid in uids if uid not in self._rows(kind)}
        for kind, old, new in (
            ("Node", batch.nodes, newer.nodes),
            ("Pod", batch.pods, newer.pods),
            ("", batch.workloads, newer.workloads),
            ("Event", batch.events, newer.events),
        ):
            for uid, row in old.items():
                if not self._is_gone(kind or row["kind"], uid):
                    new.setdefault(uid, row)
        for kind, uids in batch.present.items():
            # Objects that have come since are there as well, and those that have gone since are not.
            added, gone = set(self._rows(kind)), newer.deleted.get(kind, set())
            newer.present.setdefault(kind, (uids | added) - gone)

    def settle(self, now: datetime) -> bool:
        """Judge anew the pods whose time has come; returns whether there were any."""
        due = [(uid, obj) for uid, (at, obj) in self._unsettled.items() if at <= now]
        for uid, obj in due:
            del self._unsettled[uid]
            self._batch.pods.setdefault(uid, rows.pod_row(obj, now))
        return bool(due)

    def listed(self, kind: str, objects: Iterable[Object]) -> set[str]:
        """Take one page of a list; returns its uids."""
        uids: set[str] = set()
        for obj in objects:
            self.event(kind, "ADDED", obj)
            uids.add(_uid(obj))
        return uids

    def complete(self, kind: str, uids: set[str]) -> None:
        """A list has ended: whatever it did not have is gone."""
        if kind == "Event":
            # Events go by their age; a cluster forgets them long before we do.
            return
        self._batch.present[kind] = set(uids)
        if kind != "Pod":
            # A pod's last row has its exit code; of the others nothing is kept.
            known = self._rows(kind)
            for uid in [uid for uid, row in known.items() if uid not in uids and row.get("kind", kind) == kind]:
                del known[uid]
        if kind == "Pod":
            self._unsettled = {uid: known for uid, known in self._unsettled.items() if uid in uids}
        if kind == "Node":
            self._nodes_ready = {uid: ready for uid, ready in self._nodes_ready.items() if uid in uids}

    def event(self, kind: str, change: str, obj: Object) -> None:
        """Take one watch event: ADDED, MODIFIED or DELETED.

        An object that makes no sense is left out with a line in the log: it must not keep the others out.
        """
        uid = _uid(obj)
        if not uid:
            return
        try:
            self._take(kind, uid, obj, deleted=change == "DELETED")
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            logger.warning("%s %s can't be read and is left out: %s", kind, uid[:64], type(error).__name__)

    def _take(self, kind: str, uid: str, obj: Object, *, deleted: bool) -> None:
        now, batch = datetime.now(UTC), self._batch
        if kind == "Event":
            if not deleted and self._is_kept(obj):
                batch.events[uid] = rows.event_row(obj, now)
        elif kind == "Pod":
            batch.pods[uid] = row = rows.pod_row(obj, now, deleted=deleted)
            self._unsettled.pop(uid, None)
            if not deleted and (due := settles_at(obj)) is not None and due > now:
                self._unsettled[uid] = (due, obj)
            self._note(kind, uid, row["namespace"] if row["project"] else "", deleted=deleted)
        elif deleted:
            self._rows(kind).pop(uid, None)
            self._nodes_ready.pop(uid, None)
            batch.deleted.setdefault(kind, set()).add(uid)
            self._note(kind, uid, "", deleted=True)
        elif kind == "Node":
            batch.nodes[uid] = row = rows.node_row(obj, now)
            self._nodes_ready[uid] = row["ready"]
            self._note(kind, uid, "", deleted=False)
        else:
            batch.workloads[uid] = row = rows.workload_row(kind, obj, now)
            self._note(kind, uid, row["namespace"] if row["project"] else "", deleted=False)

    def _note(self, kind: str, uid: str, namespace: str, *, deleted: bool) -> None:
        """Keep what a list has said in step with what comes after it and before it is written."""
        if namespace:
            self._namespaces.add(namespace)
        if not deleted:
            self._batch.deleted.get(kind, set()).discard(uid)
        if kind in self._batch.present:
            (self._batch.present[kind].discard if deleted else self._batch.present[kind].add)(uid)

    def _is_gone(self, kind: str, uid: str) -> bool:
        """Whether something that came later says that there is no such object any more."""
        present = self._batch.present.get(kind)
        return uid in self._batch.deleted.get(kind, ()) or (present is not None and uid not in present)

    def _is_kept(self, event: Object) -> bool:
        """Every warning and whatever happens to nodes; the other normal ones only where Flotilla has made something."""
        involved = event.get("involvedObject") or {}
        # Kubernetes reports as a normal event that a node is no longer ready.
        if (event.get("type") or "Normal") != "Normal" or involved.get("kind") == "Node":
            return True
        namespace = str(involved.get("namespace") or "")
        return namespace in self._namespaces or namespace.startswith(NAMESPACE_PREFIX)

    def _rows(self, kind: str) -> dict[str, rows.Row]:
        return {"Pod": self._batch.pods, "Node": self._batch.nodes}.get(kind, self._batch.workloads)


def _uid(obj: Object) -> str:
    metadata = obj.get("metadata") if isinstance(obj, Mapping) else None
    return rows.uid_of(metadata) if isinstance(metadata, Mapping) else ""

"""The object store: everything in memory, every write in SQLite (WAL) before it is answered.

It does what etcd and the watch cache do for a real API server: one global, growing resourceVersion; a ring of the
latest changes per resource, from which watches start; 410 for a version that is older than the ring.

``kill -9`` at any moment leaves the last committed write: SQLite's WAL needs no repair by us.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localcluster.errors import gone
from localcluster.meta import dump, key_of

log = logging.getLogger(__name__)

Key = tuple[str, str]

#: Stands for every resource when listening.
ANY = "*"
#: Changes kept per resource for watches that start in the past.
RING = 2048

_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
  resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, body BLOB NOT NULL,
  PRIMARY KEY (resource, namespace, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""


class Stored:
    """One version of one object: ``obj`` is frozen by convention, ``raw`` its JSON."""

    __slots__ = ("obj", "raw", "version")

    def __init__(self, obj: dict[str, Any], raw: bytes, version: int) -> None:
        self.obj = obj
        self.raw = raw
        self.version = version


@dataclass(frozen=True, slots=True)
class Change:
    """The change at ``version``: ADDED, MODIFIED or DELETED; ``old`` is the object before it."""

    version: int
    type: str
    resource: str
    stored: Stored
    old: Stored | None


Listener = Callable[[Change], None]


def _sharing() -> Callable[[list[tuple[str, Any]]], dict[str, Any]]:
    """For a decoder: equal keys and texts become one object, as they are where pods are copied from a template."""
    texts: dict[str, str] = {}
    share = texts.setdefault

    def build(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return {share(key, key): share(value, value) if value.__class__ is str else value for key, value in pairs}

    return build


class Store:
    """Objects by resource and (namespace, name). All calls are synchronous, for one thread."""

    def __init__(self, path: Path | None = None, *, ring: int = RING) -> None:
        """Open ``path`` (in memory when None) and load what is there."""
        self._ring = ring
        self._objects: dict[str, dict[Key, Stored]] = {}
        self._by_namespace: dict[str, dict[str, dict[str, Stored]]] = {}
        self._sorted: dict[str, list[Key]] = {}
        self._rings: dict[str, deque[Change]] = {}
        self._dropped: dict[str, int] = {}
        self._listeners: dict[str, list[Listener]] = {}
        self._database = sqlite3.connect(path or ":memory:", isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=NORMAL")
        self._database.executescript(_SCHEMA)
        self.version = self._load()
        self._born = self.version

    def _load(self) -> int:
        read = json.JSONDecoder(object_pairs_hook=_sharing()).decode
        for resource, body in self._database.execute("SELECT resource, body FROM objects"):
            obj = read(body.decode())
            self._place(resource, key_of(obj), Stored(obj, body, int(obj["metadata"]["resourceVersion"])))
        row = self._database.execute("SELECT value FROM meta WHERE key = 'version'").fetchone()
        return int(row[0]) if row else 0

    def close(self) -> None:
        """Close the database. The store can't be used afterwards."""
        self._database.close()

    def get(self, resource: str, key: Key) -> Stored | None:
        """The object, or None."""
        return self._objects.get(resource, {}).get(key)

    def resources(self) -> list[str]:
        """Every resource of which there is, or was, an object."""
        return list(self._objects)

    def count(self, resource: str) -> int:
        """The number of objects of the resource."""
        return len(self._objects.get(resource, ()))

    def scan(self, resource: str, namespace: str | None = None, after: Key | None = None) -> Iterator[Stored]:
        """All objects (of one namespace), ordered by namespace and name, those after ``after`` only."""
        if namespace:
            inside = self._by_namespace.get(resource, {}).get(namespace, {})
            names = sorted(inside)
            start = bisect_right(names, after[1]) if after else 0
            return iter([inside[name] for name in names[start:]])
        objects = self._objects.get(resource, {})
        keys = self._sorted.get(resource)
        if keys is None:
            keys = self._sorted[resource] = sorted(objects)
        start = bisect_right(keys, after) if after else 0
        return iter([objects[key] for key in keys[start:]])

    def _place(self, resource: str, key: Key, stored: Stored) -> Stored | None:
        objects = self._objects.setdefault(resource, {})
        old = objects.get(key)
        if old is None:
            self._sorted.pop(resource, None)
        objects[key] = stored
        self._by_namespace.setdefault(resource, {}).setdefault(key[0], {})[key[1]] = stored
        return old

    def put(self, resource: str, obj: dict[str, Any]) -> Stored:
        """Write ``obj`` (which the store then owns) under a new resourceVersion, on disk and to the listeners."""
        version = self.version + 1
        obj["metadata"]["resourceVersion"] = str(version)
        key = key_of(obj)
        stored = Stored(obj, dump(obj), version)
        self._commit(
            version,
            "INSERT INTO objects VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET body = excluded.body",
            (resource, *key, stored.raw),
        )
        old = self._place(resource, key, stored)
        self._publish(Change(version, "MODIFIED" if old else "ADDED", resource, stored, old))
        return stored

    def remove(self, resource: str, key: Key) -> Stored:
        """Delete an object that is there; gives its last state, stamped with the version of the deletion."""
        version = self.version + 1
        old = self._objects[resource][key]
        last = {**old.obj, "metadata": {**old.obj["metadata"], "resourceVersion": str(version)}}
        stored = Stored(last, dump(last), version)
        self._commit(version, "DELETE FROM objects WHERE resource = ? AND namespace = ? AND name = ?", (resource, *key))
        del self._objects[resource][key]
        del self._by_namespace[resource][key[0]][key[1]]
        self._sorted.pop(resource, None)
        self._publish(Change(version, "DELETED", resource, stored, old))
        return stored

    def _commit(self, version: int, statement: str, values: Iterable[Any]) -> None:
        run = self._database.execute
        run("BEGIN IMMEDIATE")
        try:
            run(statement, tuple(values))
            run("INSERT INTO meta VALUES ('version', ?) ON CONFLICT DO UPDATE SET value = excluded.value", (version,))
            run("COMMIT")
        except sqlite3.Error:
            # A full disk has SQLite roll back by itself.
            if self._database.in_transaction:
                run("ROLLBACK")
            raise
        self.version = version

    def _publish(self, change: Change) -> None:
        ring = self._rings.setdefault(change.resource, deque())
        ring.append(change)
        if len(ring) > self._ring:
            self._dropped[change.resource] = ring.popleft().version
        for listener in (*self._listeners.get(change.resource, ()), *self._listeners.get(ANY, ())):
            try:
                listener(change)
            except Exception:
                # The write is done: one listener's fault must not keep the news from the others.
                log.exception("a listener failed on %s of %s", change.type, change.resource)

    def oldest(self, resource: str) -> int:
        """The oldest version from which all changes of the resource are still known."""
        return max(self._dropped.get(resource, 0), self._born)

    def since(self, resource: str, version: int) -> list[Change]:
        """The changes after ``version``. Raises StatusError 410 when the ring no longer reaches back so far."""
        oldest = self.oldest(resource)
        if version < oldest:
            raise gone(f"too old resource version: {version} ({oldest})")
        ring = self._rings.get(resource, ())
        if not ring or ring[-1].version <= version:
            return []
        return [change for change in ring if change.version > version]

    def listen(self, resources: Iterable[str], listener: Listener) -> Callable[[], None]:
        """Call ``listener`` on every later change (of any kind: ``ANY``); gives the function that ends this."""
        names = tuple(resources)
        for name in names:
            self._listeners.setdefault(name, []).append(listener)

        def stop() -> None:
            for name in names:
                if listener in self._listeners[name]:
                    self._listeners[name].remove(listener)

        return stop

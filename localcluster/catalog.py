"""The kinds that a cluster serves: those that are built in, and the custom ones that its definitions name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from localcluster.crd.kinds import DEFINITIONS, rows_of
from localcluster.resources import RESOURCES, Resource

if TYPE_CHECKING:
    from localcluster.store import Change, Store


_BUILT_IN = frozenset((row.group, row.version) for row in RESOURCES)


class Catalog:
    """Kinds by their key, by path and by group and kind. It follows the CustomResourceDefinitions in the store."""

    def __init__(self, store: Store) -> None:
        #: Grows with every change, so that values computed from the catalog can be kept until the next one.
        self.generation = 0
        self._by_key: dict[str, Resource] = {row.key: row for row in RESOURCES}
        self._by_kind: dict[tuple[str, str], Resource] = {(row.group, row.kind): row for row in RESOURCES}
        self._by_path: dict[tuple[str, str, str], Resource] = {
            (row.group, row.version, row.plural): row for row in RESOURCES
        }
        for stored in store.scan(DEFINITIONS):
            self._add(rows_of(stored.obj))
        store.listen((DEFINITIONS,), self._changed)

    def _changed(self, change: Change) -> None:
        self.generation += 1
        self._remove(change.stored.obj["metadata"]["name"])
        if change.type != "DELETED":
            self._add(rows_of(change.stored.obj))

    def _remove(self, key: str) -> None:
        self._by_key.pop(key, None)
        self._by_kind = {place: row for place, row in self._by_kind.items() if row.key != key}
        self._by_path = {place: row for place, row in self._by_path.items() if row.key != key}

    def _add(self, rows: list[Resource]) -> None:
        for row in rows:
            if (row.group, row.version) in _BUILT_IN:
                continue  # as in a real API server, a definition takes no path from a built-in group
            if row.custom and row.custom.stored:
                self._by_key[row.key] = self._by_kind[row.group, row.kind] = row
            if row.custom and row.custom.served:
                self._by_path[row.group, row.version, row.plural] = row

    def __getitem__(self, key: str) -> Resource:
        """The kind of a key, in the version that it is stored in. Raises KeyError."""
        return self._by_key[key]

    def find(self, key: str) -> Resource | None:
        """The kind of a key, or None when it is not (or no longer) served."""
        return self._by_key.get(key)

    def at(self, group: str, version: str, plural: str) -> Resource | None:
        """The kind that is served at a path."""
        return self._by_path.get((group, version, plural))

    def for_kind(self, api_version: str, kind: str) -> Resource | None:
        """The kind that an ownerReference means, in whatever version it names it."""
        return self._by_kind.get((api_version.rpartition("/")[0], kind))

    def stored(self) -> Iterable[Resource]:
        """Every kind once."""
        return tuple(self._by_key.values())

    def served(self) -> Iterable[Resource]:
        """Every kind in every version that is served."""
        return tuple(self._by_path.values())

"""The owners of fields: ``metadata.managedFields``.

https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from localcluster.fields import Fields, Path, changed_fields, decode, encode, fields_of
from localcluster.meta import now
from localcluster.resources import Resource
from localcluster.schema.types import type_of_resource

Obj = dict[str, Any]

#: The fields that nobody owns: identity, and those that the server alone writes.
_UNOWNED = frozenset(
    [("f:apiVersion",), ("f:kind",), ("f:metadata",)]
    + [
        ("f:metadata", f"f:{name}")
        for name in (
            "name",
            "namespace",
            "creationTimestamp",
            "selfLink",
            "uid",
            "generation",
            "managedFields",
            "resourceVersion",
            "generateName",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
        )
    ]
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One manager's fields: an item of managedFields, with its set decoded."""

    manager: str
    operation: str
    api_version: str
    subresource: str
    time: str
    fields: Fields

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Entries with the same key are one."""
        return (self.manager, self.operation, self.api_version, self.subresource)


def owned(fields: Fields, row: Resource, subresource: str | None = None) -> Fields:
    """The fields that can be owned through a door: no identity, and the status only through its own door."""
    kept = (path for path in fields if path not in _UNOWNED and path[:2] != ("f:metadata", "f:managedFields"))
    if not row.has_status:
        return frozenset(kept)
    if subresource == "status":
        return frozenset(path for path in kept if path[0] == "f:status")
    return frozenset(path for path in kept if path[0] != "f:status")


def read(obj: Obj) -> list[Entry]:
    """The entries of an object."""
    return [
        Entry(
            each.get("manager", ""),
            each.get("operation", ""),
            each.get("apiVersion", ""),
            each.get("subresource", ""),
            each.get("time", ""),
            decode(each.get("fieldsV1")),
        )
        for each in obj["metadata"].get("managedFields") or ()
    ]


def format_entries(entries: list[Entry]) -> list[Obj]:
    """The entries as metadata has them: Apply before Update, oldest first; entries without fields vanish."""
    kept = [entry for entry in entries if entry.fields]
    kept.sort(key=lambda entry: (entry.operation != "Apply", entry.time, entry.manager))
    formatted = []
    for entry in kept:
        item = {
            "manager": entry.manager,
            "operation": entry.operation,
            "apiVersion": entry.api_version,
            "time": entry.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": encode(entry.fields),
        }
        if entry.subresource:
            item["subresource"] = entry.subresource
        formatted.append(item)
    return formatted


def without_vanished(entries: list[Entry], obj: Obj, row: Resource) -> list[Entry]:
    """Nobody owns what is no longer there. (A path also stands for everything inside of it.)"""
    present = fields_of(obj, type_of_resource(row))
    with_parents: set[Path] = set()
    for path in present:
        with_parents.update(path[:length] for length in range(1, len(path) + 1))
    return [replace(entry, fields=entry.fields & with_parents) for entry in entries]


def track_update(row: Resource, old: Obj | None, new: Obj, manager: str, subresource: str | None = None) -> None:
    """After a create, update or patch: ``manager`` owns what it changed, and nobody else does. Changes ``new``."""
    type_ = type_of_resource(row)
    changed = changed_fields(old, new, type_) if old is not None else fields_of(new, type_)
    door = subresource if subresource in ("status", "scale") else ""
    changed = owned(changed, row, "status" if door == "status" else None)
    entries = read(new)
    if changed:
        mine = Entry(manager, "Update", row.api_version, door or "", now(), changed)
        kept = []
        for entry in entries:
            if entry.key == mine.key:
                mine = replace(mine, fields=mine.fields | entry.fields)
            else:
                kept.append(replace(entry, fields=entry.fields - changed))
        entries = [*kept, mine]
    if entries:
        new["metadata"]["managedFields"] = format_entries(without_vanished(entries, new, row))


def same_but_for_times(old: Obj, new: Obj) -> bool:
    """Did anything change besides the times in managedFields?"""
    if old == new:
        return True
    if _bare(old) != _bare(new):
        return False
    return [_timeless(entry) for entry in old["metadata"].get("managedFields") or ()] == [
        _timeless(entry) for entry in new["metadata"].get("managedFields") or ()
    ]


def _bare(obj: Obj) -> Obj:
    metadata = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    return {**obj, "metadata": metadata}


def _timeless(entry: Obj) -> Obj:
    return {name: value for name, value in entry.items() if name != "time"}

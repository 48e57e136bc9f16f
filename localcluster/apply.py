"""Server-side apply: merge what a manager states into the live object, by field ownership.

https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

from localcluster import managers
from localcluster.defaults import apply_defaults
from localcluster.errors import StatusError, apply_conflict, conflict
from localcluster.fields import (
    Fields,
    Path,
    changed_fields,
    fields_of,
    is_granular_list,
    is_granular_map,
    item_step,
    show,
)
from localcluster.managers import Entry
from localcluster.meta import now, thaw
from localcluster.registry import Registry
from localcluster.resources import Resource
from localcluster.schema.types import Type, type_of_resource

Obj = dict[str, Any]


def merge(live: Any, applied: Any, type_: Type) -> Any:
    """``live`` with every value that ``applied`` states; lists by their type. Shares no part with its arguments."""
    if is_granular_map(applied, type_) and isinstance(live, dict):
        merged = copy.deepcopy(live)
        for name, value in applied.items():
            merged[name] = merge(live.get(name), value, type_.field(name))
        return merged
    if is_granular_list(applied, type_) and isinstance(live, list):
        return _merge_list(live, applied, type_)
    return copy.deepcopy(applied)


def _merge_list(live: list[Any], applied: list[Any], type_: Type) -> list[Any]:
    """Applied items in the applied order; live ones that are not applied keep their place behind their neighbours."""
    inner = type_.item()
    stated = {item_step(item, type_): item for item in applied}
    before = {item_step(item, type_): item for item in live}
    merged_items = {
        step: merge(before[step], item, inner) if step in before else copy.deepcopy(item)
        for step, item in stated.items()
    }
    result: list[Any] = []
    queue = list(stated)
    for step, item in before.items():
        if step not in stated:
            result.append(copy.deepcopy(item))
            continue
        while queue:
            first = queue.pop(0)
            result.append(merged_items[first])
            if first == step:
                break
    return result + [merged_items[step] for step in queue]


def _find(items: list[Any], step: str, type_: Type) -> int | None:
    return next((at for at, item in enumerate(items) if item_step(item, type_) == step), None)


def _remove(value: Any, path: Path, type_: Type) -> bool:
    """Remove what a path names, in place; True when that emptied ``value``."""
    step, rest = path[0], path[1:]
    if step.startswith("f:"):
        name = step[2:]
        if not isinstance(value, dict) or name not in value:
            return False
        if not rest or _remove(value[name], rest, type_.field(name)):
            del value[name]
        return not value
    position = _find(value, step, type_) if isinstance(value, list) else None
    if position is None:
        return False
    if not rest:
        del value[position]
        return not value
    _remove(value[position], rest, type_.item())
    return False


def remove_fields(obj: Obj, gone: Fields, kept: Fields, type_: Type) -> None:
    """Remove the fields ``gone`` from ``obj``, in place, but nothing that ``kept`` holds or lies above."""
    needed: set[Path] = set()
    for path in kept:
        needed.update(path[:length] for length in range(1, len(path) + 1))
    removed: set[Path] = set()
    # Shorter paths first: with a list's item goes all that is inside of it, its key too.
    for path in sorted(gone - needed, key=len):
        if any(path[:length] in removed for length in range(1, len(path))) or _is_key(path):
            continue
        _remove(obj, path, type_)
        removed.add(path)


def _is_key(path: Path) -> bool:
    """Is it a field by which its item is found? That stays as long as the item does."""
    if len(path) < 2 or not path[-2].startswith("k:"):
        return False
    return path[-1][2:] in json.loads(path[-2][2:])


def _conflicts(entries: list[Entry], mine: Entry, changed: Fields) -> list[tuple[Entry, Path]]:
    contested = changed & mine.fields
    return [(entry, path) for entry in entries if entry.key != mine.key for path in sorted(entry.fields & contested)]


def _describe(entry: Entry) -> str:
    text = json.dumps(entry.manager)
    if entry.subresource:
        text += f' with subresource "{entry.subresource}"'
    if entry.operation == "Update":
        text += f" using {entry.api_version}" + (f" at {entry.time}" if entry.time else "")
    return text


def conflict_error(conflicts: list[tuple[Entry, Path]]) -> StatusError:
    """The 409 that names every field and its owner."""
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {_describe(entry)}", "field": show(path)}
        for entry, path in conflicts
    ]
    if len(conflicts) == 1:
        message = f"Apply failed with 1 conflict: {causes[0]['message']}: {causes[0]['field']}"
    else:
        grouped: dict[str, list[str]] = {}
        for entry, path in conflicts:
            grouped.setdefault(_describe(entry), []).append(f"- {show(path)}")
        parts = [f"conflicts with {who}:\n" + "\n".join(paths) for who, paths in sorted(grouped.items())]
        message = f"Apply failed with {len(conflicts)} conflicts: " + "\n".join(parts)
    return apply_conflict(message, causes)


def _stated(applied: Obj, row: Resource, subresource: str | None) -> Obj:
    """The fields of an applied document that may be written through the object or through this subresource."""
    stated = thaw(applied)
    if row.has_status:
        if subresource == "status":
            stated = {"metadata": {}, "status": stated.get("status") or {}}
        else:
            stated.pop("status", None)
    metadata = stated.get("metadata") or {}
    identity = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp", "generation", "managedFields")
    stated["metadata"] = {name: value for name, value in metadata.items() if name not in identity}
    for name in ("apiVersion", "kind"):
        stated.pop(name, None)
    if row.key == "secrets" and stated.get("stringData"):
        # stringData is write-only: the server keeps it as data.
        apply_defaults(row, stated)
    return stated


def apply_object(
    registry: Registry,
    row: Resource,
    applied: Obj,
    *,
    manager: str,
    force: bool,
    subresource: str | None = None,
    dry_run: bool = False,
) -> Obj:
    """Create or change the object that ``applied`` names. Raises StatusError 404 (status only), 409 and 422."""
    name, namespace = applied["metadata"]["name"], applied["metadata"].get("namespace")
    type_ = type_of_resource(row)
    stated = _stated(applied, row, subresource)
    fields = managers.owned(fields_of(stated, type_), row, subresource)
    mine = Entry(manager, "Apply", row.api_version, subresource or "", now(), fields)
    if subresource is None and not registry.exists(row.key, name, namespace):
        manifest = thaw(applied)
        return registry.create(
            row.key, manifest, namespace=namespace, managed=managers.format_entries([mine]), dry_run=dry_run
        )
    old = registry.get(row.key, name, namespace)
    version = applied["metadata"].get("resourceVersion")
    uid = applied["metadata"].get("uid")
    if (version and version != old["metadata"]["resourceVersion"]) or (uid and uid != old["metadata"]["uid"]):
        raise conflict(row.plural, name, group=row.group)
    entries = managers.read(old)
    new = merge(old, stated, type_)
    previous = next((entry.fields for entry in entries if entry.key == mine.key), frozenset())
    others: Fields = frozenset().union(*(entry.fields for entry in entries if entry.key != mine.key))
    remove_fields(new, previous - fields, others | fields, type_)
    changed = changed_fields(old, new, type_)
    if conflicts := _conflicts(entries, mine, changed):
        if not force:
            raise conflict_error(conflicts)
        entries = [replace(entry, fields=entry.fields - changed) for entry in entries]
    entries = [entry for entry in entries if entry.key != mine.key]
    entries = [*managers.without_vanished(entries, new, row), mine]
    new["metadata"]["managedFields"] = managers.format_entries(entries)
    return registry.write(row, old, new, subresource=subresource, dry_run=dry_run)

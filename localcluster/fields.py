"""Sets of fields as server-side apply keeps them in ``managedFields`` (the FieldsV1 format).

A set is a ``frozenset`` of paths; a path is a tuple of FieldsV1 steps: ``f:<name>``, ``k:<keys as JSON>`` or
``v:<value as JSON>``. The rules are those of sigs.k8s.io/structured-merge-diff.
https://kubernetes.io/docs/reference/using-api/server-side-apply/#merge-strategy
"""

from __future__ import annotations

import json
from typing import Any

from localcluster.schema.types import KEY_DEFAULTS, Type

Path = tuple[str, ...]
Fields = frozenset[Path]


def item_step(item: Any, type_: Type) -> str | None:
    """The step that names an item of a list of kind map or set; None when a key is missing."""
    if type_.merge == "set":
        return "v:" + json.dumps(item, separators=(",", ":"))
    if not isinstance(item, dict):
        return None
    keys: dict[str, Any] = {}
    for key in sorted(type_.keys):
        value = item.get(key, _default_of(key, type_))
        if value is None:
            return None
        keys[key] = value
    return "k:" + json.dumps(keys, separators=(",", ":"))


def _default_of(key: str, type_: Type) -> Any:
    """The value of a list's key that an item leaves out: a custom kind's schema states it."""
    node = type_.item().field(key).node or {}
    return node.get("default", KEY_DEFAULTS.get(key))


def is_granular_map(value: Any, type_: Type) -> bool:
    """Is each of the value's fields owned by itself?"""
    return isinstance(value, dict) and type_.merge != "atomic"


def is_granular_list(value: Any, type_: Type) -> bool:
    """Is each of the value's items owned by itself?"""
    return isinstance(value, list) and type_.merge in ("map", "set")


def fields_of(value: Any, type_: Type) -> Fields:
    """Every field that a value states."""
    paths: set[Path] = set()
    _collect(value, type_, (), paths)
    return frozenset(paths)


def _collect(value: Any, type_: Type, path: Path, paths: set[Path]) -> None:
    if is_granular_map(value, type_) and value:
        for name, inner in value.items():
            _collect(inner, type_.field(name), (*path, f"f:{name}"), paths)
    elif is_granular_list(value, type_) and value:
        inner_type = type_.item()
        for item in value:
            step = item_step(item, type_)
            if step is None:
                paths.add(path)
                continue
            paths.add((*path, step))
            if isinstance(item, dict):
                _collect(item, inner_type, (*path, step), paths)
    else:
        paths.add(path)


def changed_fields(old: Any, new: Any, type_: Type) -> Fields:
    """The fields of ``new`` that ``old`` lacks or has with another value."""
    paths: set[Path] = set()
    _compare(old, new, type_, (), paths)
    return frozenset(paths)


def _compare(old: Any, new: Any, type_: Type, path: Path, paths: set[Path]) -> None:
    if old == new and type(old) is type(new):
        return
    if is_granular_map(new, type_) and isinstance(old, dict):
        for name, inner in new.items():
            if name not in old:
                _collect(inner, type_.field(name), (*path, f"f:{name}"), paths)
            else:
                _compare(old[name], inner, type_.field(name), (*path, f"f:{name}"), paths)
    elif is_granular_list(new, type_) and isinstance(old, list):
        before = {item_step(item, type_): item for item in old}
        for item in new:
            step = item_step(item, type_)
            if step is None:
                paths.add(path)
            elif step not in before:
                _collect([item], type_, path, paths)
            else:
                _compare(before[step], item, type_.item(), (*path, step), paths)
    else:
        _collect(new, type_, path, paths)


def encode(fields: Fields) -> dict[str, Any]:
    """As ``fieldsV1``."""
    root: dict[str, Any] = {}
    for path in sorted(fields, key=len):
        node = root
        for step in path:
            node = node.setdefault(step, {})
    members = set(fields)

    def mark(node: dict[str, Any], path: Path) -> None:
        steps = list(node)
        for step in steps:
            mark(node[step], (*path, step))
        if steps and path in members:
            node["."] = {}

    mark(root, ())
    return root


def decode(tree: dict[str, Any] | None) -> Fields:
    """From ``fieldsV1``."""
    paths: set[Path] = set()

    def walk(node: dict[str, Any], path: Path) -> None:
        if not node and path:
            paths.add(path)
        for step, inner in node.items():
            if step == ".":
                paths.add(path)
            else:
                walk(inner, (*path, step))

    walk(tree or {}, ())
    return frozenset(paths)


def show(path: Path) -> str:
    """For people: ``.spec.containers[name="web"].image``."""
    text = ""
    for step in path:
        kind, _, rest = step.partition(":")
        if kind == "f":
            text += f".{rest}"
        elif kind == "k":
            keys = json.loads(rest)
            text += "[" + ",".join(f"{key}={json.dumps(value)}" for key, value in sorted(keys.items())) + "]"
        else:
            text += f"[={rest}]"
    return text

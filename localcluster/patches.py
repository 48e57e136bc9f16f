"""The three patch formats besides apply. Functions give the patched document and leave their arguments as they are.

https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/
"""

from __future__ import annotations

import copy
from typing import Any

import jsonpatch

from localcluster.errors import StatusError, bad_request
from localcluster.meta import dump
from localcluster.schema.types import Type


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7386: objects merge, null deletes, everything else replaces."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


_UNREADABLE = (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, TypeError)


#: As kube-apiserver's: operations of a JSON patch, and the bytes that all its copies may make.
_MOST_OPERATIONS = 10_000
_MOST_COPIED = 3 * 1024 * 1024


def json_patch(target: Any, operations: Any) -> Any:
    """RFC 6902: all operations or none. Raises StatusError 400, 413, and 422 when a path or test fails."""
    if not isinstance(operations, list) or not all(isinstance(each, dict) for each in operations):
        raise bad_request("json patch: the body must be a list of operations")
    if len(operations) > _MOST_OPERATIONS:
        why = f"The allowed maximum operations in a JSON patch is {_MOST_OPERATIONS}, got {len(operations)}"
        raise StatusError(413, "RequestEntityTooLarge", why)
    document, copied = copy.deepcopy(target), 0
    for operation in operations:
        try:
            step = jsonpatch.JsonPatch([operation])
        except _UNREADABLE as error:
            raise bad_request(f"json patch: {error}") from error
        try:
            if operation["op"] == "copy":
                # Each may double what is there.
                copied += len(dump(jsonpatch.JsonPointer(operation["from"]).resolve(document)))
                if copied > _MOST_COPIED:
                    raise StatusError(422, "Invalid", f"json patch: its copies make more than {_MOST_COPIED} bytes")
            document = step.apply(document, in_place=True)
        except _UNREADABLE as error:
            # The library's words quote the document, which may be a Secret.
            why = f"json patch: the operation {operation['op']!r} does not apply to {operation['path']!r}"
            text = f"the server rejected our request due to an error in our request: {why}"
            raise StatusError(422, "Invalid", text) from error
    return document


# -- strategic merge patch

_DELETE_FROM, _ORDER, _RETAIN = "$deleteFromPrimitiveList/", "$setElementOrder/", "$retainKeys"


def strategic_merge(target: Any, patch: Any, type_: Type) -> Any:
    """Apply a merge patch, but merge lists of a known kind by their key. Raises StatusError 400 on bad directives."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    if patch.get("$patch") == "replace":
        return {name: copy.deepcopy(value) for name, value in patch.items() if name != "$patch"}
    if patch.get("$patch") == "delete":
        return {}
    merged = dict(target) if isinstance(target, dict) else {}
    if _RETAIN in patch:
        merged = {name: value for name, value in merged.items() if name in patch[_RETAIN]}
    for name, value in patch.items():
        if name.startswith(_DELETE_FROM):
            field = name.removeprefix(_DELETE_FROM)
            merged[field] = [item for item in merged.get(field) or () if item not in value]
    for name, value in patch.items():
        if name.startswith("$"):
            continue
        inner = type_.field(name)
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, list):
            merged[name] = _merge_lists(merged.get(name) or [], value, inner, name)
        else:
            merged[name] = strategic_merge(merged.get(name), value, inner)
    for name, value in patch.items():
        if name.startswith(_ORDER):
            field = name.removeprefix(_ORDER)
            if merged.get(field):
                merged[field] = _ordered(merged[field], value, type_.field(field).patch_key)
    return merged


def _merge_lists(target: list[Any], patch: list[Any], type_: Type, name: str) -> list[Any]:
    if "merge" not in type_.patch_strategies:
        return [item for item in copy.deepcopy(patch) if not (isinstance(item, dict) and "$patch" in item)]
    key = type_.patch_key
    if key is None:
        return [*target, *(item for item in patch if item not in target)]
    if any(isinstance(item, dict) and item.get("$patch") == "replace" for item in patch):
        return [item for item in copy.deepcopy(patch) if item.get("$patch") != "replace"]
    merged = list(target)
    for item in patch:
        if not isinstance(item, dict) or key not in item:
            raise bad_request(f"map: {item} does not contain declared merge key: {key} (in {name})")
        places = [at for at, each in enumerate(merged) if each.get(key) == item[key]]
        if item.get("$patch") == "delete":
            merged = [each for at, each in enumerate(merged) if at not in places]
        elif places:
            merged[places[0]] = strategic_merge(merged[places[0]], item, type_.item())
        else:
            merged.append(strategic_merge({}, item, type_.item()))
    return merged


def _ordered(items: list[Any], order: list[Any], key: str | None) -> list[Any]:
    """Items in the wanted order; those that the order doesn't name stay behind the one that they followed."""

    def identity(item: Any) -> Any:
        return item.get(key) if key and isinstance(item, dict) else item

    identities = [identity(each) for each in order]
    listed = sorted(
        (each for each in items if identity(each) in identities), key=lambda each: identities.index(identity(each))
    )
    pending = iter(listed)
    return [next(pending) if identity(item) in identities else item for item in items]

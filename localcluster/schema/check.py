"""Does a JSON document fit its kind's type? Unknown fields are dropped and reported, as a real API server does.

https://kubernetes.io/docs/reference/using-api/api-concepts/#validation-for-unrecognized-or-duplicate-fields
"""

from __future__ import annotations

import re
from typing import Any

from localcluster.crd import structural
from localcluster.errors import StatusError, bad_request
from localcluster.resources import Resource
from localcluster.schema.types import INT_OR_STRING, MICRO_TIME, Type, type_of, type_of_resource

_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_MICRO = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)$", re.ASCII)
_NAMES = {
    "object": "map",
    "array": "slice",
    "string": "string",
    "integer": "int32",
    "number": "float",
    "boolean": "bool",
}


def _json_type(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    for type_, name in ((str, "string"), (list, "array"), (dict, "object")):
        if isinstance(value, type_):
            return name
    return "null"


#: What Go's types hold. A number beyond them is refused, though Python could hold it.
_RANGES = {"int32": 2**31, INT_OR_STRING: 2**31, "int64": 2**63}


def _in_range(value: Any, type_: Type) -> bool:
    bound = _RANGES.get((type_.node or {}).get("format", ""))
    return bound is None or not isinstance(value, int) or -bound <= value < bound


def _fits(value: Any, types: frozenset[str]) -> bool:
    actual = _json_type(value)
    if not types or actual in types or actual == "null":
        return True
    return actual == "integer" and "number" in types


def prune(obj: dict[str, Any], row: Resource) -> list[str]:
    """Drop the fields that the kind doesn't have, in place; gives their paths.

    Raises StatusError 400 on wrong types. (Those of custom kinds are said later, as a real API server does, but for
    their metadata.)
    """
    unknown: list[str] = []
    if row.custom:
        _walk(obj.get("metadata"), type_of(_META), "metadata", unknown, row)
        return [*unknown, *structural.prune(obj, row.custom.schema)]
    _walk(obj, type_of_resource(row), "", unknown, row)
    return unknown


def fit(body: Any, definition: str) -> dict[str, Any]:
    """A body that is not stored (a review, options) as an object of its kind. Raises StatusError 400.

    It need not say its kind; one that says another is something else, sent to the wrong place.
    """
    version, kind = definition.split(".")[-2:]
    if not isinstance(body, dict):
        raise bad_request(f"the body must be a {kind}")
    if body.get("kind") not in (None, "", kind):
        raise bad_request(f"the kind in the data ({str(body['kind'])[:80]}) does not match the expected kind ({kind})")
    _walk(body, type_of(definition), "", [], Resource("", kind, version=version))
    return body


def _wrong(value: Any, type_: Type, path: str, row: Resource) -> StatusError:
    expected = " or ".join(sorted(_NAMES[each] for each in type_.json_types))
    actual = {"integer": "number"}.get(_json_type(value), _json_type(value))
    if not _in_range(value, type_):
        actual, expected = f"number {str(value)[:40]}", (type_.node or {})["format"]
    # Of an IntOrString, which reads itself, Go says no place.
    place = "value" if expected == INT_OR_STRING else f"struct field {row.kind}.{path}"
    return bad_request(
        f'{row.kind} in version "{row.version}" cannot be handled as a {row.kind}: json: cannot unmarshal {actual} '
        f"into Go {place} of type {'int32' if expected == INT_OR_STRING else expected}"
    )


def _wrong_time(value: str, row: Resource) -> StatusError:
    """`metav1.MicroTime` reads six digits of a second, no fewer, also where they are zero."""
    return bad_request(
        f'{row.kind} in version "{row.version}" cannot be handled as a {row.kind}: parsing time "{value}" as '
        '"2006-01-02T15:04:05.000000Z07:00": cannot parse it'
    )


def _walk(value: Any, type_: Type, path: str, unknown: list[str], row: Resource) -> None:
    if not _fits(value, type_.json_types) or not _in_range(value, type_):
        raise _wrong(value, type_, path, row)
    if isinstance(value, dict) and type_.node is not None:
        for name in list(value):
            inner = f"{path}.{name}" if path else name
            if type_.is_closed and name not in type_.fields:
                unknown.append(inner)
                del value[name]
            else:
                _walk(value[name], type_.field(name), inner, unknown, row)
    elif isinstance(value, str) and (type_.node or {}).get("format") == MICRO_TIME and not _MICRO.match(value):
        raise _wrong_time(value, row)
    elif isinstance(value, list):
        item_type = type_.item()
        for position, item in enumerate(value):
            _walk(item, item_type, f"{path}[{position}]", unknown, row)

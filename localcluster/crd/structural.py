"""Structural schemas: what of a custom object is kept, filled in and refused. Pure.

Rules in CEL (``x-kubernetes-validations``) and ``format`` are not evaluated.
https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

Obj = dict[str, Any]
Cause = tuple[str, str, str]

_PRESERVE, _EMBEDDED = "x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"
_INT_OR_STRING = "x-kubernetes-int-or-string"
_OF_OBJECTS = frozenset({"apiVersion", "kind", "metadata"})


def _is_reference(schema: Any) -> bool:
    """Object metadata is looked after elsewhere."""
    return not isinstance(schema, dict) or "$ref" in schema


def prune(value: Any, schema: Any, path: str = "") -> list[str]:
    """Drop the fields that the schema doesn't know, in place; gives their paths."""
    if _is_reference(schema):
        return []
    dropped: list[str] = []
    if isinstance(value, dict):
        known, more = schema.get("properties") or {}, schema.get("additionalProperties")
        for name in list(value):
            inner = f"{path}.{name}" if path else name
            if name in known:
                dropped += prune(value[name], known[name], inner)
            elif isinstance(more, dict):
                dropped += prune(value[name], more, inner)
            elif not (more or schema.get(_PRESERVE) or (schema.get(_EMBEDDED) and name in _OF_OBJECTS)):
                dropped.append(inner)
                del value[name]
    elif isinstance(value, list):
        for position, item in enumerate(value):
            dropped += prune(item, schema.get("items"), f"{path}[{position}]")
    return dropped


def fill_defaults(value: Any, schema: Any) -> None:
    """Set the ``default`` of fields that are missing, in place.

    https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#defaulting
    """
    if _is_reference(schema):
        return
    if isinstance(value, dict):
        known, more = schema.get("properties") or {}, schema.get("additionalProperties")
        for name, inner in known.items():
            if not isinstance(inner, dict):
                continue
            null = name in value and value[name] is None and not inner.get("nullable")
            if "default" in inner and (name not in value or null):
                value[name] = copy.deepcopy(inner["default"])
        for name in value:
            fill_defaults(value[name], known.get(name, more))
    elif isinstance(value, list):
        for item in value:
            fill_defaults(item, schema.get("items"))


def _type_name(value: Any) -> str:
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return "number"  # Go reads it as a float
    for type_, name in ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string"), (list, "array")):
        if isinstance(value, type_):
            return name
    return "null" if value is None else "object"


def _has_type(value: Any, schema: Obj) -> bool:
    actual, expected = _type_name(value), schema.get("type")
    if actual == "null":
        return bool(schema.get("nullable")) or not expected
    if schema.get(_INT_OR_STRING):
        return actual in ("integer", "string")
    return not expected or actual == expected or (actual == "integer" and expected == "number")


@lru_cache(maxsize=512)
def _pattern(text: str) -> re.Pattern[str] | None:
    try:
        return re.compile(text)
    except re.error:
        return None  # RE2 knows what Python doesn't; what can't be read is not checked


def _shown(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _invalid(path: str, value: Any, why: str) -> Cause:
    return (path, "FieldValueInvalid", f"Invalid value: {_shown(value)}: {path} in body {why}")


def problems(value: Any, schema: Any, path: str = "") -> Iterator[Cause]:
    """Why a value doesn't fit, in the words of a real API server."""
    if _is_reference(schema):
        return
    if not _has_type(value, schema):
        expected, actual = schema.get("type") or "integer or string", _type_name(value)
        why = f'{path} in body must be of type {expected}: "{actual}"'
        yield (path, "FieldValueTypeInvalid", f'Invalid value: "{actual}": {why}')
        return
    if value is None:
        return
    if (enum := schema.get("enum")) and value not in enum:
        words = ", ".join(_shown(each) for each in enum)
        yield (path, "FieldValueNotSupported", f"Unsupported value: {_shown(value)}: supported values: {words}")
    yield from _limits(value, schema, path)
    yield from _choices(value, schema, path)
    if isinstance(value, dict):
        yield from _of_object(value, schema, path)
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from problems(item, schema.get("items"), f"{path}[{position}]")


def _of_object(value: Obj, schema: Obj, path: str) -> Iterator[Cause]:
    if len(value) < schema.get("minProperties", 0):
        yield _invalid(path, len(value), f"should have at least {schema['minProperties']} properties")
    if len(value) > schema.get("maxProperties", len(value)):
        most = schema["maxProperties"]
        yield (path, "FieldValueTooMany", f"Too many: {len(value)}: must have at most {most} items")
    known, more = schema.get("properties") or {}, schema.get("additionalProperties")
    for name in schema.get("required") or ():
        if name not in value:
            yield (f"{path}.{name}" if path else name, "FieldValueRequired", "Required value")
    for name, inner in value.items():
        yield from problems(inner, known.get(name, more), f"{path}.{name}" if path else name)


def _limits(value: Any, schema: Obj, path: str) -> Iterator[Cause]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        least, most = schema.get("minimum"), schema.get("maximum")
        if least is not None and value < least:
            yield _invalid(path, value, f"should be greater than or equal to {least}")
        if most is not None and value > most:
            yield _invalid(path, value, f"should be less than or equal to {most}")
    elif isinstance(value, str):
        pattern = _pattern(schema["pattern"]) if schema.get("pattern") else None
        if pattern and not pattern.search(value):
            yield _invalid(path, value, f"should match '{schema['pattern']}'")
        if len(value) < schema.get("minLength", 0):
            yield _invalid(path, value, f"should be at least {schema['minLength']} chars long")
        if len(value) > schema.get("maxLength", len(value)):
            most = schema["maxLength"]
            yield (path, "FieldValueTooLong", f"Too long: may not be more than {most} bytes")
    elif isinstance(value, list):
        if len(value) < schema.get("minItems", 0):
            yield _invalid(path, len(value), f"should have at least {schema['minItems']} items")
        if len(value) > schema.get("maxItems", len(value)):
            most = schema["maxItems"]
            yield (path, "FieldValueTooMany", f"Too many: {len(value)}: must have at most {most} items")


def _choices(value: Any, schema: Obj, path: str) -> Iterator[Cause]:
    for part in schema.get("allOf") or ():
        yield from problems(value, part, path)
    for word, text in (("anyOf", "at least"), ("oneOf", "one and only")):
        options = schema.get(word)
        if not options or schema.get(_INT_OR_STRING):
            continue
        fitting = sum(not any(problems(value, option, path)) for option in options)
        if not fitting or (word == "oneOf" and fitting > 1):
            yield (path, "FieldValueInvalid", f'Invalid value: "": "{path}" must validate {text} one schema ({word})')
    if schema.get("not") and not any(problems(value, schema["not"], path)):
        yield (path, "FieldValueInvalid", f'Invalid value: "": "{path}" must not validate the schema (not)')

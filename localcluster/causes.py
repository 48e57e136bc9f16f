"""Causes of a 422, in the words of a real API server: (field, reason, message). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from kubevalues import quantities

Cause = tuple[str, str, str]


def required(field: str, why: str = "") -> Cause:
    """A field that must be there."""
    return (field, "FieldValueRequired", f"Required value{': ' + why if why else ''}")


def wrong(field: str, value: Any, why: str) -> Cause:
    """A value that doesn't do."""
    shown = f'"{value}"' if isinstance(value, str) else str(value)
    return (field, "FieldValueInvalid", f"Invalid value: {shown}: {why}")


def not_allowed(field: str, why: str) -> Cause:
    """A field that may not be set or changed."""
    return (field, "FieldValueForbidden", f"Forbidden: {why}")


def unsupported(field: str, value: Any, known: tuple[str, ...]) -> Cause:
    """A value that is none of the known words."""
    words = ", ".join(f'"{word}"' for word in known)
    return (field, "FieldValueNotSupported", f'Unsupported value: "{value}": supported values: {words}')


def duplicate(field: str, value: Any) -> Cause:
    """A value that is there already."""
    return (field, "FieldValueDuplicate", f'Duplicate value: "{value}"')


def quantity(value: Any, field: str) -> Iterator[Cause]:
    """Is it an amount that is not negative?"""
    try:
        number = quantities.parse(value)
    except ValueError:
        yield wrong(
            field, value, "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
        )
        return
    if number < 0:
        yield wrong(field, value, "must be greater than or equal to 0")


_PERCENT = re.compile(r"[0-9]{1,9}%")
_PERCENT_RULE = (
    "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for "
    "validation is '[0-9]+%')"
)


def share(value: Any, field: str, *, up_to_all: bool) -> Iterator[Cause]:
    """Is it a number of pods, or a percentage of them (`up_to_all`: of at most 100)?"""
    if isinstance(value, str) and not _PERCENT.fullmatch(value):
        yield wrong(field, value, _PERCENT_RULE)
    elif isinstance(value, str) and up_to_all and int(value[:-1]) > 100:
        yield wrong(field, value, "must not be greater than 100%")
    elif isinstance(value, int) and value < 0:
        yield wrong(field, value, "must be greater than or equal to 0")


def amounts(of_resources: dict[str, Any] | None, field: str) -> Iterator[Cause]:
    """The same of each amount in a list of resources."""
    for name, value in (of_resources or {}).items():
        yield from quantity(value, f"{field}[{name}]")

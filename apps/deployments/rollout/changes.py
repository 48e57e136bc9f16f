"""What one revision's spec changes of another's, field by field, for people. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Change:
    """A field that differs; "" where it is not there."""

    field: str
    before: str
    after: str


def changes_between(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> list[Change]:
    """The fields that differ, the model first; everything that is set, where nothing was before."""
    old, new = dict(_flat(before or {})), dict(_flat(after))
    fields = dict.fromkeys([*new, *old])
    found = [Change(field, old.get(field, ""), new.get(field, "")) for field in fields]
    return [change for change in found if change.before != change.after]


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, inner in value.items():
        place = f"{prefix}{name}"
        if place == "model":
            yield place, f"{inner['name']}:{inner['version']}" if inner else ""
        elif isinstance(inner, Mapping):
            yield from _flat(inner, f"{place}.")
        elif isinstance(inner, list | tuple):
            yield place, ", ".join(map(str, inner))
        else:
            yield place, "" if inner is None else str(inner)

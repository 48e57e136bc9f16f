"""What one revision's spec changes of another's, field by field, for people. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

LONG = 120


@dataclass(frozen=True)
class Change:
    """A field that differs, with its whole values; "" where it is not there."""

    field: str
    before: str
    after: str

    @property
    def is_long(self) -> bool:
        """Whether a value does not fit into a line."""
        return any(len(text) > LONG or "\n" in text for text in (self.before, self.after))


def changes_between(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> list[Change]:
    """The fields that differ, what runs first; everything that is set, where nothing was before."""
    old, new = dict(_flat(before or {})), dict(_flat(after))
    fields = dict.fromkeys([*new, *old])
    found = [Change(field, old.get(field, ""), new.get(field, "")) for field in fields]
    return sorted((change for change in found if change.before != change.after), key=_place)


# In this order; what is not named comes after. JSON that was stored has lost its own.
_ORDER = ("model", "image", "command", "args", "env", "secret_env", "resources")


def _place(change: Change) -> tuple[int, str]:
    part = change.field.partition(".")[0]
    return _ORDER.index(part) if part in _ORDER else len(_ORDER), change.field


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, inner in value.items():
        place = f"{prefix}{name}"
        if place == "model":
            yield place, f"{inner['name']}:{inner['version']}" if inner else ""
        elif isinstance(inner, Mapping):
            yield from _flat(inner, f"{place}.")
        elif isinstance(inner, list | tuple):
            yield place, _listed(inner)
        else:
            yield place, "" if inner is None else str(inner)


def _listed(values: list[Any] | tuple[Any, ...]) -> str:
    """A list in a line, or as YAML where a line would not tell its entries apart."""
    plain = all(isinstance(value, str) and value and not any(sign in value for sign in ",\n") for value in values)
    return ", ".join(values) if plain else str(yaml.dump(list(values), Dumper=_Lines, **_AS_IT_IS)).rstrip("\n")


_AS_IT_IS: dict[str, Any] = {"sort_keys": False, "allow_unicode": True, "width": 10_000}


class _Lines(yaml.SafeDumper):
    """YAML in which a text of several lines, a program say, stands in its lines."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Lines.add_representer(str, _text)

"""Small checks that all parts of a pipeline's file share, each naming the place. Pure."""

import re
from collections.abc import Collection, Mapping
from typing import Any

from apps.core.errors import Invalid

MAX_DEADLINE_SECONDS = 90 * 24 * 3600
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


def at(path: str, name: object) -> str:
    """The place of a field within another."""
    return f"{path}.{name}" if path else str(name)


def mapping(value: Any, path: str, known: Collection[str]) -> Mapping[str, Any]:
    """An object with known keys only. Raises Invalid."""
    if not isinstance(value, Mapping):
        raise Invalid(f"{path or 'A pipeline'} is an object.", field=path, hint=f"It has: {', '.join(known)}.")
    for key in value:
        if key not in known:
            raise Invalid(f"There is no {key!r} here.", field=at(path, key), hint=f"There is: {', '.join(known)}.")
    return value


def identifier(value: Any, path: str) -> str:
    """A name that expressions can say. Raises Invalid."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise Invalid(
            f"{value!r} can't be a name here.",
            field=path,
            hint="Use at most 40 lower-case letters, digits and '_', and begin with a letter.",
        )
    return value


def text(value: Any, path: str, *, most: int, needed: bool = False) -> str:
    """A text of at most so many letters. Raises Invalid."""
    if value is None and not needed:
        return ""
    if not isinstance(value, str) or len(value) > most or (needed and not value.strip()):
        raise Invalid(f"{path} is a text of {'1 to' if needed else 'at most'} {most} letters.", field=path)
    return value


def whole(value: Any, path: str, *, most: int) -> int | None:
    """A whole number from 1, or None where there is none. Raises Invalid."""
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise Invalid(f"{path} is a whole number from 1 to {most}.", field=path)
    return value

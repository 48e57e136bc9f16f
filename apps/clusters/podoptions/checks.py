"""Checks of single values from outside: each function returns the value with its type, or raises Invalid. Pure.

`field` is the path of the value, as in "tolerations[0].effect".
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from apps.core.errors import Invalid

QUOTES = 'In YAML, numbers and words such as true need quotes here: "true".'


def mapping(value: Any, field: str, known: Collection[str]) -> Mapping[str, Any]:
    """An object that has none but these keys."""
    if not isinstance(value, Mapping):
        raise Invalid(f"{field} is an object with {listed(known)}.", field=field)
    for key in value:
        if key not in known:
            raise Invalid(f"{field} has no {str(key)[:80]!r}.", field=field, hint=f"It may have {listed(known)}.")
    return value


def items(value: Any, field: str, most: int) -> Sequence[Any]:
    """A list that is not too long; nothing is an empty one."""
    if value is None:
        return ()
    if not isinstance(value, list | tuple):
        raise Invalid(f"{field} is a list.", field=field)
    if len(value) > most:
        raise Invalid(f"{field} has at most {most} items.", field=field)
    return value


def text(value: Any, field: str, fits: Callable[[str], bool], description: str) -> str:
    """A text that fits; `what` says in the error what it should be."""
    if not isinstance(value, str):
        raise Invalid(
            f"{field} is {description}.", field=field, hint=QUOTES if isinstance(value, bool | int | float) else ""
        )
    if not fits(value):
        raise Invalid(f"{value[:100]!r} can't be {field}, which is {description}.", field=field)
    return value


def choice(value: Any, field: str, choices: Sequence[str], default: str = "") -> str:
    """The value, which must be one of the words, or nothing for the default."""
    if value is None or value == "":
        return default
    if not isinstance(value, str) or value not in choices:
        raise Invalid(f"{field} is {listed(choices, 'or')}.", field=field)
    return value


def whole(value: Any, field: str, least: int, most: int) -> int:
    """A whole number within bounds."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise Invalid(f"{field} is a whole number from {least} to {most}.", field=field)
    return value


def flag(value: Any, field: str) -> bool:
    """True or false; nothing is false."""
    if value is not None and not isinstance(value, bool):
        raise Invalid(f"{field} is true or false.", field=field)
    return bool(value)


def is_key(key: str) -> bool:
    """Whether a Secret or ConfigMap can have it as the name of an entry."""
    return bool(re.fullmatch(r"[-._A-Za-z0-9]{1,253}", key)) and key not in (".", "..")


def listed(words: Collection[str], last: str = "and") -> str:
    """ "a, b and c"."""
    *head, tail = words
    return f"{', '.join(head)} {last} {tail}" if head else tail

"""Pages by keyset: each begins after the last row of the one before, told by the values that the rows are sorted by.

So the last page costs what the first does, and rows that come and go meanwhile repeat and drop none of the others.
Some orders are several queries, one after the other (`Part`): then each page says in which one it begins.
"""

import base64
import binascii
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import F, Q, QuerySet

from apps.core.errors import Invalid

Rows = QuerySet[Any, Any]
_INT64 = 2**63


@dataclass(frozen=True)
class Key:
    """A sort key: a column or an annotation of the query. All of its values are of one kind.

    `optional`: some rows have no value. They come last, in either direction.
    """

    name: str
    kind: type = str
    descending: bool = False
    optional: bool = False


@dataclass(frozen=True)
class Found:
    """Primary keys among which are all rows of a part that come next, up to where the first of its keys is `edge`.

    `whole`: all others, too, so that there is no edge.
    """

    pks: Sequence[Any]
    edge: Any = None
    whole: bool = False


Scout = Callable[[Any, bool, int], Iterator[Found]]
"""Looks ahead by other indexes than those of a part's own table, wider each time: (the value of the first key to begin
at, None for the first; whether it falls from there on; how many rows are wanted) → what was found."""


@dataclass(frozen=True)
class Part:
    """Rows in the order of the keys, which together must be unique; model instances or dicts of values."""

    rows: Rows
    keys: Sequence[Key]
    scout: Scout | None = None


@dataclass(frozen=True)
class Page:
    """Some rows of a list, and the tokens of the pages before and after: "" where there is none."""

    rows: list[Any] = field(default_factory=list)
    previous: str = ""
    next: str = ""


@dataclass(frozen=True)
class Cursor:
    """A place in a list: beside a row of one part, of which these are the values, going on or back from it."""

    part: int
    back: bool
    values: tuple[Any, ...]


def page(parts: Sequence[Part], size: int, token: str = "") -> Page:
    """The page of at most `size` rows that a token leads to, the first one for "".

    Raises Invalid for a token of another list.
    """
    cursor = _decoded(token, parts) if token else None
    back = cursor is not None and cursor.back
    numbered: list[tuple[int, Any]] = []
    for number in range(len(parts) - 1, -1, -1) if back else range(len(parts)):
        if cursor is not None and (number > cursor.part if back else number < cursor.part):
            continue
        after = cursor.values if cursor is not None and number == cursor.part else ()
        numbered += [(number, row) for row in _next(parts[number], after, size + 1 - len(numbered), back=back)]
        if len(numbered) > size:
            break
    more = len(numbered) > size
    numbered = numbered[size - 1 :: -1] if back and size else numbered[:size]
    if not numbered:
        return Page()
    goes_on, goes_back = (True, more) if back else (more, cursor is not None)
    first, last = numbered[0], numbered[-1]
    return Page(
        [row for _, row in numbered],
        previous=_token(parts, first, back=True) if goes_back else "",
        next=_token(parts, last, back=False) if goes_on else "",
    )


def _next(part: Part, after: Sequence[Any], wanted: int, *, back: bool) -> list[Any]:
    """The `wanted` rows of the part that come next, or as many as there are."""
    rows = part.rows.filter(_beyond(part.keys, after, back=back)) if after else part.rows
    rows = rows.order_by(*(_term(key, back=back) for key in part.keys))
    if part.scout is not None:
        lead = part.keys[0]
        for found in part.scout(after[0] if after else None, lead.descending != back, wanted):
            near = list(rows.filter(pk__in=found.pks)[:wanted])
            # Of those at the edge there may be others.
            full = len(near) == wanted and _value(near[-1], lead.name) != found.edge
            if full or found.whole:
                return near
    return list(rows[:wanted])


def _term(key: Key, *, back: bool) -> Any:
    column = F(key.name)
    falls = key.descending != back
    if not key.optional:
        return column.desc() if falls else column.asc()
    nulls = {"nulls_first": True} if back else {"nulls_last": True}
    return column.desc(**nulls) if falls else column.asc(**nulls)


def _beyond(keys: Sequence[Key], values: Sequence[Any], *, back: bool) -> Q:
    """The condition for the rows after the row of these values, or before it."""
    same, after = Q(), Q(pk__in=())
    for key, value in zip(keys, values, strict=True):
        further = _further(key, value, back=back)
        if further is not None:
            after |= same & further
        same &= Q(**{f"{key.name}__isnull": True}) if value is None else Q(**{key.name: value})
    first, value = keys[0], values[0]
    if first.optional:
        return after
    # Says nothing new, but lets Postgres begin at that place of an index.
    return after & Q(**{f"{first.name}__{'lte' if first.descending != back else 'gte'}": value})


def _further(key: Key, value: Any, *, back: bool) -> Q | None:
    if value is None:
        return Q(**{f"{key.name}__isnull": False}) if back else None
    further = Q(**{f"{key.name}__{'lt' if key.descending != back else 'gt'}": value})
    return further | Q(**{f"{key.name}__isnull": True}) if key.optional and not back else further


def _token(parts: Sequence[Part], at: tuple[int, Any], *, back: bool) -> str:
    number, row = at
    values = [_plain(_value(row, key.name)) for key in parts[number].keys]
    text = json.dumps([number, int(back), *values], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _value(row: Any, name: str) -> Any:
    return row[name] if isinstance(row, dict) else getattr(row, name)


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def is_token(text: str) -> bool:
    """Whether a text can be a token of any list: not whether it is one of a certain list."""
    try:
        return isinstance(json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))), list)
    except (ValueError, RecursionError, binascii.Error):
        return False


def _decoded(token: str, parts: Sequence[Part]) -> Cursor:
    try:
        number, back, *values = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        keys = parts[number].keys if type(number) is int and number >= 0 else ()
        return Cursor(number, bool(back), tuple(_read(key, value) for key, value in zip(keys, values, strict=True)))
    except (ValueError, TypeError, IndexError, OverflowError, RecursionError, binascii.Error) as error:
        raise Invalid("Invalid page token: pass on what the last page said.", field="page_token") from error


def _read(key: Key, value: Any) -> Any:
    """A value of a token, checked: anybody may make one up. Raises ValueError."""
    if value is None and key.optional:
        return None
    return _READ[key.kind](value)


def _text(value: Any) -> str:
    if not isinstance(value, str) or "\x00" in value:
        raise ValueError(value)
    value.encode()
    return value


def _whole(value: Any) -> int:
    if type(value) is not int or not -_INT64 <= value < _INT64:
        raise ValueError(value)
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(value)
    return float(value)


def _moment(value: Any) -> datetime:
    moment = datetime.fromisoformat(_text(value))
    if moment.tzinfo is None:
        raise ValueError(value)
    return moment


_READ: dict[type, Callable[[Any], Any]] = {str: _text, int: _whole, float: _number, datetime: _moment}

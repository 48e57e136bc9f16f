"""Freeze windows: times in which nothing new is brought to a target. Pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from apps.core.errors import Invalid
from apps.deployments.rollout.windows import FIELDS, WAYS, Window, parse_window
from apps.deployments.specs import an_object, refuse_unknown

MAX_FREEZES = 20
# Windows that follow each other at once are one: so many are looked through.
_MOST_IN_A_ROW = 50


def frozen_until(freezes: Sequence[Window], now: datetime) -> datetime | None:
    """When the windows that `now` is in are over, with those that follow at once; None where it is in none."""
    until = now
    for _ in range(_MOST_IN_A_ROW):
        ends = [end for freeze in freezes if (end := freeze.end_at(until)) is not None]
        if not ends:
            break
        until = max(ends)
    return None if until == now else until


def parse_freezes(value: Any, place: str) -> tuple[Window, ...]:
    """The windows out of what a person or a program wrote. Raises Invalid naming the field below `place`."""
    if not isinstance(value, list | tuple):
        raise Invalid(f"{place} is a list of windows.", field=place, hint=WAYS)
    if len(value) > MAX_FREEZES:
        raise Invalid(f"{place} has {len(value)} windows: {MAX_FREEZES} at most.", field=place)
    return tuple(_freeze(item, f"{place}[{number}]") for number, item in enumerate(value))


def _freeze(item: Any, place: str) -> Window:
    value = an_object(item, place)
    refuse_unknown(value, place, FIELDS)
    return parse_window(value, place)

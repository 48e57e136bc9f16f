"""Freeze windows: times in which nothing new is brought to a target, in the time zone of the people who wrote them.
Pure.

A window is said by where it begins and ends, in three ways: `fri 18:00` to `mon 08:00` comes each week, `18:00` to
`08:00` each day, and `2026-12-20 00:00` to `2027-01-04 08:00` once.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from apps.core.errors import Invalid
from apps.deployments.specs import an_object

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MAX_FREEZES = 20
MAX_NAME = 60
_WHEN = re.compile(r"(?:(?P<date>\d{4}-\d{2}-\d{2})[ t]|(?P<day>[a-z]{3}) )?(?P<time>\d{1,2}:\d{2})")
_WAYS = 'Write "fri 18:00" for each week, "18:00" for each day, or "2026-12-20 00:00" for once.'
# Windows that follow each other at once are one: so many are looked through.
_MOST_IN_A_ROW = 50


@dataclass(frozen=True)
class Freeze:
    """One window, as it was written: `begins` and `ends` in the same of the three ways."""

    begins: str
    ends: str
    time_zone: str = "UTC"
    name: str = ""

    def to_json(self) -> dict[str, str]:
        """The form that is stored and shown."""
        said = {"name": self.name} if self.name else {}
        return said | {"from": self.begins, "until": self.ends, "time_zone": self.time_zone}

    def end_at(self, now: datetime) -> datetime | None:
        """When the window that `now` is in ends; None where it is in none."""
        zone = ZoneInfo(self.time_zone)
        here = now.astimezone(zone).replace(tzinfo=None)
        begin, end = _read(self.begins), _read(self.ends)
        for start in begin.before(here):
            until = end.after(start).replace(tzinfo=zone)
            if start.replace(tzinfo=zone) <= now < until:
                return until
        return None


@dataclass(frozen=True)
class _When:
    """A time of day: of one date, of a day of each week, or of each day."""

    at: time
    once: datetime | None = None
    weekday: int | None = None

    @property
    def way(self) -> str:
        """Which of the three."""
        return "once" if self.once else "daily" if self.weekday is None else "weekly"

    def before(self, here: datetime) -> list[datetime]:
        """The last two times that it was, the later one first: around a change of the clock either may be the one."""
        if self.once:
            return [self.once]
        back = 0 if self.weekday is None else (here.weekday() - self.weekday) % 7
        period = timedelta(days=1 if self.weekday is None else 7)
        last = datetime.combine(here.date(), self.at) - timedelta(days=back)
        return [last, last - period]

    def after(self, start: datetime) -> datetime:
        """The first time that it is after this one."""
        if self.once:
            return self.once
        ahead = 0 if self.weekday is None else (self.weekday - start.weekday()) % 7
        first = datetime.combine(start.date(), self.at) + timedelta(days=ahead)
        return first if first > start else first + timedelta(days=1 if self.weekday is None else 7)


def frozen_until(freezes: Sequence[Freeze], now: datetime) -> datetime | None:
    """When the windows that `now` is in are over, with those that follow at once; None where it is in none."""
    until = now
    for _ in range(_MOST_IN_A_ROW):
        ends = [end for freeze in freezes if (end := freeze.end_at(until)) is not None]
        if not ends:
            break
        until = max(ends)
    return None if until == now else until


def parse_freezes(value: Any, place: str) -> tuple[Freeze, ...]:
    """The windows out of what a person or a program wrote. Raises Invalid naming the field below `place`."""
    if not isinstance(value, list | tuple):
        raise Invalid(f"{place} is a list of windows.", field=place, hint=_WAYS)
    if len(value) > MAX_FREEZES:
        raise Invalid(f"{place} has {len(value)} windows: {MAX_FREEZES} at most.", field=place)
    return tuple(
        _freeze(an_object(item, f"{place}[{number}]"), f"{place}[{number}]") for number, item in enumerate(value)
    )


def _freeze(value: Mapping[str, Any], place: str) -> Freeze:
    unknown = sorted(str(key) for key in value if key not in ("name", "from", "until", "time_zone"))
    if unknown:
        field = f"{place}.{unknown[0]}"
        hint = "Known: name, from, until, time_zone."
        raise Invalid(f"{field} is nothing that Flotilla knows.", field=field, hint=hint)
    begins, ends = (_when(value.get(word), f"{place}.{word}") for word in ("from", "until"))
    begin, end = _read(begins), _read(ends)
    if begin.way != end.way:
        raise Invalid(f"{place} begins {begin.way} and ends {end.way}.", field=f"{place}.until", hint=_WAYS)
    if begins == ends or (begin.once and end.once and end.once <= begin.once):
        raise Invalid(f"{place} ends before it has begun.", field=f"{place}.until")
    zone = value.get("time_zone") or "UTC"
    if not isinstance(zone, str) or not _is_zone(zone):
        field = f"{place}.time_zone"
        raise Invalid(f"{zone!r} is no time zone.", field=field, hint='Such as "Europe/Berlin" or "UTC".')
    name = value.get("name") or ""
    if not isinstance(name, str) or len(name) > MAX_NAME:
        raise Invalid(f"{place}.name is a text of {MAX_NAME} characters at most.", field=f"{place}.name")
    return Freeze(begins, ends, zone, name)


def _when(value: Any, place: str) -> str:
    """The text in its one form. Raises Invalid."""
    text = " ".join(value.lower().split()) if isinstance(value, str) else ""
    found = _WHEN.fullmatch(text)
    if found and found["date"]:
        text = f"{found['date']} {found['time']}"
    try:
        if found is None or (found["day"] and found["day"] not in DAYS):
            raise ValueError
        _read(text)
    except ValueError as error:
        raise Invalid(f"{place}: {value!r} is no time.", field=place, hint=_WAYS) from error
    return text


def _read(text: str) -> _When:
    """The text of a window's end. Raises ValueError for a date or a time that there is not."""
    *before, clock = text.split()
    hour, minute = clock.split(":")
    at = time(int(hour), int(minute))
    if not before:
        return _When(at)
    if before[0] in DAYS:
        return _When(at, weekday=DAYS.index(before[0]))
    return _When(at, once=datetime.combine(datetime.fromisoformat(before[0]).date(), at))


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        return False
    return True

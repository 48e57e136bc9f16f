"""Windows of time, in the time zone of the people who wrote them. Pure.

A window is said by where it begins and ends, in three ways: `fri 18:00` to `mon 08:00` comes each week, `18:00` to
`08:00` each day, and `2026-12-20 00:00` to `2027-01-04 08:00` once.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from apps.core.errors import Invalid

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MAX_NAME = 60
FIRST_YEAR, LAST_YEAR = 1970, 2999
WAYS = 'Write "fri 18:00" for each week, "18:00" for each day, or "2026-12-20 00:00" for once.'
FIELDS = ("name", "from", "until", "time_zone")
# Files that lie beside those of the time zones.
_NO_ZONES = frozenset({"localtime", "posixrules", "Factory"})
_WHEN = re.compile(r"(?:(?P<date>\d{4}-\d{2}-\d{2})[ t]|(?P<day>[a-z]{3}) )?(?P<time>\d{1,2}:\d{2})")


@dataclass(frozen=True)
class Window:
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
        # Two times in one zone are compared by the clock on the wall, which shows some times twice a year.
        now = now.astimezone(UTC)
        here = now.astimezone(zone).replace(tzinfo=None)
        begin, end = _read(self.begins), _read(self.ends)
        for start in begin.before(here):
            until = end.after(start).replace(tzinfo=zone)
            if start.replace(tzinfo=zone) <= now < until:
                return until
        return None

    def next_begin(self, now: datetime) -> datetime | None:
        """When it begins the next time after `now`; None where it never does again."""
        zone, now = ZoneInfo(self.time_zone), now.astimezone(UTC)
        starts = [start.replace(tzinfo=zone) for start in _read(self.begins).around(now.astimezone(zone))]
        return min((start for start in starts if start > now), default=None, key=lambda start: start.astimezone(UTC))


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

    def around(self, here: datetime) -> list[datetime]:
        """The last two times that it was and the next two, of which a change of the clock may take one away."""
        past = self.before(here.replace(tzinfo=None))
        return past if self.once else [*past, (soon := self.after(past[0])), self.after(soon)]

    def after(self, start: datetime) -> datetime:
        """The first time that it is after this one."""
        if self.once:
            return self.once
        ahead = 0 if self.weekday is None else (self.weekday - start.weekday()) % 7
        first = datetime.combine(start.date(), self.at) + timedelta(days=ahead)
        return first if first > start else first + timedelta(days=1 if self.weekday is None else 7)


def until_text(until: datetime) -> str:
    """ "Mon 30 Nov 2026, 08:00 (Europe/Berlin)": in the time zone of the window."""
    # A time that the clocks skip is shown as they show it.
    shown = until.astimezone(UTC).astimezone(until.tzinfo)
    return f"{shown:%a %d %b %Y, %H:%M} ({until.tzinfo})"


def parse_window(value: Mapping[str, Any], place: str) -> Window:
    """The window out of what a person or a program wrote, whatever else stands beside it. Raises Invalid naming the
    field below `place`."""
    begins, ends = (_when(value.get(word), f"{place}.{word}") for word in ("from", "until"))
    begin, end = _read(begins), _read(ends)
    if begin.way != end.way:
        raise Invalid(f"{place} begins {begin.way} and ends {end.way}.", field=f"{place}.until", hint=WAYS)
    if begins == ends or (begin.once and end.once and end.once <= begin.once):
        raise Invalid(f"{place} ends before it has begun.", field=f"{place}.until")
    zone = check_zone(value.get("time_zone"), f"{place}.time_zone")
    name = value["name"] if value.get("name") is not None else ""
    if not isinstance(name, str) or len(name) > MAX_NAME:
        raise Invalid(f"{place}.name is a text of {MAX_NAME} characters at most.", field=f"{place}.name")
    return Window(begins, ends, zone, name)


def check_zone(value: Any, field: str) -> str:
    """The name of a time zone; nothing is UTC. Raises Invalid naming the field."""
    zone = "UTC" if value is None else value
    if not isinstance(zone, str) or not is_zone(zone):
        raise Invalid(f"{zone!r} is no time zone.", field=field, hint='Such as "Europe/Berlin" or "UTC".')
    return zone


def _when(value: Any, place: str) -> str:
    """The text in its one form. Raises Invalid."""
    text = " ".join(value.lower().split()) if isinstance(value, str) else ""
    found = _WHEN.fullmatch(text)
    if found and found["date"]:
        text = f"{found['date']} {found['time']}"
    try:
        if found is None or (found["day"] and found["day"] not in DAYS):
            raise ValueError
        once = _read(text).once
        # At the ends of the calendar there is no time that is the same elsewhere.
        if once and not FIRST_YEAR <= once.year <= LAST_YEAR:
            raise ValueError
    except ValueError as error:
        raise Invalid(f"{place}: {value!r} is no time.", field=place, hint=WAYS) from error
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


def is_zone(name: str) -> bool:
    """Whether it names a time zone, the same for every process."""
    # `localtime` is a link of this machine's: it would be another zone in each process.
    if name in _NO_ZONES:
        return False
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        return False
    return True

"""When a schedule is due: cron in a time zone, as Debian has it also where clocks are changed. Pure."""

import enum
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from apps.core.errors import Invalid
from apps.deployments.rollout.windows import is_zone

MAX_CRON = 100
SHORT = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}


class Overlap(enum.StrEnum):
    """What happens when it is due while its former run is still under way."""

    ALLOW = "allow"
    FORBID = "forbid"
    """The new one is left out."""
    REPLACE = "replace"
    """The former one is canceled."""


class Missed(enum.StrEnum):
    """What happens when nobody was there when it was due."""

    SKIP = "skip"
    """It waits for the next time."""
    ONCE = "once"
    """It starts now, once, however many times were missed."""


@dataclass(frozen=True)
class Timetable:
    """`cron` has five fields, `time_zone` is a name of the IANA's."""

    cron: str
    time_zone: str = "UTC"
    overlap: Overlap = Overlap.FORBID
    missed: Missed = Missed.ONCE

    def after(self, moment: datetime) -> datetime | None:
        """The first time later than that, in UTC; None where there is none within fifty years."""
        return next(self._times(moment), None)

    def upcoming(self, moment: datetime, count: int = 5) -> list[datetime]:
        """The next times after that, in the schedule's own zone."""
        return [each.astimezone(ZoneInfo(self.time_zone)) for each in islice(self._times(moment), count)]

    @property
    def words(self) -> str:
        """The same in English: "At 03:00 every day"."""
        return CronSim(_fields(self.cron), datetime(2000, 1, 1, tzinfo=UTC)).explain()

    def _times(self, moment: datetime) -> Iterator[datetime]:
        for each in CronSim(_fields(self.cron), moment.astimezone(ZoneInfo(self.time_zone))):
            yield each.astimezone(UTC)


def parse_timetable(cron: str, time_zone: str, overlap: str, missed: str) -> Timetable:
    """Check what a person asked for. Raises Invalid naming the field."""
    if not is_zone(time_zone):
        raise Invalid(f"There is no time zone {time_zone[:60]!r}.", field="time_zone", hint="Such as Europe/Berlin.")
    if overlap not in tuple(Overlap):
        raise Invalid(f"overlap is one of: {', '.join(Overlap)}.", field="overlap")
    if missed not in tuple(Missed):
        raise Invalid(f"missed is one of: {', '.join(Missed)}.", field="missed")
    _check(cron)
    return Timetable(cron.strip(), time_zone, Overlap(overlap), Missed(missed))


@functools.lru_cache(maxsize=1024)
def _check(cron: str) -> None:
    hint = 'Minute, hour, day, month, weekday: "30 3 * * 1-5" is 03:30 from Monday to Friday; or @daily.'
    fields = _fields(cron)
    if len(cron) > MAX_CRON or len(fields.split()) != 5 or not fields.isascii():
        raise Invalid("cron has five fields.", field="cron", hint=hint)
    try:
        CronSim(fields, datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        raise Invalid(f"{cron!r} is no cron expression: {error}.", field="cron", hint=hint) from error


def _fields(cron: str) -> str:
    return SHORT.get(cron.strip(), " ".join(cron.split()))

"""What a schedule does now: one pure function of its timetable, the time it was due, the time that it is, and of what
still runs of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from apps.workflows.specs.timetables import Missed, Overlap, Timetable

LATE = timedelta(minutes=5)
"""So much later than due is missed: nobody was there."""


@dataclass(frozen=True)
class Tick:
    """Whether a run is started, which runs (by number) are canceled for it, when the next time is, and what to say of
    this one."""

    next_at: datetime | None
    start: bool = False
    cancel: tuple[int, ...] = ()
    said: str = ""


def tick(timetable: Timetable, due_at: datetime | None, now: datetime, under_way: Sequence[int]) -> Tick:
    """`due_at` is None for a schedule that has had no time yet: its first one is after now."""
    if due_at is None:
        return Tick(timetable.after(now))
    if due_at > now:
        return Tick(due_at)
    following = timetable.after(now)
    if now - due_at > LATE and timetable.missed is Missed.SKIP:
        return Tick(following, said=f"Missed {_minute(due_at)}: Flotilla was away.")
    open_ones = " and ".join(f"#{number}" for number in under_way)
    if not under_way or timetable.overlap is Overlap.ALLOW:
        return Tick(following, start=True)
    if timetable.overlap is Overlap.FORBID:
        return Tick(following, said=f"Left out {_minute(due_at)}: {open_ones} was still under way.")
    return Tick(following, start=True, cancel=tuple(under_way), said=f"Replaced {open_ones}.")


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"

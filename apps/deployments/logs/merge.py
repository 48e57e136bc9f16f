"""The logs of several replicas as one, by time; and how far of each was read. Pure."""

import heapq
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from apps.clusters.logs import comparable

# What an address may hold of marks.
MOST_MARKS = 100
_MARK = re.compile(r"(\d{1,18})~(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z)~(\d{1,8})\Z")


@dataclass(frozen=True)
class Mark:
    """The last line that was read of a replica: its time, and how many lines of that very time were."""

    time: str
    seen: int


@dataclass(frozen=True)
class Voice:
    """A replica in the log of all: its colour, a number from 1 on, and its name, which has no blanks."""

    colour: int
    label: str


@dataclass(frozen=True)
class Told:
    """Lines of one replica, each its time, a blank and its text."""

    voice: Voice
    lines: Sequence[str] = field(default_factory=list)


def parse_marks(text: str) -> dict[int, Mark]:
    """Marks by replica out of an address; what makes no sense is left out."""
    parts = (_MARK.match(part) for part in text.split(",")[:MOST_MARKS])
    return {int(found[1]): Mark(found[2], int(found[3])) for found in parts if found}


def marks_text(marks: Mapping[int, Mark]) -> str:
    """The text that `parse_marks` reads."""
    return ",".join(f"{pk}~{mark.time}~{mark.seen}" for pk, mark in sorted(marks.items()))


def marked(lines: Sequence[str], before: Mark | None) -> Mark | None:
    """The mark after these lines, which came after `before`."""
    times = [time for line in lines if comparable(time := line.partition(" ")[0])]
    if not times:
        return before
    last = times[-1]
    again = before.seen if before is not None and comparable(before.time) == comparable(last) else 0
    return Mark(last, again + sum(comparable(time) == comparable(last) for time in times))


def merged(told: Iterable[Told]) -> list[str]:
    """All lines by time, each "time colour label text", where times are written so that they sort as texts.

    Of equal times those of one replica stay together; a line without a time goes with the one before it.
    """
    return [line for _, line in heapq.merge(*map(_keyed, told), key=lambda pair: pair[0])]


def _keyed(told: Told) -> list[tuple[str, str]]:
    rows, key = [], ""
    for line in told.lines:
        head, _, rest = line.partition(" ")
        known = comparable(head)
        # A clock that was set back does not tear a replica's lines apart.
        key = max(key, known)
        text = rest if known else line
        rows.append((key, f"{key or '1970-01-01T00:00:00'}Z {told.voice.colour} {told.voice.label} {text}"))
    return rows

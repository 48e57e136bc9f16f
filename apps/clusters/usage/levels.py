"""The levels that usage is kept at: how fine, how long, and in how large partitions. Pure.

Every level but the first is made from the one before it. All windows are aligned to 1970-01-01 UTC, so that hours and
days are hours and days of UTC.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import pairwise

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# A sample is stamped when its transaction begins: a window is closed this long after its end.
GRACE = timedelta(seconds=30)


class Kind(StrEnum):
    """The subject of a series of samples. A workload is the pods of a run or a deployment on one sort of nodes."""

    CLUSTER = "cluster"
    NODE = "node"
    NAMESPACE = "namespace"
    WORKLOAD = "workload"
    POD = "pod"


@dataclass(frozen=True)
class Level:
    """One level: `step` between its rows, how long they are `kept`, the `span` of a partition.

    `kinds` are the kinds of series that it holds; empty means all of them.
    """

    table: str
    step: timedelta
    kept: timedelta
    span: timedelta
    kinds: tuple[Kind, ...] = ()


RAW = Level("clusters_usage15s", timedelta(seconds=15), timedelta(hours=2), timedelta(minutes=30))
MINUTE = Level("clusters_usage1m", timedelta(minutes=1), timedelta(hours=48), timedelta(hours=6))
TEN = Level("clusters_usage10m", timedelta(minutes=10), timedelta(days=90), timedelta(days=7))
# Consumption over weeks adds these up, so only what is paid for goes so far. The cluster's own row is there at every
# sample, so that even an empty cluster's history says how far it was rolled up. Pods come and go within days.
_PAID = (Kind.WORKLOAD, Kind.NAMESPACE, Kind.CLUSTER)
HOUR = Level("clusters_usage1h", timedelta(hours=1), timedelta(days=90), timedelta(days=28), (*_PAID, Kind.NODE))
DAY = Level("clusters_usage1d", timedelta(days=1), timedelta(days=90), timedelta(days=28), _PAID)
LEVELS = (RAW, MINUTE, TEN, HOUR, DAY)
STEPS_UP = tuple(pairwise(LEVELS))
KEPT_LONGEST = max(level.kept for level in LEVELS)


def floor(moment: datetime, step: timedelta) -> datetime:
    """The start of the window that `moment` is in."""
    return moment - (moment - EPOCH) % step


def closed_until(now: datetime) -> datetime:
    """Up to when the samples are complete."""
    return floor(now - GRACE, RAW.step)


@dataclass(frozen=True)
class Piece:
    """The rows of one level between two moments, the second not included."""

    level: Level
    start: datetime
    end: datetime


def pieces(
    start: datetime,
    end: datetime,
    rolled_until: Mapping[Level, datetime],
    levels: tuple[Level, ...] = (DAY, HOUR, TEN, MINUTE),
) -> list[Piece]:
    """The fewest rows that add up to [start, end): days, then what is left in hours, in tens of minutes, in minutes.

    `rolled_until` says where each level ends; a level that is not in it has no rows. Nothing is counted twice and no
    window is cut: what no level has (yet) is left out. `levels` are those that may be taken, the coarsest first.
    """
    if start >= end or not levels:
        return []
    level, finer = levels[0], levels[1:]
    first = floor(start + level.step - timedelta.resolution, level.step)
    last = floor(min(end, rolled_until.get(level, EPOCH)), level.step)
    if first >= last:
        return pieces(start, end, rolled_until, finer)
    before = pieces(start, first, rolled_until, finer)
    return [*before, Piece(level, first, last), *pieces(last, end, rolled_until, finer)]

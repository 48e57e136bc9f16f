"""Coarser levels out of finer ones, and the removal of what is old.

Level-triggered: what is to do follows from what the tables hold. A window's rows are written by one statement, windows
in the order of time, so the newest row of a level says how far it is; a run that dies, that runs twice or that never
came changes nothing in the end.
"""

import logging
import time
from datetime import datetime, timedelta

from django.db import connection, transaction

from apps.clusters.usage import partitions, sampling
from apps.clusters.usage.levels import EPOCH, KEPT_LONGEST, LEVELS, RAW, STEPS_UP, Level, closed_until, floor
from apps.core.work import DONE, Outcome

logger = logging.getLogger(__name__)

# Work that is left after this long waits for the next minute.
BUDGET_S = 20.0
_FORGOTTEN_AT_ONCE = 20_000
# Rows of one series that a statement reads at most: of 10,000 pods a minute's work, well below the task's limit. Were
# one statement longer than that, each run would begin with it and none get any further.
_CHUNK_ROWS = 60
_AVERAGED = ("asked_cpu_m", "asked_memory_b", "asked_gpu", "pods", "room_cpu_m", "room_memory_b", "room_gpu")
_USED = ("used_cpu_m", "used_memory_b")
_MOST = ("used_cpu_max_m", "used_memory_max_b")
# How a figure of several rows becomes one: averages by the seconds that a row covers, so that gaps don't count.
MERGED = {
    **{name: f"sum(l.{name} * l.seconds) / sum(l.seconds)" for name in _AVERAGED},
    **{name: f"sum(l.{name} * l.used_seconds) / nullif(sum(l.used_seconds), 0)" for name in _USED},
    **{name: f"max(l.{name})" for name in _MOST},
}


def roll_up(pk: int) -> Outcome:
    """A round of the queue, which sees to it that there is one at a time; `pk` is that of the one object there is."""
    run()
    return DONE


def run(now: datetime | None = None, *, budget_s: float = BUDGET_S) -> None:
    """Make partitions ahead, roll up what is complete, drop what is old."""
    now, deadline = now or partitions.clock(), time.monotonic() + budget_s
    partitions.ensure_ahead(now)
    until = closed_until(now)
    for lower, upper in STEPS_UP:
        until = _roll(lower, upper, until, marks(now).get(upper), deadline)
    partitions.drop_old(now, marks(now))
    _forget(now)


def marks(now: datetime) -> dict[Level, datetime]:
    """Until when each level but the first is rolled up; a level without rows is not in it. One query.

    Rows of the future don't count: while Postgres's clock was ahead some were made, and they must not pass for all that
    is still to come.
    """
    rolled = LEVELS[1:]
    selected = ", ".join(f"(SELECT max(at) FROM {level.table} WHERE at <= %s)" for level in rolled)  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {selected}", [now - level.step for level in rolled])
        newest = cursor.fetchone()
    return {level: at + level.step for level, at in zip(rolled, newest, strict=True) if at is not None}


def source(level: Level) -> str:
    """The table or subquery that a level's rows come from: samples cover their 15 s, and are their own maximum."""
    if level is not RAW:
        return level.table
    step = int(RAW.step.total_seconds())
    return (
        f"(SELECT *, {step} AS seconds, CASE WHEN used_cpu_m IS NULL THEN 0 ELSE {step} END AS used_seconds, "  # noqa: S608
        f"used_cpu_m AS used_cpu_max_m, used_memory_b AS used_memory_max_b FROM {RAW.table})"
    )


def _roll(lower: Level, upper: Level, until: datetime, mark: datetime | None, deadline: float) -> datetime:
    """Roll `lower`, which is complete until `until`, into `upper`, which is so until `mark`; returns its new mark."""
    end = floor(until, upper.step)
    if mark is not None and mark >= end:
        return end
    chunk = max(1, _CHUNK_ROWS // (upper.step // lower.step)) * upper.step
    # The newest window that is there is rolled again: a late sample may have come.
    start = _next(lower, upper, EPOCH if mark is None else mark - upper.step, end)
    while start < end:
        if time.monotonic() > deadline:
            logger.info("%s is rolled up until %s; the next round goes on", upper.table, start)
            return start
        stop = min(floor(start + chunk, chunk), end)
        with transaction.atomic():
            partitions.ensure(upper, start, stop)
            with connection.cursor() as cursor:
                cursor.execute(_statement(lower, upper), {"start": start, "stop": stop})
        start = _next(lower, upper, stop, end)
    return end


def _next(lower: Level, upper: Level, start: datetime, end: datetime) -> datetime:
    """The first window from `start` on with anything to roll, `end` where there is none.

    A gap is skipped: it leaves no rows to go on from, so one that takes longer than a run would never be passed.
    """
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT min(at) FROM {lower.table} WHERE at >= %s AND at < %s", [start, end])  # noqa: S608
        first = cursor.fetchone()[0]
    return end if first is None else floor(first, upper.step)


def _statement(lower: Level, upper: Level) -> str:
    columns = {
        "at": f"date_bin('{upper.step.total_seconds():.0f} s', l.at, 'epoch'::timestamptz)",
        "series_id": "l.series_id",
        "seconds": "sum(l.seconds)",
        "used_seconds": "sum(l.used_seconds)",
        **MERGED,
    }
    kinds = ", ".join(f"'{kind.value}'" for kind in upper.kinds)
    only = f"JOIN clusters_usageseries s ON s.id = l.series_id AND s.kind IN ({kinds})" if kinds else ""
    sets = ", ".join(f"{name} = EXCLUDED.{name}" for name in columns if name not in {"at", "series_id"})
    return (
        f"INSERT INTO {upper.table} AS t ({', '.join(columns)}) SELECT {', '.join(columns.values())} "  # noqa: S608 - constants
        f"FROM {source(lower)} l {only} WHERE l.at >= %(start)s AND l.at < %(stop)s GROUP BY 1, 2 "
        # A row is written again only where a late sample adds to it, or each would be stored twice.
        f"ON CONFLICT (series_id, at) DO UPDATE SET {sets} "
        "WHERE (t.seconds, t.used_seconds) IS DISTINCT FROM (EXCLUDED.seconds, EXCLUDED.used_seconds)"
    )


def _forget(now: datetime) -> None:
    """Series whose last sample has been dropped, a part at a time, and the places of which there is no series left."""
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM clusters_usageseries WHERE id IN (SELECT id FROM clusters_usageseries WHERE seen_at < %s "
            "ORDER BY seen_at LIMIT %s)",
            # A partition goes when all of it is old, and `seen_at` is an hour late at most.
            [now - KEPT_LONGEST - max(level.span for level in LEVELS) - timedelta(hours=1), _FORGOTTEN_AT_ONCE],
        )
        # The places of present nodes stay: a sample may be about to name them.
        cursor.execute(
            "DELETE FROM clusters_usageplace p WHERE NOT EXISTS (SELECT 1 FROM clusters_usageseries s "
            "WHERE s.place_id = p.id) AND NOT EXISTS (SELECT 1 FROM clusters_node n "
            "WHERE md5((n.labels - %s)::text) = p.digest)",
            [sampling.OWN_LABEL],
        )

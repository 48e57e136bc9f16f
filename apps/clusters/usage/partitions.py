"""Partitions of samples by time: made ahead, found by their names, dropped when they are old and rolled up.

A partition is made apart and then attached, because `CREATE TABLE … PARTITION OF` would lock the whole table against
reading. https://www.postgresql.org/docs/current/ddl-partitioning.html#DDL-PARTITIONING-DECLARATIVE-MAINTENANCE
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from django.db import OperationalError, connection, transaction

from apps.clusters.usage.levels import LEVELS, STEPS_UP, Level, floor

logger = logging.getLogger(__name__)

# Partitions that the roll-up makes beyond the present one.
AHEAD = 2
_NAMED = "_%Y%m%d_%H%M"
# Any number that nothing else locks: who makes partitions waits for who makes the same ones.
_LOCK = 0x75736167
# Dropping locks readers out for a moment. It must not queue behind a slow reader with everyone else behind it.
_LOCK_LIMIT = "500ms"


@dataclass(frozen=True)
class Partition:
    """A partition of a level, from `start` until `end`."""

    level: Level
    start: datetime

    @property
    def end(self) -> datetime:
        """The first moment after it."""
        return self.start + self.level.span

    @property
    def table(self) -> str:
        """The name of its table."""
        return self.level.table + self.start.astimezone(UTC).strftime(_NAMED)


def clock() -> datetime:
    """Postgres's clock: the one that all watchers and workers share, whatever their machines' clocks say."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT now()")
        now: datetime = cursor.fetchone()[0]
    return now


def ensure(level: Level, start: datetime, end: datetime) -> None:
    """See to it that there is a partition for every moment of [start, end). One query when they are all there."""
    needed, at = [], floor(start, level.span)
    while at < end:
        needed.append(Partition(level, at))
        at += level.span
    missing = _missing(needed)
    if not missing:
        return
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        for partition in _missing(missing):
            cursor.execute(f"CREATE TABLE {partition.table} (LIKE {level.table} INCLUDING ALL)")
            cursor.execute(
                f"ALTER TABLE {level.table} ATTACH PARTITION {partition.table} FOR VALUES FROM (%s) TO (%s)",
                [partition.start, partition.end],
            )


def ensure_ahead(now: datetime) -> None:
    """Make the partitions of the present and of the near future, of every level."""
    for level in LEVELS:
        ensure(level, now, now + AHEAD * level.span)


def existing(level: Level) -> list[Partition]:
    """The partitions of a level, oldest first."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
            "WHERE i.inhparent = to_regclass(%s) ORDER BY c.relname",
            [level.table],
        )
        names = [row[0] for row in cursor.fetchall()]
    return [Partition(level, datetime.strptime(name, level.table + _NAMED).replace(tzinfo=UTC)) for name in names]


def drop_old(now: datetime, rolled_until: Mapping[Level, datetime]) -> None:
    """Drop what is older than its level keeps. What is not rolled up stays, however old it is."""
    above = dict(STEPS_UP)
    for level in LEVELS:
        for partition in existing(level):
            if partition.end > now - level.kept:
                break
            upper = above.get(level)
            if upper is not None and _has_rows(partition, rolled_until.get(upper)):
                logger.warning("%s is old, but not rolled up; it stays", partition.table)
                break
            _drop(partition)


def _has_rows(partition: Partition, since: datetime | None) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT EXISTS (SELECT 1 FROM {partition.table} WHERE at >= %s)",  # noqa: S608 - our own name
            [since or partition.start],
        )
        return bool(cursor.fetchone()[0])


def _drop(partition: Partition) -> None:
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = '{_LOCK_LIMIT}'")
            cursor.execute(f"DROP TABLE {partition.table}")
            cursor.execute("SET LOCAL lock_timeout = DEFAULT")
    except OperationalError:
        logger.info("%s is being read; the next round drops it", partition.table)


def _missing(needed: list[Partition]) -> list[Partition]:
    with connection.cursor() as cursor:
        # Out of the catalog itself: `to_regclass` may say what this session knew before it waited for the lock.
        cursor.execute(
            "SELECT name FROM unnest(%s::text[]) name WHERE NOT EXISTS (SELECT 1 FROM pg_class "
            "WHERE relname = name AND relnamespace = current_schema()::regnamespace)",
            [[partition.table for partition in needed]],
        )
        names = {row[0] for row in cursor.fetchall()}
    return [partition for partition in needed if partition.table in names]

"""Gates: a cluster that is away costs one try now and then, however much of it waits."""

from django.db import connection, transaction

from apps.core.work import bell, queue
from apps.core.work.outcomes import probe_pause

# A round that took so long, in seconds, was held up by its cluster: for a while it gets one round at a time.
SLOW_ROUND, SLOW_FOR = 3.0, 60.0
# Until somebody opens it.
FOR_EVER = "9999-01-01 00:00:00+00"


def found_away(cluster: int, reason: str, *, tried: bool) -> None:
    """A round has found the cluster away: close its gate. `tried`: it was closed, and this round was its try.

    Only tries lengthen the pause: of many rounds that were under way when the cluster went away each tells the same.
    """
    with connection.cursor() as cursor:
        if not tried:
            cursor.execute(
                "INSERT INTO core_gate (cluster, closed_until, failures, reason) "
                "VALUES (%s, now() + %s * interval '1 second', 1, %s) ON CONFLICT (cluster) DO UPDATE SET "
                "failures = 1, reason = EXCLUDED.reason, closed_until = EXCLUDED.closed_until "
                "WHERE core_gate.closed_until IS NULL",
                [cluster, probe_pause(1), reason[:200]],
            )
            return
        cursor.execute(
            "UPDATE core_gate SET failures = failures + 1, reason = %s WHERE cluster = %s AND closed_until < %s "
            "RETURNING failures",
            [reason[:200], cluster, FOR_EVER],
        )
        if row := cursor.fetchone():
            cursor.execute(
                "UPDATE core_gate SET closed_until = now() + %s * interval '1 second' "
                "WHERE cluster = %s AND failures = %s AND closed_until < %s",
                [probe_pause(row[0]), cluster, row[0], FOR_EVER],
            )


def close(cluster: int, reason: str, *, for_good: bool = False) -> None:
    """The cluster's watcher, or a person, says that it is away. `for_good`: nothing tries until it is opened."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO core_gate (cluster, closed_until, failures, reason) VALUES "
            "(%s, CASE WHEN %s THEN %s::timestamptz ELSE now() + %s * interval '1 second' END, 1, %s) "
            "ON CONFLICT (cluster) DO UPDATE SET reason = EXCLUDED.reason, closed_until = EXCLUDED.closed_until",
            [cluster, for_good, FOR_EVER, probe_pause(1), reason[:200]],
        )


def open_up(cluster: int, *, by_try: bool = False) -> None:
    """The cluster answers: all of its work that waited for that is due now. `by_try`: a round's try has shown it."""
    # In one transaction: killed in between, a worker would leave an open gate and work that waits for minutes.
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM core_gate WHERE cluster = %s AND closed_until IS NOT NULL AND (NOT %s OR closed_until < %s)",
            [cluster, by_try, FOR_EVER],
        )
        if cursor.rowcount:
            queue.make_due(cluster)
            bell.ring_after_commit()


def not_tried(cluster: int) -> None:
    """The round that was to try the gate called nobody: the next one may try."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE core_gate SET closed_until = now() "
            "WHERE cluster = %s AND closed_until > now() AND closed_until < %s",
            [cluster, FOR_EVER],
        )


def tell_length(cluster: int, seconds: float) -> None:
    """How long a round took: a slow cluster may hold one thread, not all of them."""
    if seconds < SLOW_ROUND:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO core_gate (cluster, failures, reason, slow_until) "
            "VALUES (%s, 0, '', now() + %s * interval '1 second') "
            "ON CONFLICT (cluster) DO UPDATE SET slow_until = EXCLUDED.slow_until",
            [cluster, SLOW_FOR],
        )

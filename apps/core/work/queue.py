"""The rows of the queue: ask, claim, finish. Each is one statement, and any process may die between any two of them.

An object's row says all: it is due at `due_at`; it is at work while `claim` is set. A claim empties `due_at`, so that
whoever asks meanwhile sets it again; a round that ends with `due_at` still empty has done all there was.

Whether a claim's holder still lives is said by its session-level advisory lock, which is taken by the statement that
claims, and which Postgres frees when the holder's connection ends. No clock decides it, and no claim is renewed.
https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS

All times are Postgres's own, so that no two clocks are compared.
"""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from django.db import connection

from apps.core.database import prepared
from apps.core.work import bell
from apps.core.work.kinds import Lane, lane_of
from apps.core.work.outcomes import Again, Away, Done, Outcome, Retry, retry_pause

# Work that a person asked for is due so many seconds before now. In the lane of those who wait at a page it comes
# before all work that nobody asked for.
HURRY, AT_ONCE = 10.0, 3600.0
# The key of an object's advisory lock.
_LOCK = "hashtextextended({0}.kind || ':' || {0}.object_id, 0)"

# Rows of one statement are taken in one order, so that two that ask for the same objects can't wait for each other.
_ASK = """
INSERT INTO core_work (kind, object_id, cluster, lane, due_at, failures)
SELECT t.kind, t.object_id, t.cluster, t.lane, now() + t.after * interval '1 second', 0
FROM unnest(%s::text[], %s::bigint[], %s::bigint[], %s::smallint[], %s::float[])
  AS t(kind, object_id, cluster, lane, after)
ORDER BY t.kind, t.object_id
ON CONFLICT (kind, object_id) DO UPDATE
  SET due_at = LEAST(core_work.due_at, EXCLUDED.due_at), cluster = EXCLUDED.cluster, lane = EXCLUDED.lane
"""

# The clusters that have work, by stepping from one to the next in the index, never by reading all rows.
CLUSTERS = """
WITH RECURSIVE clusters(cluster) AS (
  (SELECT cluster FROM core_work WHERE lane = %(lane)s AND claim IS NULL ORDER BY cluster LIMIT 1)
  UNION ALL
  SELECT (SELECT w.cluster FROM core_work w WHERE w.lane = %(lane)s AND w.claim IS NULL AND w.cluster > c.cluster
          ORDER BY w.cluster LIMIT 1)
  FROM clusters c WHERE c.cluster IS NOT NULL
)"""

# A claim, or its end, may be lost with Postgres's machine, as no other commit may: the claim's session is then lost,
# too, and the next worker takes the object for due. So nobody waits for the disk.
_UNHURRIED = "set_config('synchronous_commit', 'off', true)"

# Fair: the cluster with the fewest rounds under way comes first. Capped: nobody takes all threads; a cluster that is
# slow, or away and due for a try, gets one round at a time, and all of those together at most half of the threads.
_CLAIM = f"""
{CLUSTERS}, busy AS MATERIALIZED (
  SELECT w.cluster, count(*) AS rounds, bool_or(g.cluster IS NOT NULL) AS unwell
  FROM core_work w LEFT JOIN core_gate g ON g.cluster = w.cluster
    AND (g.closed_until IS NOT NULL OR g.slow_until > now())
  WHERE w.claim IS NOT NULL AND w.lane = %(lane)s GROUP BY w.cluster
), turns AS (
  SELECT c.cluster, coalesce(b.rounds, 0) AS rounds, g.closed_until IS NOT NULL AS closed,
    -- Where people wait, who has waited longest comes first, whichever cluster that is about.
    CASE WHEN NOT %(gated)s THEN (
      SELECT min(due_at) FROM core_work w WHERE w.lane = %(lane)s AND w.cluster = c.cluster AND w.claim IS NULL
    ) END AS wanted_at
  FROM clusters c LEFT JOIN busy b USING (cluster)
  LEFT JOIN core_gate g ON g.cluster = c.cluster AND %(gated)s
    AND (g.closed_until IS NOT NULL OR g.slow_until > now())
  WHERE c.cluster IS NOT NULL AND (g.closed_until IS NULL OR g.closed_until <= now())
    AND coalesce(b.rounds, 0) < CASE WHEN g.cluster IS NULL THEN %(most)s ELSE 1 END
    AND (g.cluster IS NULL OR (SELECT coalesce(sum(rounds), 0) FROM busy WHERE unwell) < %(unwell)s)
  ORDER BY wanted_at, coalesce(b.rounds, 0), random() OFFSET 0
), picked AS (
  SELECT w.id, t.cluster, t.closed FROM turns t CROSS JOIN LATERAL (
    SELECT id FROM core_work w
    WHERE w.lane = %(lane)s AND w.cluster = t.cluster AND w.claim IS NULL AND w.due_at <= now()
    ORDER BY w.due_at LIMIT 1 FOR UPDATE SKIP LOCKED
  ) w LEFT JOIN LATERAL (
    -- One of several workers wins the try of a closed gate. Nobody waits for a gate: who changes one asks for work in
    -- the same transaction, and would wait for the row that is locked here.
    SELECT g.cluster FROM core_gate g
    WHERE t.closed AND g.cluster = t.cluster AND g.closed_until <= now() FOR UPDATE SKIP LOCKED
  ) g ON true WHERE NOT t.closed OR g.cluster IS NOT NULL LIMIT 1
), tried AS (
  -- It closes again for as long as a round may take.
  UPDATE core_gate g SET closed_until = now() + interval '60 seconds' FROM picked p
  WHERE g.cluster = p.cluster AND p.closed
)
UPDATE core_work w SET claim = %(claim)s, claimed_at = now(), due_at = NULL
FROM picked p WHERE w.id = p.id
RETURNING w.id, w.kind, w.object_id, w.cluster, w.failures, p.closed, pg_try_advisory_lock({_LOCK.format("w")}),
  {_UNHURRIED}
"""  # noqa: S608 - constants

# The statement that releases the row also releases the lock: the next claim sees both free, or neither.
_UNLOCK = f"RETURNING CASE WHEN %(locked)s THEN pg_advisory_unlock({_LOCK.format('core_work')}) END, {_UNHURRIED}"
_DONE = f"DELETE FROM core_work WHERE id = %(id)s AND claim = %(claim)s AND due_at IS NULL {_UNLOCK}"  # noqa: S608
_LATER = f"""
UPDATE core_work SET claim = NULL, claimed_at = NULL, failures = %(failures)s,
  due_at = LEAST(due_at, now() + %(pause)s::float * interval '1 second')
WHERE id = %(id)s AND claim = %(claim)s {_UNLOCK}
"""  # noqa: S608

# A claim whose advisory lock nobody holds was a killed worker's (pg_locks shows a lock's key in two halves). A row that
# somebody is changing is left until the next look, so that these rows are waited for in no order.
_FREE = f"""
WITH dead AS (
  SELECT id, claim FROM core_work w
  WHERE w.claim IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM pg_locks l WHERE l.locktype = 'advisory' AND l.objsubid = 1
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND (l.classid::bigint << 32) | l.objid::bigint = {_LOCK.format("w")})
  FOR UPDATE SKIP LOCKED
)
UPDATE core_work w SET claim = NULL, claimed_at = NULL, due_at = now()
FROM dead d WHERE w.id = d.id AND w.claim = d.claim
"""  # noqa: S608

_NEXT = f"""
{CLUSTERS}
SELECT extract(epoch FROM min(GREATEST(d.due_at, g.closed_until)) - now())
FROM clusters c LEFT JOIN core_gate g ON g.cluster = c.cluster AND %(gated)s
CROSS JOIN LATERAL (
  SELECT due_at FROM core_work w WHERE w.lane = %(lane)s AND w.cluster = c.cluster AND w.claim IS NULL
  ORDER BY due_at LIMIT 1) d
"""  # noqa: S608


@dataclass(frozen=True)
class Claim:
    """An object that is ours until `finish`, after `failures` failed rounds. `closed`: it tries its cluster's gate."""

    id: int
    kind: str
    object_id: int
    cluster: int
    failures: int
    closed: bool
    number: int


def ask(kind: str, pk: int, *, cluster: int | None, after: float = 0.0, first: bool = False) -> None:
    """Ask for a round for one object, in `after` seconds at the latest; part of the transaction that is open.

    `cluster` is the primary key of the cluster that the round will call, None for none. `first`: somebody wants
    something, so it goes before what is only looked at again, unless that has been due for `HURRY` seconds (in the lane
    of people: before all of it). Raises KeyError for a kind that nobody has registered.
    """
    ask_many(kind, [(pk, cluster)], after=after, first=first)


def ask_many(
    kind: str,
    objects: Iterable[tuple[int, int | None]],
    *,
    after: float = 0.0,
    spread: float = 0.0,
    first: bool = False,
) -> None:
    """The same for many (object, cluster) pairs, in one statement; with `spread`, evenly over so many more seconds."""
    cluster_of = dict(objects)
    if not cluster_of:
        return
    pks, lane = sorted(cluster_of), lane_of(kind)
    begin = after if not first else -AT_ONCE if lane == Lane.PERSON else -HURRY
    pauses = [begin + spread * place / len(pks) for place in range(len(pks))]
    with prepared.cursor() as cursor:
        clusters = [cluster_of[pk] or 0 for pk in pks]
        cursor.execute(_ASK, [[kind] * len(pks), pks, clusters, [int(lane)] * len(pks), pauses])
    bell.ring_after_commit(lane)


def forget(kind: str, pk: int) -> None:
    """Nothing is left to do for an object that exists no more; a round that is under way ends by itself."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM core_work WHERE kind = %s AND object_id = %s AND claim IS NULL", [kind, pk])


def claim(lane: Lane, *, most: int, unwell: int) -> Claim | None:
    """Take one object that is due; None when there is none whose turn it is.

    At most `most` rounds of one cluster are under way at once, and `unwell` of all that are slow or away together.
    """
    number = secrets.randbits(62)
    gated = lane is Lane.FLEET  # a person who asks whether a cluster answers is not told that it did not a minute ago
    values = {"lane": int(lane), "gated": gated, "most": most, "unwell": unwell, "claim": number}
    with prepared.cursor() as cursor:
        cursor.execute(_CLAIM, values)
        row = cursor.fetchone()
    if row is None:
        return None
    pk, kind, object_id, cluster, failures, closed, locked, _ = row
    taken = Claim(pk, kind, object_id, cluster, failures, closed, number)
    if not locked:
        # A holder that Postgres took for dead is still at it (its connection was cut, say): let it end.
        finish(taken, Again(5.0), locked=False)
        return None
    return taken


def finish(taken: Claim, outcome: Outcome, *, locked: bool = True) -> None:
    """Store what a round returned, and let the object go. Harmless when the claim is no longer ours."""
    failures, pause = _next_try(taken, outcome)
    values = {"id": taken.id, "claim": taken.number, "failures": failures, "pause": pause, "locked": locked}
    with prepared.cursor() as cursor:
        if pause is None:
            cursor.execute(_DONE, values)
            if cursor.rowcount:
                return
        cursor.execute(_LATER, values)
        if not cursor.rowcount and locked:
            cursor.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [f"{taken.kind}:{taken.object_id}"])


def _next_try(taken: Claim, outcome: Outcome) -> tuple[int, float | None]:
    """The failures to note, and the seconds until the next round; None for none."""
    match outcome:
        case Done():
            return 0, None
        case Again(after):
            return 0, max(after, 0.0)
        case Away() if taken.cluster:
            # It stays due: its cluster's gate holds it.
            return taken.failures, 0.0
        case Retry(_, at_most) if at_most is not None:
            return taken.failures + 1, max(0.0, min(at_most, retry_pause(taken.failures + 1)))
        case _:
            return taken.failures + 1, retry_pause(taken.failures + 1)


def free_dead() -> int:
    """Make due again what a worker held that is no more; how many objects that were."""
    with connection.cursor() as cursor:
        cursor.execute(_FREE)
        return int(cursor.rowcount)


def seconds_until_due(lane: Lane) -> float | None:
    """How long until something of the lane can be claimed, 0 or less for now; None when nothing waits."""
    with prepared.cursor() as cursor:
        cursor.execute(_NEXT, {"lane": int(lane), "gated": lane is Lane.FLEET})
        (seconds,) = cursor.fetchone()
    return None if seconds is None else float(seconds)


def make_due(cluster: int) -> None:
    """All that waits for its next try on this cluster is due now; but what somebody is just asking for is theirs."""
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH chosen AS (SELECT id FROM core_work WHERE cluster = %s AND claim IS NULL AND failures > 0 "
            "AND due_at > now() FOR UPDATE SKIP LOCKED) "
            "UPDATE core_work w SET due_at = now(), failures = 0 FROM chosen c WHERE w.id = c.id",
            [cluster],
        )

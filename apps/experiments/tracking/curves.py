"""The points of metrics, thinned by Postgres: one query for any number of runs and keys."""

from collections.abc import Iterable

from django.db import connection

Point = tuple[int, int, float]
"""Step, milliseconds since the epoch, value."""

# Every n-th point of each curve, and always the first and the last.
_THINNED = """
SELECT run_id, key, step, "timestamp", value FROM (
  SELECT run_id, key, step, "timestamp", value,
    row_number() OVER curve AS position, count(*) OVER (PARTITION BY run_id, key) AS total
  FROM experiments_metricpoint
  WHERE run_id = ANY(%s) AND key = ANY(%s)
  WINDOW curve AS (PARTITION BY run_id, key ORDER BY step, "timestamp", value)
) AS numbered
WHERE (position - 1) %% greatest(1, ceil(total::float8 / %s)::bigint) = 0 OR position = total
ORDER BY run_id, key, position
"""


# A metric has grown when one of its points lies before its latest one: an index probe for each run and key.
_GROWN = """
SELECT DISTINCT latest.key FROM experiments_latestmetric AS latest
WHERE latest.run_id = ANY(%s) AND EXISTS (
  SELECT 1 FROM experiments_metricpoint AS point
  WHERE point.run_id = latest.run_id AND point.key = latest.key AND point.step < latest.step
)
"""


def grown_keys(run_pks: Iterable[int]) -> set[str]:
    """The metrics of which at least one of the runs has more than one step: those that make a curve."""
    with connection.cursor() as cursor:
        cursor.execute(_GROWN, [list(run_pks)])
        return {key for (key,) in cursor.fetchall()}


def curves(run_pks: Iterable[int], keys: Iterable[str], *, limit: int) -> dict[tuple[int, str], list[Point]]:
    """The curve of each run and metric, of at most about `limit` points, in the order of steps and times."""
    points: dict[tuple[int, str], list[Point]] = {}
    with connection.cursor() as cursor:
        cursor.execute(_THINNED, [list(run_pks), list(keys), limit])
        for run_id, key, step, timestamp, value in cursor.fetchall():
            points.setdefault((run_id, key), []).append((step, timestamp, value))
    return points


# By the key of the table, which is the order of the points.
_AFTER = """
SELECT step, "timestamp", value FROM experiments_metricpoint
WHERE run_id = %s AND key = %s AND (step, "timestamp", value) > (%s, %s, %s::float8)
ORDER BY step, "timestamp", value LIMIT %s
"""
_BEFORE_ALL: Point = (-(2**63), -(2**63), float("-inf"))


def points_after(run_pk: int, key: str, after: Point | None, limit: int) -> list[Point]:
    """The next points of a metric in the order of steps, times and values, from the first where `after` is None."""
    with connection.cursor() as cursor:
        cursor.execute(_AFTER, [run_pk, key, *(after or _BEFORE_ALL), limit])
        return list(cursor.fetchall())


# Whether some point is older than one of a lesser step. Reads the table's key from its beginning, and stops there.
_OUT_OF_TIME = """
SELECT EXISTS (SELECT 1 FROM (
  SELECT "timestamp" < lag("timestamp") OVER (ORDER BY step, "timestamp", value) AS falls
  FROM experiments_metricpoint WHERE run_id = %s AND key = %s
) AS seen WHERE falls)
"""
_LATER = """
SELECT step, "timestamp", value FROM experiments_metricpoint
WHERE run_id = %s AND key = %s AND ("timestamp", step, value) > (%s, %s, %s::float8)
ORDER BY "timestamp", step, value LIMIT %s
"""


def is_out_of_time(run_pk: int, key: str) -> bool:
    """Whether the points of a metric come in another order by their times than by their steps."""
    with connection.cursor() as cursor:
        cursor.execute(_OUT_OF_TIME, [run_pk, key])
        return bool(cursor.fetchone()[0])


def points_later(run_pk: int, key: str, after: Point | None, limit: int) -> list[Point]:
    """As `points_after`, in the order of times, steps and values: each call reads and sorts the whole metric."""
    step, timestamp, value = after or _BEFORE_ALL
    with connection.cursor() as cursor:
        cursor.execute(_LATER, [run_pk, key, timestamp, step, value, limit])
        return list(cursor.fetchall())


# The last points of each curve by the table's key, however many lie before them; of these every n-th.
_RECENT = """
SELECT wanted.run_id, thinned.value FROM unnest(%s::bigint[], %s::text[]) AS wanted(run_id, key)
CROSS JOIN LATERAL (
  SELECT value, position FROM (
    SELECT value, row_number() OVER (ORDER BY step, "timestamp", value) AS position, count(*) OVER () AS total
    FROM (
      SELECT step, "timestamp", value FROM experiments_metricpoint AS point
      WHERE point.run_id = wanted.run_id AND point.key = wanted.key
      ORDER BY step DESC, "timestamp" DESC, value DESC LIMIT %s
    ) AS recent
  ) AS numbered
  WHERE (position - 1) %% greatest(1, ceil(total::float8 / %s)::bigint) = 0 OR position = total
) AS thinned
ORDER BY wanted.run_id, thinned.position
"""


def recent_values(metrics: Iterable[tuple[int, str]], *, last: int, limit: int) -> dict[int, list[float]]:
    """The values of one metric (run and key) of each run, oldest first: of its `last` points at most about `limit`.

    One query that reads `last` points a run, however many steps the metric has, or none.
    """
    pairs = list(metrics)
    values_of: dict[int, list[float]] = {}
    if not pairs:
        return values_of
    with connection.cursor() as cursor:
        cursor.execute(_RECENT, [[pk for pk, _ in pairs], [key for _, key in pairs], last, limit])
        for run_pk, value in cursor.fetchall():
            values_of.setdefault(run_pk, []).append(value)
    return values_of

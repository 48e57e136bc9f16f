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
    found: dict[tuple[int, str], list[Point]] = {}
    with connection.cursor() as cursor:
        cursor.execute(_THINNED, [list(run_pks), list(keys), limit])
        for run_id, key, step, timestamp, value in cursor.fetchall():
            found.setdefault((run_id, key), []).append((step, timestamp, value))
    return found

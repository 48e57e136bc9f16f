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


def curves(run_pks: Iterable[int], keys: Iterable[str], *, limit: int) -> dict[tuple[int, str], list[Point]]:
    """The curve of each run and metric, of at most about `limit` points, in the order of steps and times."""
    found: dict[tuple[int, str], list[Point]] = {}
    with connection.cursor() as cursor:
        cursor.execute(_THINNED, [list(run_pks), list(keys), limit])
        for run_id, key, step, timestamp, value in cursor.fetchall():
            found.setdefault((run_id, key), []).append((step, timestamp, value))
    return found

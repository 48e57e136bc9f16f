"""The points of metrics, thinned by Postgres: one query for any number of runs and keys."""

from collections.abc import Iterable
from typing import Any

from django.db import connection

from apps.experiments.states import Packing
from apps.experiments.tracking.packing import PART

Point = tuple[int, int, float]
"""Step, milliseconds since the epoch, value."""

# Every n-th point of each curve, and always the first and the last. Of a run that is packed as a whole the place of
# each point is known: only those are read that are shown, one by one where they lie far apart.
_FAR_APART = 50
_THINNED = f"""
WITH loose AS (
  SELECT run_id, key, step, "timestamp", value,
    row_number() OVER curve - 1 AS place, count(*) OVER (PARTITION BY run_id, key) AS total
  FROM experiments_point
  WHERE key = ANY(%(keys)s) AND run_id = ANY(ARRAY(
    SELECT id FROM experiments_run WHERE id = ANY(%(runs)s) AND packing < {Packing.WHOLE.value}
  ))
  WINDOW curve AS (PARTITION BY run_id, key ORDER BY step, "timestamp", value)
), ends AS (
  SELECT run.id AS run_id, wanted.key, last.part::bigint * {PART} + cardinality(last.steps) AS total
  FROM experiments_run AS run, unnest(%(keys)s::text[]) AS wanted(key), LATERAL (
    SELECT part, steps FROM experiments_packedpoints AS packed
    WHERE packed.run_id = run.id AND packed.key = wanted.key ORDER BY part DESC LIMIT 1
  ) AS last
  WHERE run.id = ANY(%(runs)s) AND run.packing = {Packing.WHOLE.value}
), strides AS (
  SELECT *, greatest(1, ceil(total::float8 / %(limit)s)::bigint) AS stride FROM ends
), places AS (
  SELECT run_id, key, place FROM strides, generate_series(0, total - 1, stride) AS place WHERE stride >= {_FAR_APART}
  UNION SELECT run_id, key, total - 1 FROM strides WHERE stride >= {_FAR_APART}
)
SELECT run_id, key, step, "timestamp", value FROM (
  SELECT * FROM loose
  WHERE place %% greatest(1, ceil(total::float8 / %(limit)s)::bigint) = 0 OR place = total - 1
  UNION ALL
  SELECT run_id, key, steps[place %% {PART} + 1], timestamps[place %% {PART} + 1], values[place %% {PART} + 1], place, 0
  FROM places JOIN experiments_packedpoints AS packed USING (run_id, key) WHERE packed.part = place / {PART}
  UNION ALL
  SELECT run_id, key, point.step, point."timestamp", point.value, packed.part::bigint * {PART} + point.number - 1, 0
  FROM strides JOIN experiments_packedpoints AS packed USING (run_id, key),
    unnest(steps, timestamps, values) WITH ORDINALITY AS point(step, "timestamp", value, number)
  WHERE stride < {_FAR_APART} AND ((packed.part::bigint * {PART} + number - 1) %% stride = 0
    OR packed.part::bigint * {PART} + number = total)
) AS thinned
ORDER BY run_id, key, place
"""  # noqa: S608 - numbers of ours


# A metric has grown when one of its points lies before its latest one: an index probe for each run and key.
_GROWN = """
SELECT DISTINCT latest.key FROM experiments_latestmetric AS latest
WHERE latest.run_id = ANY(%s) AND (EXISTS (
  SELECT 1 FROM experiments_metricpoint AS point
  WHERE point.run_id = latest.run_id AND point.key = latest.key AND point.step < latest.step
) OR EXISTS (
  SELECT 1 FROM experiments_packedpoints AS packed
  WHERE packed.run_id = latest.run_id AND packed.key = latest.key AND packed.first_step < latest.step
))
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
        cursor.execute(_THINNED, {"runs": list(run_pks), "keys": list(set(keys)), "limit": limit})
        for run_id, key, step, timestamp, value in cursor.fetchall():
            points.setdefault((run_id, key), []).append((step, timestamp, value))
    return points


# By the keys of the tables, which are in the order of the points: of what is packed no more rows than fill the page.
_AFTER = f"""
SELECT step, "timestamp", value FROM (
  (
    SELECT step, "timestamp", value FROM experiments_metricpoint
    WHERE run_id = %(run)s AND key = %(key)s
      AND (step, "timestamp", value) > (%(step)s, %(time)s, %(value)s::float8)
    ORDER BY step, "timestamp", value LIMIT %(limit)s
  ) UNION ALL (
    SELECT point.* FROM (
      SELECT steps, timestamps, values FROM experiments_packedpoints
      WHERE run_id = %(run)s AND key = %(key)s
        AND (last_step, last_timestamp, last_value) > (%(step)s, %(time)s, %(value)s::float8)
      ORDER BY part LIMIT %(limit)s / {PART} + 2
    ) AS parts, unnest(steps, timestamps, values) AS point(step, "timestamp", value)
    WHERE (point.step, point."timestamp", point.value) > (%(step)s, %(time)s, %(value)s::float8)
  )
) AS points
ORDER BY step, "timestamp", value LIMIT %(limit)s
"""  # noqa: S608 - a number of ours
_BEFORE_ALL: Point = (-(2**63), -(2**63), float("-inf"))


def points_after(run_pk: int, key: str, after: Point | None, limit: int) -> list[Point]:
    """The next points of a metric in the order of steps, times and values, from the first where `after` is None."""
    step, timestamp, value = after or _BEFORE_ALL
    asked: dict[str, Any] = {"run": run_pk, "key": key, "step": step, "time": timestamp, "value": value, "limit": limit}
    with connection.cursor() as cursor:
        cursor.execute(_AFTER, asked)
        return list(cursor.fetchall())


# Whether some point is older than one of a lesser step. Reads the table's key from its beginning, and stops there.
_OUT_OF_TIME = """
SELECT EXISTS (SELECT 1 FROM (
  SELECT "timestamp" < lag("timestamp") OVER (ORDER BY step, "timestamp", value) AS falls
  FROM experiments_point WHERE run_id = %s AND key = %s
) AS seen WHERE falls)
"""
_LATER = """
SELECT step, "timestamp", value FROM experiments_point
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
_RECENT = f"""
SELECT wanted.run_id, thinned.value FROM unnest(%(runs)s::bigint[], %(keys)s::text[]) AS wanted(run_id, key)
CROSS JOIN LATERAL (
  SELECT value, position FROM (
    SELECT value, row_number() OVER (ORDER BY step, "timestamp", value) AS position, count(*) OVER () AS total
    FROM (
      (
        SELECT step, "timestamp", value FROM experiments_metricpoint AS point
        WHERE point.run_id = wanted.run_id AND point.key = wanted.key
        ORDER BY step DESC, "timestamp" DESC, value DESC LIMIT %(last)s
      ) UNION ALL (
        SELECT point.* FROM (
          SELECT steps, timestamps, values FROM experiments_packedpoints AS packed
          WHERE packed.run_id = wanted.run_id AND packed.key = wanted.key
          ORDER BY part DESC LIMIT %(last)s / {PART} + 2
        ) AS parts, unnest(steps, timestamps, values) AS point(step, "timestamp", value)
      )
      ORDER BY step DESC, "timestamp" DESC, value DESC LIMIT %(last)s
    ) AS recent
  ) AS numbered
  WHERE (position - 1) %% greatest(1, ceil(total::float8 / %(limit)s)::bigint) = 0 OR position = total
) AS thinned
ORDER BY wanted.run_id, thinned.position
"""  # noqa: S608 - a number of ours


def recent_values(metrics: Iterable[tuple[int, str]], *, last: int, limit: int) -> dict[int, list[float]]:
    """The values of one metric (run and key) of each run, oldest first: of its `last` points at most about `limit`.

    One query that reads `last` points a run, however many steps the metric has, or none.
    """
    pairs = list(metrics)
    values_of: dict[int, list[float]] = {}
    if not pairs:
        return values_of
    with connection.cursor() as cursor:
        asked: dict[str, Any] = {
            "runs": [pk for pk, _ in pairs],
            "keys": [key for _, key in pairs],
            "last": last,
            "limit": limit,
        }
        cursor.execute(_RECENT, asked)
        for run_pk, value in cursor.fetchall():
            values_of.setdefault(run_pk, []).append(value)
    return values_of


# Of several runs, each by its own order; the index gives a run's points together.
_OF_RUNS = """
SELECT run.uid, point.step, point."timestamp", point.value FROM experiments_run AS run
JOIN experiments_point AS point ON point.run_id = run.id
WHERE run.id = ANY(%s) AND point.key = %s
ORDER BY run.uid, point."timestamp", point.step, point.value LIMIT %s
"""
# Of all steps that one of the runs has, `most` that lie evenly, beside the first and the last of each run: those are
# compared at the same places. The steps of a run are read from the key alone.
_SAMPLED = """
WITH steps AS (
  SELECT run_id, step FROM experiments_point
  WHERE run_id = ANY(%(runs)s) AND key = %(key)s AND step BETWEEN %(first)s AND %(last)s GROUP BY run_id, step
), numbered AS (
  SELECT step, row_number() OVER (ORDER BY step) - 1 AS place, count(*) OVER () AS total
  FROM (SELECT DISTINCT step FROM steps) AS every
), chosen AS (
  SELECT step FROM numbered WHERE (place * %(most)s + total - 1) / total * total < (place + 1) * %(most)s
  UNION SELECT min(step) FROM steps GROUP BY run_id UNION SELECT max(step) FROM steps GROUP BY run_id
)
SELECT run.uid, sampled.step, sampled."timestamp", sampled.value
FROM unnest(%(runs)s::bigint[]) WITH ORDINALITY AS wanted(run_id, place)
JOIN experiments_run AS run ON run.id = wanted.run_id
CROSS JOIN LATERAL (
  SELECT step, "timestamp", value FROM experiments_point AS point
  WHERE point.run_id = wanted.run_id AND point.key = %(key)s AND point.step IN (SELECT step FROM chosen)
  ORDER BY step, "timestamp", value LIMIT %(limit)s
) AS sampled
ORDER BY wanted.place, sampled.step, sampled."timestamp", sampled.value
"""
FIRST_STEP, LAST_STEP = -(2**63), 2**63 - 1


def points_of_runs(run_pks: Iterable[int], key: str, limit: int) -> list[tuple[str, Point]]:
    """The first points of a metric of several runs, with the id of each one's run: by run, time, step and value."""
    with connection.cursor() as cursor:
        cursor.execute(_OF_RUNS, [list(run_pks), key, limit])
        return [(uid, (step, timestamp, value)) for uid, step, timestamp, value in cursor.fetchall()]


def sampled_points(
    run_pks: Iterable[int], key: str, steps: tuple[int, int], *, most: int, limit: int
) -> list[tuple[str, Point]]:
    """The points of a metric of several runs, in this order, at about `most` of the steps from the first to the last
    of `steps`; at most `limit` points a run."""
    values: dict[str, Any] = {"runs": list(run_pks), "key": key, "most": most, "limit": limit}
    values["first"], values["last"] = steps
    with connection.cursor() as cursor:
        cursor.execute(_SAMPLED, values)
        return [(uid, (step, timestamp, value)) for uid, step, timestamp, value in cursor.fetchall()]

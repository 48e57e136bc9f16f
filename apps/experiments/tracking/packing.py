"""The points of runs that have ended are packed: a row for many of them in place of a row and its key for each.

A metric is packed by one statement, so that every point is in one of the two tables at any time. A run that is logged
to after its end keeps what is packed: the new points lie beside, until the next round packs them with the others.
"""

import time
from datetime import timedelta

from django.db import connection
from django.utils import timezone

from apps.core.work import DONE, Again, Outcome
from apps.experiments.models import Run
from apps.experiments.states import Packing

# Points in a row: when they are compressed several rows fit a page. With more in one, it lies apart in pieces, and each
# point that a chart shows costs the reading of all of them.
PART = 128
# How long after its end a run is packed: some are opened again by the next cell of a notebook.
REST = timedelta(minutes=10)
# Runs that are looked up together, and seconds that a round may take before others have their turn.
LOT, ROUND_SECONDS = 200, 5.0

_KEYS = "SELECT DISTINCT key FROM experiments_metricpoint WHERE run_id = %s"
# What was packed is packed again with what is new, each point once.
_PACK = """
WITH loose AS (
  DELETE FROM experiments_metricpoint WHERE run_id = %(run)s AND key = %(key)s RETURNING step, "timestamp", value
), packed AS (
  DELETE FROM experiments_packedpoints WHERE run_id = %(run)s AND key = %(key)s RETURNING steps, timestamps, values
), points AS (
  SELECT step, "timestamp", value FROM loose
  UNION SELECT point.* FROM packed, unnest(steps, timestamps, values) AS point(step, "timestamp", value)
), numbered AS (
  SELECT *, (row_number() OVER (ORDER BY step, "timestamp", value) - 1) / %(part)s AS part FROM points
), arrays AS (
  SELECT part, array_agg(step ORDER BY step, "timestamp", value) AS steps,
    array_agg("timestamp" ORDER BY step, "timestamp", value) AS timestamps,
    array_agg(value ORDER BY step, "timestamp", value) AS values
  FROM numbered GROUP BY part
)
INSERT INTO experiments_packedpoints
  (run_id, key, part, first_step, last_step, last_timestamp, last_value, steps, timestamps, values)
SELECT %(run)s, %(key)s, part, steps[1], steps[cardinality(steps)], timestamps[cardinality(steps)],
  values[cardinality(steps)], steps, timestamps, values FROM arrays
"""
_WHOLE = """
UPDATE experiments_run SET packing = %(whole)s WHERE id = %(run)s
  AND NOT EXISTS (SELECT FROM experiments_metricpoint WHERE run_id = %(run)s)
"""


def pack_due(pk: int) -> Outcome:
    """Pack runs that ended a while ago, the oldest first; `pk` is that of the one object there is."""
    until = time.monotonic() + ROUND_SECONDS
    due = Run.objects.filter(ended_at__lt=timezone.now() - REST, packing__lt=Packing.WHOLE).order_by("ended_at")
    for run_pk in list(due.values_list("pk", flat=True)[:LOT]):
        pack(run_pk)
        if time.monotonic() > until:
            return Again(1.0)
    return DONE


def pack(run_pk: int) -> None:
    """Pack all points of a run. It may be logged to meanwhile, or be interrupted: the next time goes on."""
    # From now on who logs looks at what is packed, too (`tracking.store`).
    Run.objects.filter(pk=run_pk, packing=Packing.LOOSE).update(packing=Packing.PARTLY)
    with connection.cursor() as cursor:
        cursor.execute(_KEYS, [run_pk])
        for (key,) in cursor.fetchall():
            cursor.execute(_PACK, {"run": run_pk, "key": key, "part": PART})
        cursor.execute(_WHOLE, {"run": run_pk, "whole": Packing.WHOLE})

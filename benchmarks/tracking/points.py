"""What a point takes on disk, one by one and packed, and how soon a chart has a metric of a million of them, alone and
among a hundred million. `IN_ALL=20000000 make bench NAME=tracking ARGS=points` makes fewer.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence

from benchmarks.clusters._servers import django_on_own_servers
from benchmarks.figures import Figure, percentile

POINTS, KEYS = 1_000_000, 4
IN_ALL = int(os.environ.get("IN_ALL", "100000000"))
CHART, ASKED = 500, 7

# Values that don't repeat, at times that are not even.
_FILL = """
INSERT INTO experiments_metricpoint (run_id, key, step, "timestamp", value)
SELECT %s, 'train/loss-' || n %% %s, n / %s, 1700000000000 + n * 173 + (random() * 99)::int, random()
FROM generate_series(1, %s) AS n
"""

# Other runs with the same points.
_COPY = """
INSERT INTO experiments_packedpoints
  (run_id, key, part, first_step, last_step, last_timestamp, last_value, steps, timestamps, values)
SELECT run.id, key, part, first_step, last_step, last_timestamp, last_value, steps, timestamps, values
FROM experiments_run AS run, experiments_packedpoints AS packed WHERE packed.run_id = %s AND run.id = %s
"""


def run() -> Iterator[Figure]:
    """A run of four metrics, a million points each."""
    with django_on_own_servers():
        from django.db import connection

        from apps.core.models import Project
        from apps.experiments.models import Experiment, Run
        from apps.experiments.states import Packing
        from apps.experiments.tracking import packing
        from apps.experiments.tracking.curves import curves

        experiment = Experiment.objects.create(project=Project.objects.create(name="bench"), name="bench")
        made = Run.objects.create(experiment=experiment, kind="external", state="Succeeded")

        def size(table: str) -> float:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_total_relation_size(%s)", [f"experiments_{table}"])
                return int(cursor.fetchone()[0]) / POINTS / KEYS

        def chart(pk: int) -> None:
            curves([pk], ["train/loss-1"], limit=CHART)

        with connection.cursor() as cursor:
            cursor.execute(_FILL, [made.pk, KEYS, KEYS, POINTS * KEYS])
            cursor.execute("VACUUM ANALYZE experiments_metricpoint")
        loose, loose_ms = size("metricpoint"), _milliseconds(chart, [made.pk])
        began = time.perf_counter()
        packing.pack(made.pk)
        took = time.perf_counter() - began
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE experiments_packedpoints")
        beside = {"loose": round(loose, 1), "packed_per_second": round(POINTS * KEYS / took)}
        yield Figure("a packed point on disk", size("packedpoints"), "bytes", 30, beside=beside)
        name = f"chart of {CHART} out of {POINTS} packed points"
        yield Figure(name, _milliseconds(chart, [made.pk]), "ms", 50, beside={"loose_ms": round(loose_ms, 1)})
        several = [
            Run.objects.create(experiment=experiment, kind="external", state="Succeeded", packing=Packing.WHOLE)
            for _ in range(max(1, IN_ALL // (POINTS * KEYS) - 1))
        ]
        with connection.cursor() as cursor:
            for each in several:
                cursor.execute(_COPY, [made.pk, each.pk])
            cursor.execute("VACUUM ANALYZE experiments_packedpoints")
        # Each run is asked for the first time: what one has read helps no other one.
        among = {"bytes": round(size("packedpoints") * POINTS * KEYS / IN_ALL, 1)}
        yield Figure(
            f"the same among {IN_ALL} points", _milliseconds(chart, [run.pk for run in several]), "ms", 50, beside=among
        )


def _milliseconds(call: Callable[[int], None], pks: Sequence[int]) -> float:
    times = []
    for number in range(ASKED):
        began = time.perf_counter()
        call(pks[number % len(pks)])
        times.append((time.perf_counter() - began) * 1000)
    return percentile(times, 50)

"""What a point takes on disk, one by one and packed, and how soon a chart has a metric of a million of them."""

import time
from collections.abc import Callable, Iterator

from benchmarks.clusters._servers import django_on_own_servers
from benchmarks.figures import Figure, percentile

POINTS, KEYS = 1_000_000, 4
CHART, ASKED = 500, 7

# Values that don't repeat, at times that are not even.
_FILL = """
INSERT INTO experiments_metricpoint (run_id, key, step, "timestamp", value)
SELECT %s, 'train/loss-' || n %% %s, n / %s, 1700000000000 + n * 173 + (random() * 99)::int, random()
FROM generate_series(1, %s) AS n
"""


def run() -> Iterator[Figure]:
    """A run of four metrics, a million points each."""
    with django_on_own_servers():
        from django.db import connection

        from apps.core.models import Project
        from apps.experiments.models import Experiment, Run
        from apps.experiments.tracking import packing
        from apps.experiments.tracking.curves import curves

        experiment = Experiment.objects.create(project=Project.objects.create(name="bench"), name="bench")
        made = Run.objects.create(experiment=experiment, kind="external", state="Succeeded")

        def size(table: str) -> float:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_total_relation_size(%s)", [f"experiments_{table}"])
                return int(cursor.fetchone()[0]) / POINTS / KEYS

        def chart() -> None:
            curves([made.pk], ["train/loss-1"], limit=CHART)

        with connection.cursor() as cursor:
            cursor.execute(_FILL, [made.pk, KEYS, KEYS, POINTS * KEYS])
            cursor.execute("VACUUM ANALYZE experiments_metricpoint")
        loose, loose_ms = size("metricpoint"), _milliseconds(chart)
        began = time.perf_counter()
        packing.pack(made.pk)
        took = time.perf_counter() - began
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE experiments_packedpoints")
        beside = {"loose": round(loose, 1), "packed_per_second": round(POINTS * KEYS / took)}
        yield Figure("a packed point on disk", size("packedpoints"), "bytes", 30, beside=beside)
        name = f"chart of {CHART} out of {POINTS} packed points"
        yield Figure(name, _milliseconds(chart), "ms", 50, beside={"loose_ms": round(loose_ms, 1)})


def _milliseconds(call: Callable[[], None]) -> float:
    times = []
    for _ in range(ASKED):
        began = time.perf_counter()
        call()
        times.append((time.perf_counter() - began) * 1000)
    return percentile(times, 50)

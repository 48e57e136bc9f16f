"""A usage history as a long-running Flotilla would have it, made in seconds: for tests, benchmarks and looks.

It is written by one statement a level, straight into the tables, with daily waves so that charts look alive.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import connection

from apps.clusters.models import Cluster
from apps.clusters.usage import partitions, sampling
from apps.clusters.usage.levels import DAY, HOUR, MINUTE, RAW, TEN, Level, closed_until, floor

# Use as a share of what is asked: a wave over the day, another for each series. Figures at noon of series 0: 0.5.
_WAVE = "(0.45 + 0.3 * sin(extract(epoch FROM a.at) / 13751 + s.id) * cos(extract(epoch FROM a.at) / 5000))"
_COLUMNS = (
    "at, series_id, used_cpu_m, asked_cpu_m, used_memory_b, asked_memory_b, asked_gpu, pods, "
    "room_cpu_m, room_memory_b, room_gpu"
)


def sample_now(cluster: Cluster, now: datetime | None = None) -> None:
    """One real round of samples: the pods' and nodes' own figures, as if metrics-server had just measured them."""
    nodes = [
        {"name": node.name, "cpu": node.used_cpu_m, "memory": node.used_memory_b}
        for node in cluster.nodes.exclude(used_cpu_m=None)
    ]
    pods = [
        {"namespace": pod.namespace, "name": pod.name, "cpu": pod.used_cpu_m, "memory": pod.used_memory_b}
        for pod in cluster.pods.exclude(used_cpu_m=None)
    ]
    sampling.record(cluster.pk, nodes, pods, at=now)


def fill(
    *,
    now: datetime,
    spans: dict[Level, timedelta] | None = None,
    clusters: Sequence[int] | None = None,
    step_factor: int = 1,
) -> dict[str, int]:
    """Give every series that was sampled just now a past; returns the rows written by table.

    `spans` says how far back each level goes (all of what it keeps unless told), `clusters` whose series (all unless
    told). With `step_factor` only every so-many-th window is written.
    """
    spans = spans or {level: level.kept for level in (RAW, MINUTE, TEN, HOUR, DAY)}
    until = {level: floor(closed_until(now), level.step) for level in spans}
    return {
        level.table: _fill(level, until[level] - span, until[level], clusters, step_factor)
        for level, span in spans.items()
    }


def _fill(level: Level, start: datetime, end: datetime, clusters: Sequence[int] | None, step_factor: int) -> int:
    start = floor(start, level.step)
    partitions.ensure(level, start, end)
    seconds = int(level.step.total_seconds())
    rolled, extra = "", ""
    if level is not RAW:
        rolled = ", seconds, used_seconds, used_cpu_max_m, used_memory_max_b"
        extra = (
            f", {seconds}, CASE WHEN o.used_cpu_m IS NULL THEN 0 ELSE {seconds} END, "
            f"o.asked_cpu_m * least(1, {_WAVE} + 0.2) + 0 * o.used_cpu_m, o.asked_memory_b + 0 * o.used_memory_b"
        )
    with connection.cursor() as cursor:
        # What is not measured now (null) was not measured then: adding 0 times null keeps it so.
        cursor.execute(
            f"INSERT INTO {level.table} ({_COLUMNS}{rolled}) SELECT a.at, s.id, o.asked_cpu_m * {_WAVE} "
            f"+ 0 * o.used_cpu_m, o.asked_cpu_m, o.asked_memory_b * (0.4 + 0.4 * {_WAVE}) + 0 * o.used_memory_b, "
            f"o.asked_memory_b, o.asked_gpu, o.pods, o.room_cpu_m, o.room_memory_b, o.room_gpu{extra} "
            "FROM generate_series(%s::timestamptz, %s::timestamptz - interval '1 us', %s) AS a(at) "
            f"CROSS JOIN (SELECT DISTINCT ON (series_id) * FROM {RAW.table} WHERE at >= %s "
            "ORDER BY series_id, at DESC) o JOIN clusters_usageseries s ON s.id = o.series_id "
            "WHERE (%s OR s.kind = ANY(%s)) AND (%s OR s.cluster_id = ANY(%s)) ON CONFLICT DO NOTHING",
            [
                *(start, end, level.step * step_factor, _newest() - RAW.span),
                *(not level.kinds, [kind.value for kind in level.kinds]),
                *(clusters is None, list(clusters or [])),
            ],
        )
        return cursor.rowcount


def _newest() -> datetime:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT max(at) FROM {RAW.table}")
        newest: datetime = cursor.fetchone()[0]
    return newest

"""From an accepted request to a Job: 500 runs at 8 clients, against one thread that makes the same Jobs directly.

First on the local cluster as it is, whose API server keeps everything in memory on this very machine: a Job takes it
some 4 ms. Then with a pause for each object, by which it is as far away as a real one that was measured (21 to 44 a
second by one thread). And then again beside ten other clusters of which six fail, each with 200 runs that can't go on.
"""

import time
from collections.abc import Iterator
from typing import Any

import urllib3

from benchmarks.figures import Figure, percentile
from benchmarks.spine._stage import Neighbours, Stage, stage, until

RUNS, CLIENTS, UNSETTLED = 500, 8, 200
AS_A_REAL_ONE = 0.025


def run() -> Iterator[Figure]:
    """Direct and ours, near and far; and beside others."""
    urllib3.disable_warnings()
    with stage() as bench:
        _ours(bench, 20, "warm-up")
        yield from _compared(bench, "next_door")
        bench.slow_down(AS_A_REAL_ONE)
        *figures, rate = _compared(bench, "far")
        yield from figures
        yield from _beside(bench, rate)


def _compared(bench: Stage, where: str) -> Iterator[Figure]:
    direct, floor = _direct(bench, where)
    rate, waits = _ours(bench, RUNS, where)
    beside = {"direct_per_s": round(direct, 1), "direct_p50_ms": round(floor, 1), "share": round(rate / direct, 2)}
    late = {"p95_ms": round(percentile(waits, 95), 1), "direct_p50_ms": round(floor, 1)}
    yield Figure(f"launch_p50_over_direct_{where}", percentile(waits, 50) - floor, "ms", goal=50.0, beside=late)
    yield Figure(f"launch_rate_{where}", rate, "runs/s", goal=0.8 * direct, at_least=True, beside=beside)


def _beside(bench: Stage, healthy: Figure) -> Iterator[Figure]:
    neighbours = Neighbours()
    try:
        neighbours.register(bench.principal)
        for name in neighbours.servers:
            bench.wish(name, UNSETTLED)
        _settle()
        rate, waits = _ours(bench, RUNS, "beside")
    finally:
        neighbours.close()
    beside = {"healthy_per_s": round(healthy.value, 1), "p50_ms": round(percentile(waits, 50), 1)}
    goal = 0.7 * healthy.value
    yield healthy
    yield Figure("launch_rate_beside_failing_clusters", rate, "runs/s", goal=goal, at_least=True, beside=beside)


def _settle() -> None:
    """The first storm is over: what fails is known to fail, and what is well waits for its Jobs to end."""
    from apps.clusters.models import Cluster
    from apps.experiments.models import Run

    bad = ("hole-0", "hole-1", "hole-2", "closed-0", "closed-1")
    until(
        lambda: Cluster.objects.filter(name__in=bad, state="Unreachable").count() == len(bad),
        "the failing clusters to be known as such",
        timeout=120,
    )
    well = Run.objects.filter(cluster__name__startswith="well-", state="Pending")
    until(lambda: not well.exists(), "the well clusters to have their Jobs", timeout=300)


def _ours(bench: Stage, count: int, experiment: str) -> tuple[float, list[float]]:
    """Runs a second from the first acceptance to the last Job, and the milliseconds until each Job was there."""
    bench.launch(count, CLIENTS, experiment)
    until(lambda: not bench.pending(experiment), "all Jobs to be made", timeout=300)
    noted, accepted = bench.moments(experiment)
    seconds = (max(noted.values()) - min(accepted.values())).total_seconds()
    return count / seconds, bench.waits(experiment)


def _direct(bench: Stage, where: str) -> tuple[float, float]:
    """The same Jobs by the same client code in one thread: a second, and the milliseconds of one."""
    from apps.clusters.models import Cluster
    from apps.clusters.services import connect
    from apps.experiments import services

    wish: dict[str, Any] = {"experiment": "direct", "cluster": "home", "image": "busybox", "command": ["true"]}
    wish |= {"resources": {"cpu": "10m", "memory": "16Mi"}}
    made = services.preview_runs(principal=bench.principal, project=bench.project, wishes=[wish])
    job = made.objects[-1]
    client = connect(Cluster.objects.get(name="home"))
    times = []
    began = time.perf_counter()
    for number in range(RUNS):
        named = job | {"metadata": job["metadata"] | {"name": f"direct-{where.replace('_', '-')}-{number}"}}
        started = time.perf_counter()
        client.create(named)
        times.append((time.perf_counter() - started) * 1000)
    return RUNS / (time.perf_counter() - began), percentile(times, 50)

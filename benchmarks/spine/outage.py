"""Redis is gone for a minute: what is asked for meanwhile is done all the same, a little later."""

import threading
import time
from collections.abc import Iterator

from benchmarks.figures import Figure, percentile
from benchmarks.spine._stage import Stage, stage, until

EACH_SECOND = 2
BEFORE_SECONDS, GONE_SECONDS = 30, 60


def run() -> Iterator[Figure]:
    """Runs at a steady pace, before and during the loss."""
    with stage() as bench:
        _steadily(bench, "warm-up", 5)
        before = _steadily(bench, "before", BEFORE_SECONDS)
        bring_back = bench.servers.lose("valkey")
        try:
            during = _steadily(bench, "during", GONE_SECONDS)
        finally:
            bring_back()
    usual, late = percentile(before, 95), percentile(during, 95)
    beside = {"p95_before_ms": round(usual), "p95_during_ms": round(late), "runs": len(during)}
    yield Figure("later_while_redis_is_gone", (late - usual) / 1000, "s", goal=3.0, beside=beside)
    lost = EACH_SECOND * GONE_SECONDS - len(during)
    yield Figure("lost_while_redis_is_gone", lost, "runs", goal=0)


def _steadily(bench: Stage, experiment: str, seconds: int) -> list[float]:
    """Launch so many runs a second; the milliseconds from each acceptance to its Job."""
    threads = []
    began = time.monotonic()
    for number in range(seconds * EACH_SECOND):
        time.sleep(max(0.0, began + number / EACH_SECOND - time.monotonic()))
        threads.append(threading.Thread(target=bench.launch, args=(1, 1, experiment)))
        threads[-1].start()
    for thread in threads:
        thread.join()
    until(lambda: not bench.pending(experiment), "all Jobs to be made", timeout=120)
    return bench.waits(experiment)

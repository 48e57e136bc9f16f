"""A thousand runs that can't go on: how often they are tried, minute by minute, once they have been stuck for long."""

import time
from collections.abc import Iterator

import urllib3

from benchmarks.figures import Figure
from benchmarks.spine._stage import Neighbours, stage, until

RUNS = 1000
LONG_SECONDS, MINUTES = 300.0, 10


def run() -> Iterator[Figure]:
    """A cluster that answers, and forbids whatever is to be made."""
    urllib3.disable_warnings()
    neighbours = Neighbours()
    try:
        with stage() as bench:
            neighbours.register(bench.principal, "forbidden-0")
            bench.wish("forbidden-0", RUNS)
            until(lambda: neighbours.asked("forbidden-0") >= RUNS, "each of them to be tried", timeout=300)
            time.sleep(LONG_SECONDS)  # a measured time
            minutes = []
            for _ in range(MINUTES):
                before = neighbours.asked("forbidden-0")
                time.sleep(60.0)
                minutes.append(neighbours.asked("forbidden-0") - before)
    finally:
        neighbours.close()
    beside = {"runs": RUNS, "stuck_for_s": LONG_SECONDS, "each_minute": minutes}
    yield Figure("tries_a_minute_of_stuck_runs", max(minutes), "tries/min", goal=1000.0, beside=beside)

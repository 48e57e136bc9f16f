"""How many web processes pay: the same load on 1, 2 and 4 of them, by turns, on one Postgres."""

import functools
from collections.abc import Iterator

from benchmarks.figures import Figure
from benchmarks.tracking._sides import with_processes
from benchmarks.tracking.calls import BATCH, CLIENTS, ROUNDS, Used, batches, metrics, one_round

COUNTS = (1, 2, 4)


def run() -> Iterator[Figure]:
    """Start all of them, then ask each in every round."""
    with with_processes(COUNTS) as (servers, sides):
        for name, asks in (("log-batch", functools.partial(batches, keys=BATCH)), ("log-metric", metrics)):
            clients = {count: [asks(side) for _ in range(CLIENTS)] for count, side in sides.items()}
            totals = {count: Used() for count in COUNTS}
            for _ in range(ROUNDS):
                for count, side in sides.items():
                    totals[count] += one_round(servers, side, clients[count])
            for count, used in totals.items():
                times = used.rate / totals[1].rate
                beside = {"per_second": round(used.rate, 1)} | used.each("our")
                yield Figure(f"rate over that of one web process: {name}, {count}", times, "times", beside=beside)

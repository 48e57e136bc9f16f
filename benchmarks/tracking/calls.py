"""The calls that a training makes, beside a stock `mlflow server` on the same Postgres.

Both are asked by turns, in short rounds, so that the machine's moods hit both. Beside each ratio are both sides'
figures, and the processor time that a request takes: of the web processes, and of Postgres, which both share and which
works for one of them at a time. On a busy machine the clock also counts waiting for a core, that does not.
"""

import functools
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.clusters._servers import Servers
from benchmarks.figures import Figure, percentile
from benchmarks.tracking._sides import Side, cpu_of, sides
from benchmarks.web._load import Line

BATCH, CLIENTS = 100, 8
ROUNDS, SECONDS = 4, 2.0
TURNS, WARM_UP = 120, 20
# Stands for a number of so many digits, so that every request is as long as the first.
STEP = b"1234567890"

Asks = Callable[[], bytes]


@dataclass
class Used:
    """Requests, the seconds that they took, and the processor time of the server and of Postgres."""

    requests: int = 0
    seconds: float = 0.0
    server: float = 0.0
    postgres: float = 0.0

    def __add__(self, other: "Used") -> "Used":
        return Used(
            self.requests + other.requests,
            self.seconds + other.seconds,
            self.server + other.server,
            self.postgres + other.postgres,
        )

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds

    def each(self, name: str) -> dict[str, float]:
        """Milliseconds of processor time for a request."""
        return {
            f"{name}_cpu_ms": round(self.server * 1000 / self.requests, 3),
            f"{name}_postgres_cpu_ms": round(self.postgres * 1000 / self.requests, 3),
        }


def run() -> Iterator[Figure]:
    """Start both servers, then measure call by call."""
    with sides() as (servers, ours, theirs):
        for keys in (BATCH, BATCH // 10):
            name = f"log-batch of {BATCH} metrics, {keys} keys, {CLIENTS} clients"
            yield _rates(name, servers, (ours, theirs), functools.partial(batches, keys=keys), 10.0)
        yield _rates(f"log-metric, {CLIENTS} clients", servers, (ours, theirs), metrics)
        for name, asks, goal in (
            ("log-metric", metrics, 0.25),
            ("log-parameter", _params, None),
            ("set-tag", _tags, None),
            ("create run", _creations, 0.25),
            ("get run", _readings, None),
        ):
            yield _medians(name, servers, (ours, theirs), asks, goal)


def batches(side: Side, *, keys: int) -> Asks:
    """Batches of a run of its own, each of some steps of so many metrics."""
    at = int(STEP)
    metrics = [
        {"key": f"metric/{n % keys:03}", "value": 0.25 + n, "timestamp": 1700000000000 + at, "step": at + n // keys}
        for n in range(BATCH)
    ]
    # A step a metric of a key, each request ten further: numbers of ten digits, one for each step of the batch.
    sent = side.post("runs/log-batch", {"run_id": side.new_run(), "metrics": metrics, "params": [], "tags": []})
    steps = [str(at + n).encode() for n in range(BATCH // keys)]
    counter = itertools.count(2_000_000_000, len(steps))

    def ask() -> bytes:
        number, body = next(counter), sent
        for place, step in enumerate(steps):
            body = body.replace(b'"step": ' + step, b'"step": %d' % (number + place))
        return body

    return ask


def metrics(side: Side) -> Asks:
    """One step after the other of a metric of a run of its own."""
    body = {"run_id": side.new_run(), "key": "loss", "value": 0.5, "timestamp": 1700000000000, "step": int(STEP)}
    return _numbered(side.post("runs/log-metric", body))


def _params(side: Side) -> Asks:
    return _numbered(side.post("runs/log-parameter", {"run_id": side.new_run(), "key": STEP.decode(), "value": "0.1"}))


def _tags(side: Side) -> Asks:
    return _numbered(side.post("runs/set-tag", {"run_id": side.new_run(), "key": "team", "value": STEP.decode()}))


def _creations(side: Side) -> Asks:
    body = {
        "experiment_id": side.experiment,
        "start_time": 1700000000000,
        "run_name": "trial",
        "tags": [{"key": f"mlflow.{name}", "value": "vera"} for name in ("user", "source.name", "source.type")],
    }
    sent = side.post("runs/create", body)
    return lambda: sent


def _readings(side: Side) -> Asks:
    uid, line = side.new_run(), Line(side.port)
    for kind in ("params", "tags", "metrics"):
        more = {"timestamp": 1, "step": 1} if kind == "metrics" else {}
        listed = [{"key": f"{kind}-{n}", "value": 1.5 if more else "1", **more} for n in range(10)]
        line.ask(side.post("runs/log-batch", {"run_id": uid, kind: listed}))
    line.close()
    sent = side.get(f"runs/get?run_id={uid}")
    return lambda: sent


def _numbered(sent: bytes) -> Asks:
    numbers = itertools.count(2_000_000_000)
    return lambda: sent.replace(STEP, b"%d" % next(numbers))


def _rates(
    name: str, servers: Servers, both: tuple[Side, Side], asks: Callable[[Side], Asks], goal: float | None = None
) -> Figure:
    clients = {side.name: [asks(side) for _ in range(CLIENTS)] for side in both}
    totals = {side.name: Used() for side in both}
    for _ in range(ROUNDS):
        for side in both:
            totals[side.name] += one_round(servers, side, clients[side.name])
    ours, theirs = (totals[side.name] for side in both)
    beside = {"per_second": round(ours.rate, 1), "mlflow_per_second": round(theirs.rate, 1)}
    return Figure(
        f"rate over MLflow's: {name}",
        ours.rate / theirs.rate,
        "times",
        goal,
        at_least=True,
        beside=beside | ours.each("our") | theirs.each("mlflow"),
    )


def one_round(servers: Servers, side: Side, clients: list[Asks]) -> Used:
    """So many clients for some seconds."""
    counts, failed = [0] * len(clients), []
    before, began = cpu_of(servers, side), time.perf_counter()

    def work(number: int) -> None:
        line = Line(side.port)
        while time.perf_counter() < began + SECONDS:
            status = line.ask(clients[number]())
            if status != 200:
                failed.append(status)
            counts[number] += 1
        line.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(clients))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, (side.name, failed[:3])
    took, after = time.perf_counter() - began, cpu_of(servers, side)
    return Used(sum(counts), took, after[0] - before[0], after[1] - before[1])


def _medians(
    name: str, servers: Servers, both: tuple[Side, Side], asks: Callable[[Side], Asks], goal: float | None
) -> Figure:
    times: dict[str, list[float]] = {side.name: [] for side in both}
    totals = {side.name: Used() for side in both}
    lines = {side.name: (Line(side.port), asks(side)) for side in both}
    for turn in range(TURNS // WARM_UP + 1):
        for side in both:
            line, ask = lines[side.name]
            before = cpu_of(servers, side)
            for _ in range(WARM_UP):
                sent, began = ask(), time.perf_counter()
                status = line.ask(sent)
                if turn:
                    times[side.name].append((time.perf_counter() - began) * 1000)
                assert status == 200, (side.name, name, status)
            after = cpu_of(servers, side)
            if turn:
                totals[side.name] += Used(WARM_UP, 1.0, after[0] - before[0], after[1] - before[1])
    for line, _ in lines.values():
        line.close()
    ours, theirs = (percentile(times[side.name], 50) for side in both)
    beside = {"p50_ms": round(ours, 2), "mlflow_p50_ms": round(theirs, 2)}
    beside |= totals[both[0].name].each("our") | totals[both[1].name].each("mlflow")
    return Figure(f"p50 over MLflow's: {name}", ours / theirs, "times", goal, beside=beside)

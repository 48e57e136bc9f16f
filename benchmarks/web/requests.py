"""The cost of a request in the web process, over a bare Django view that does the same minimum on the same server.

Both are started as production starts them, on one Postgres and one Valkey, and are asked by turns over connections
that stay open. `value` is the difference of the two medians at one client. Beside it: both medians, the processor time
of the web process for a request (`cpu_ms`; on a busy machine the clock also counts waiting for a core, this does not),
and how many requests a second eight clients get answered.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.clusters._servers import Servers
from benchmarks.figures import Figure, percentile
from benchmarks.usage import cpu_seconds
from benchmarks.web._load import HOST, Ask, Line, in_turns, rate
from controlplane.embedded import ports
from controlplane.embedded.waiting import wait_for

ROUNDS, WARM_UP = 300, 40
CLIENTS, SECONDS = 8, 3.0
WORKERS = "2"


@dataclass(frozen=True)
class Server:
    """A web server: where it listens, and its first process."""

    port: int
    pid: int


@dataclass(frozen=True)
class Case:
    """The requests to Flotilla and to the bare views; `goal` is the most that the difference may be, in ms."""

    name: str
    ours: Ask
    bare: Ask
    goal: float | None = None


def run() -> Iterator[Figure]:
    """Start both servers, then measure case by case."""
    with Servers() as servers:
        access_file = servers.directory / "made.json"
        servers.run("-m", "benchmarks.web._fill", str(access_file))
        ours = _start(servers, "web", "controlplane.settings")
        bare = _start(servers, "bare", "benchmarks.web._bare_settings")
        for case in _cases(json.loads(access_file.read_text())):
            yield _measure(case, ours, bare)


def _cases(access: dict[str, str]) -> list[Case]:
    bearer = {"Authorization": f"Bearer {access['token']}"}
    of_run = {"Authorization": f"Bearer {access['run_token']}"}
    metric = json.dumps({"run_id": access["run"], "key": "loss", "value": 0.5, "timestamp": 1700000000000, "step": 7})
    log, body = "/api/2.0/mlflow/runs/log-metric", metric.encode()
    cookie = {"Cookie": f"sessionid={access['session']}"}
    return [
        Case("log-metric", Ask(log, "POST", of_run, body), Ask("/log-metric", "POST", {}, body), 3.0),
        Case("log-metric, a person's token", Ask(log, "POST", bearer, body), Ask("/log-metric", "POST", {}, body), 3.0),
        Case("REST list of 20 runs", Ask("/api/v1/runs?limit=20", headers=bearer), Ask("/runs"), 5.0),
        Case("REST list of 20 clusters", Ask("/api/v1/clusters?limit=20", headers=bearer), Ask("/clusters"), 5.0),
        Case("page: project", Ask("/p/vision/", headers=cookie), Ask("/page")),
        Case("page: experiment", Ask("/p/vision/experiments/digits/", headers=cookie), Ask("/page")),
        Case("probe", Ask("/health"), Ask("/page")),
    ]


def _start(servers: Servers, name: str, settings: str) -> Server:
    port = ports.free_port()
    # Children inherit it; the servers' own settings know no address.
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": settings,
        "FLOTILLA_ALLOWED_HOSTS": HOST,
        "FLOTILLA_PUBLIC_URL": f"http://{HOST}:{port}",
        "FLOTILLA_DB_POOL": "true",
        "FLOTILLA_API_RATE": "1000000/min",
    }
    # As the image does: see CMD in the Dockerfile.
    options = ("--host", HOST, "--port", str(port), "--no-server-header", "--no-access-log", "--workers", WORKERS)
    process = servers.start(name, "-m", "uvicorn", "controlplane.asgi:application", *options)
    wait_for(lambda: _answers(port), f"the server {name!r} to answer", timeout=60)
    return Server(port, process.pid)


def _answers(port: int) -> bool:
    if ports.is_free(port):
        return False
    line = Line(port)
    line.ask(Ask("/nowhere").encoded())
    line.close()
    return True


def _measure(case: Case, ours: Server, bare: Server) -> Figure:
    asks = case.ours.encoded(), case.bare.encoded()
    lines = Line(ours.port), Line(bare.port)
    in_turns(*lines, asks, WARM_UP)
    used = [cpu_seconds(server.pid, with_children=True) for server in (ours, bare)]
    times = in_turns(*lines, asks, ROUNDS)
    used = [
        cpu_seconds(server.pid, with_children=True) - before for server, before in zip((ours, bare), used, strict=True)
    ]
    for line in lines:
        line.close()
    rates = [
        rate(server.port, sent, clients=CLIENTS, seconds=SECONDS)
        for server, sent in zip((ours, bare), asks, strict=True)
    ]
    medians = [percentile(milliseconds, 50) for milliseconds in times]
    beside = {
        "p50_ms": round(medians[0], 2),
        "bare_p50_ms": round(medians[1], 2),
        "p95_ms": round(percentile(times[0], 95), 2),
        "cpu_ms": round(used[0] * 1000 / ROUNDS, 2),
        "bare_cpu_ms": round(used[1] * 1000 / ROUNDS, 2),
        "per_second": round(rates[0]),
        "bare_per_second": round(rates[1]),
    }
    return Figure(f"over_bare: {case.name}", medians[0] - medians[1], "ms", case.goal, beside=beside)

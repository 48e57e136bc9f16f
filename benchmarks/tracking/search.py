"""Searches among very many runs of one experiment, beside a stock `mlflow server` on the same Postgres.

Both have the same runs, each with ten params, ten metrics and five tags, written into their tables by Postgres itself.
`RUNS=50000 make bench NAME=tracking ARGS=search` takes fewer of them. The processor's time of a search is that of web
processes and Postgres together: on a busy machine the clock also counts waiting for a core.
"""

import base64
import json
import os
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

from benchmarks.clusters._servers import PASSWORD, Servers
from benchmarks.figures import Figure, percentile
from benchmarks.tracking._runs import fill_ours, fill_theirs
from benchmarks.tracking._sides import API, PEER_DATABASE, Side, cpu_of, sides
from benchmarks.web._load import HOST, Ask, Line
from controlplane.embedded import postgres

RUNS = int(os.environ.get("RUNS", "500000"))
PAGE = 100
# The last page that is asked for: 900, or near the end where there are fewer runs.
FAR = min(900, RUNS // PAGE * 9 // 10)
TURNS, PAGE_TURNS = 12, 40
COMPARED = 100
GOAL = 1 / 20

SEARCHES: dict[str, dict[str, Any]] = {
    "first page by time": {},
    "filter on a metric": {"filter": "metrics.m3 > 0.99"},
    "order by a metric": {"order_by": ["metrics.m3 DESC"]},
    "param and tag": {"filter": "params.p0 = '7' and tags.t2 = 'b'"},
}


def run() -> Iterator[Figure]:
    """Fill both, then ask each in turn."""
    with sides() as (servers, ours, theirs):
        template = ours.new_run()
        database = int(servers.database_url.rpartition(":")[2].partition("/")[0])
        began = time.perf_counter()
        fill_ours(servers.database_url, template, RUNS)
        fill_theirs(postgres.url(database, PASSWORD, PEER_DATABASE), RUNS)
        yield Figure(f"filling both with {RUNS} runs", time.perf_counter() - began, "s")
        for name, asked in SEARCHES.items():
            yield _compared(servers, name, (ours, asked), (theirs, asked))
        offset = base64.b64encode(json.dumps({"offset": FAR * PAGE}).encode()).decode()
        far = ({"page_token": _token(ours, FAR)}, {"page_token": offset})
        yield _compared(servers, f"page {FAR}", (ours, far[0]), (theirs, far[1]))
        yield from _pages(servers, ours)


def _search(side: Side, more: dict[str, Any]) -> dict[str, Any]:
    return {"experiment_ids": [side.experiment], "max_results": PAGE, **more}


def _token(side: Side, page: int) -> str:
    """The token of a page far behind: Flotilla's pages are reached one after the other."""
    token = ""
    for _ in range(page):
        token = _answer(side, {"page_token": token})["next_page_token"]
    return token


def _answer(side: Side, more: dict[str, Any]) -> dict[str, Any]:
    headers = {**side.headers, "Content-Type": "application/json"}
    body = json.dumps(_search(side, more)).encode()
    request = urllib.request.Request(f"http://{HOST}:{side.port}{API}/runs/search", body, headers)
    with urllib.request.urlopen(request, timeout=60) as reply:
        answer: dict[str, Any] = json.load(reply)
    return answer


def _compared(servers: Servers, name: str, *asked: tuple[Side, dict[str, Any]]) -> Figure:
    found = [[run["info"]["run_id"] for run in _answer(side, more).get("runs", [])] for side, more in asked]
    assert found[0], f"{name}: nothing was found"
    sends = [(side, side.post("runs/search", _search(side, more))) for side, more in asked]
    times: tuple[list[float], list[float]] = ([], [])
    work = [0.0, 0.0]
    for _ in range(TURNS):
        for number, (side, sent) in enumerate(sends):
            before = sum(cpu_of(servers, side))
            times[number].append(_took(side.port, sent, name))
            work[number] += sum(cpu_of(servers, side)) - before
    ours, theirs = (percentile(spent, 50) for spent in times)
    beside = {"p50_ms": round(ours, 2), "mlflow_p50_ms": round(theirs, 2), "runs": RUNS, "same": found[0] == found[1]}
    beside |= {"cpu_ms": round(work[0] * 1000 / TURNS, 1), "mlflow_cpu_ms": round(work[1] * 1000 / TURNS, 1)}
    return Figure(f"p50 over MLflow's: {name}", ours / theirs, "times", GOAL, beside=beside)


def _pages(servers: Servers, ours: Side) -> Iterator[Figure]:
    """What a person waits for: the table of the runs, and some of them compared."""
    file = servers.directory / "session"
    servers.run("-m", "benchmarks.web._session", "vera", str(file))
    cookie = {"Cookie": f"sessionid={file.read_text()}"}
    compared = "&".join(f"run={run['info']['run_id']}" for run in _answer(ours, {})["runs"][:COMPARED])
    for name, path, goal in (
        ("table of runs", "/p/bench/experiments/bench/", 100.0),
        ("table of runs by a metric", "/p/bench/experiments/bench/?sort=-metrics.m3", 100.0),
        ("table of runs by a filter", "/p/bench/experiments/bench/?filter=metrics.m3>0.99", 100.0),
        (f"compare of {COMPARED} runs", f"/p/bench/runs/compare?experiment=bench&{compared}", 300.0),
    ):
        sent = Ask(path, headers=cookie).encoded()
        _took(ours.port, sent, name)
        before = sum(cpu_of(servers, ours))
        times = [_took(ours.port, sent, name) for _ in range(PAGE_TURNS)]
        work = (sum(cpu_of(servers, ours)) - before) * 1000 / PAGE_TURNS
        beside = {"p50_ms": round(percentile(times, 50), 1), "cpu_ms": round(work, 1), "runs": RUNS}
        yield Figure(f"p95 of a page: {name}", percentile(times, 95), "ms", goal, beside=beside)


def _took(port: int, sent: bytes, name: str) -> float:
    """Milliseconds of one request, on a line of its own: a server hangs up while the other one takes its time."""
    line = Line(port)
    began = time.perf_counter()
    status = line.ask(sent)
    took = (time.perf_counter() - began) * 1000
    line.close()
    assert status == 200, (name, status)
    return took

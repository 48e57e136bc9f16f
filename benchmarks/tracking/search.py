"""Searches among very many runs of one experiment, beside a stock `mlflow server` on the same Postgres.

Both have the same runs, each with ten params, ten metrics and five tags, written into their tables by Postgres itself.
`RUNS=50000 make bench NAME=tracking ARGS=search` takes fewer of them.
"""

import base64
import json
import os
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import psycopg

from benchmarks.clusters._servers import PASSWORD, Servers
from benchmarks.figures import Figure, percentile
from benchmarks.tracking._sides import API, PEER_DATABASE, Side, sides
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
# A number from 0 to 1 out of two others, the same on both sides.
_CHANCE = "(('x' || substr(md5({run} || '/' || {key}), 1, 8))::bit(32)::bigint & 2147483647) / 2147483647.0"
_UID = "md5('run ' || n)"
_BEGAN = 1_700_000_000
_VALUES = {
    "metric": ("generate_series(0, 9)", "'m' || k", _CHANCE.format(run="n", key="k")),
    "param": ("generate_series(0, 9)", "'p' || k", "((n * (k + 3)) % 10)::text"),
    "tag": ("generate_series(0, 4)", "'t' || k", "chr(97 + (n / (k + 1) % 5)::int)"),
}


def run() -> Iterator[Figure]:
    """Fill both, then ask each in turn."""
    with sides() as (servers, ours, theirs):
        template = ours.new_run()
        database = int(servers.database_url.rpartition(":")[2].partition("/")[0])
        _fill_ours(servers.database_url, template)
        _fill_theirs(postgres.url(database, PASSWORD, PEER_DATABASE))
        for name, asked in SEARCHES.items():
            yield _compared(name, (ours, asked), (theirs, asked))
        offset = base64.b64encode(json.dumps({"offset": FAR * PAGE}).encode()).decode()
        yield _compared(f"page {FAR}", (ours, {"page_token": _token(ours, FAR)}), (theirs, {"page_token": offset}))
        yield from _pages(servers, ours)


def _fill_ours(url: str, template: str) -> None:
    """Copies of the row of one run, which knows every column, and what they logged."""
    own = {
        "uid": _UID,
        "name": "'run-' || n",
        "state": "'Succeeded'",
        "started_at": f"to_timestamp({_BEGAN} + n)",
        "created_at": f"to_timestamp({_BEGAN} + n)",
        "ended_at": f"to_timestamp({_BEGAN} + n + 60)",
        "packing": "2",
    }
    with psycopg.connect(url, autocommit=True) as connection:
        # No foreign key is looked up: all rows are made of those that they refer to.
        connection.execute("SET session_replication_role = replica")
        columns = connection.execute(
            "SELECT column_name FROM information_schema.columns"
            " WHERE table_name = 'experiments_run' AND column_name <> 'id'"
        ).fetchall()
        names = [name for (name,) in columns]
        quoted = [f'"{name}"' for name in names]
        values = [own.get(name, f'"{name}"') for name in names]
        connection.execute(
            f"INSERT INTO experiments_run ({', '.join(quoted)}) SELECT {', '.join(values)}"
            f" FROM experiments_run, generate_series(1, {RUNS}) AS n WHERE uid = '{template}'",
        )
        # The one that was copied is no part of it.
        connection.execute("UPDATE experiments_run SET deleted_at = now() WHERE uid = %s", [template])
        for table, kind, more in (
            ("latestmetric", "metric", ", step, timestamp"),
            ("param", "param", ""),
            ("tag", "tag", ""),
        ):
            series, key, value = _VALUES[kind]
            connection.execute(
                f"INSERT INTO experiments_{table} (run_id, experiment_id, key, value{more})"
                f" SELECT run.id, run.experiment_id, {key}, {value}{', 9, 1' if more else ''}"
                f" FROM generate_series(1, {RUNS}) AS n JOIN experiments_run AS run ON run.uid = {_UID}, {series} AS k",
            )
        connection.execute("VACUUM ANALYZE")


def _fill_theirs(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        # No foreign key is looked up: all rows are made of those that they refer to.
        connection.execute("SET session_replication_role = replica")
        connection.execute(
            "INSERT INTO runs (run_uuid, name, source_type, user_id, status, start_time, end_time, lifecycle_stage,"
            f" artifact_uri, experiment_id) SELECT {_UID}, 'run-' || n, 'LOCAL', 'vera', 'FINISHED',"
            f" ({_BEGAN} + n) * 1000::bigint, ({_BEGAN} + n + 60) * 1000::bigint, 'active', 'mlflow-artifacts:/0/x', 0"
            f" FROM generate_series(1, {RUNS}) AS n",
        )
        for table, kind, more in (
            ("latest_metrics", "metric", ", step, timestamp, is_nan"),
            ("params", "param", ""),
            ("tags", "tag", ""),
        ):
            series, key, value = _VALUES[kind]
            connection.execute(
                f"INSERT INTO {table} (run_uuid, key, value{more})"
                f" SELECT {_UID}, {key}, {value}{', 9, 1, false' if more else ''}"
                f" FROM generate_series(1, {RUNS}) AS n, {series} AS k",
            )
        connection.execute("VACUUM ANALYZE")


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


def _compared(name: str, *asked: tuple[Side, dict[str, Any]]) -> Figure:
    found = [[run["info"]["run_id"] for run in _answer(side, more).get("runs", [])] for side, more in asked]
    assert found[0], f"{name}: nothing was found"
    sends = [(side.port, side.post("runs/search", _search(side, more))) for side, more in asked]
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(TURNS):
        for spent, (port, sent) in zip(times, sends, strict=True):
            spent.append(_took(port, sent, name))
    ours, theirs = (percentile(spent, 50) for spent in times)
    beside = {"p50_ms": round(ours, 2), "mlflow_p50_ms": round(theirs, 2), "runs": RUNS, "same": found[0] == found[1]}
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
        times = [_took(ours.port, sent, name) for _ in range(PAGE_TURNS)]
        beside = {"p50_ms": round(percentile(times, 50), 1), "runs": RUNS}
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

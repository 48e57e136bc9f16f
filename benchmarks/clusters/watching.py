"""The watcher on 50 clusters of 200 pods, with 100 changes a second: how late rows and hints are, and what it costs.

The watcher is the real process, and so are Postgres (durable, with commit timestamps) and Valkey. The API servers are
one light process of the benchmark's own (`_fleet.py`): 50 real local clusters would need more memory and time for
their own work than the watcher, and this machine's noise would be theirs. Its pods are as large as real ones, every
fourth is a run's, and metrics-server answers with new figures every 15 s, as in a fleet that works.

A row is counted when its transaction is committed, by Postgres's own clock: a trigger notes each new version of a pod.
A hint is counted when a subscriber of Redis has the first one about the cluster after that.
"""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import redis

from benchmarks.clusters._servers import Servers
from benchmarks.figures import Figure, percentile
from benchmarks.usage import cpu_seconds
from controlplane.embedded.fleet import BASE_DIR
from controlplane.embedded.waiting import wait_for

CLUSTERS = int(os.environ.get("BENCH_CLUSTERS", "50"))
PODS = int(os.environ.get("BENCH_PODS", "200"))
NODES = 10
RATE = float(os.environ.get("BENCH_RATE", "100"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "35"))
NOTE = """
CREATE UNLOGGED TABLE noted (uid text, version text, cluster_id bigint);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN INSERT INTO noted VALUES (NEW.uid, NEW.resource_version, NEW.cluster_id); RETURN NULL; END';
CREATE TRIGGER note AFTER UPDATE ON clusters_pod FOR EACH ROW
  WHEN (OLD.resource_version IS DISTINCT FROM NEW.resource_version) EXECUTE FUNCTION note();
"""


def run() -> Iterator[Figure]:
    """Start everything, measure, and clean up; about two minutes."""
    with Servers(track_commit_timestamp="on") as servers, Fleet() as fleet:
        servers.run("-m", "benchmarks.clusters._register", text=json.dumps({**fleet.access, "clusters": CLUSTERS}))
        with psycopg.connect(servers.database_url, autocommit=True) as database:
            database.execute(NOTE)
            started = time.monotonic()
            watcher = servers.start("watcher", "manage.py", "watch_clusters")
            _wait(database, "present", CLUSTERS * PODS, watcher, 90)
            yield Figure("watch_first_list", time.monotonic() - started, "s", beside={"pods": CLUSTERS * PODS})
            yield from _changes(servers, fleet, database, watcher)
            yield from _restart(servers, fleet, database, watcher)


class Fleet:
    """The process with the API servers."""

    def __enter__(self) -> "Fleet":
        arguments = [sys.executable, "-m", "benchmarks.clusters._fleet", str(CLUSTERS), str(PODS), str(NODES)]
        self._process = subprocess.Popen(
            arguments, cwd=BASE_DIR, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.access: dict[str, Any] = self._answer()
        return self

    def __exit__(self, *args: object) -> None:
        self._process.kill()
        self._process.wait(10)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def do(self, **command: Any) -> Any:
        """Obey one command; its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


class Hints:
    """A subscriber that notes when which topic was hinted."""

    def __init__(self, url: str) -> None:
        self.seen: dict[str, list[float]] = {}
        self._subscription = redis.Redis.from_url(url).pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
        self._subscription.subscribe("flotilla:hints:0")
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with suppress(redis.ConnectionError):  # the server ends before us
            for message in self._subscription.listen():
                self.seen.setdefault(json.loads(message["data"])[0], []).append(time.time())

    def after(self, topic: str, moment: float) -> float | None:
        """The moment of the first hint of the topic at or after a moment."""
        # The hint leaves right after the commit, so that the two clocks' readings may even be equal.
        return next((at for at in self.seen.get(topic, []) if at >= moment - 0.001), None)


def _changes(
    servers: Servers, fleet: Fleet, database: "psycopg.Connection[Any]", watcher: "subprocess.Popen[bytes]"
) -> Iterator[Figure]:
    hints = Hints(servers.redis_url)
    fleet.do(do="change", rate=RATE, seconds=3)  # warms caches and the planner up
    before, other_before, started = cpu_seconds(watcher.pid), cpu_seconds(fleet.pid), time.monotonic()
    changes = fleet.do(do="change", rate=RATE, seconds=SECONDS)
    took = time.monotonic() - started
    used, other = cpu_seconds(watcher.pid) - before, cpu_seconds(fleet.pid) - other_before
    memory = _memory(watcher.pid)
    wait_for(lambda: _stored(database, changes) >= len(changes), "every change to be stored", timeout=30, interval=0.5)
    time.sleep(1)  # the last hints
    rows, hinted = _delays(database, changes, hints)
    floor = _floor(servers, database)
    load = {"load_1min": round(os.getloadavg()[0], 1)}
    beside = load | {"changes": len(changes), "rate": round(len(changes) / took, 1), "lost": len(changes) - len(rows)}
    yield Figure("watch_event_to_row_p50", percentile(rows, 50) * 1000, "ms", beside=beside | floor)
    yield Figure("watch_event_to_row_p95", percentile(rows, 95) * 1000, "ms", 500, beside=load | floor)
    yield Figure("watch_event_to_hint_p50", percentile(hinted, 50) * 1000, "ms", beside={"hinted": len(hinted)})
    yield Figure("watch_event_to_hint_p95", percentile(hinted, 95) * 1000, "ms", 500, beside=load)
    yield Figure("watch_cpu", used / took * 100, "% of a core", beside={"api_servers": round(other / took * 100, 1)})
    yield Figure("watch_memory", memory["VmRSS"], "MB", 400, beside={"peak_mb": round(memory["VmHWM"], 1)})


def _delays(
    database: "psycopg.Connection[Any]", changes: list[list[Any]], hints: Hints
) -> tuple[list[float], list[float]]:
    """Seconds from each change to its row, and to its hint."""
    noted = database.execute(
        "SELECT n.uid, n.version, n.cluster_id, extract(epoch FROM pg_xact_commit_timestamp(n.xmin)) FROM noted n"
    ).fetchall()
    commits = {(uid, version): (cluster, float(at)) for uid, version, cluster, at in noted}
    rows, hinted = [], []
    for number, name, version, at in changes:
        known = commits.get((f"{number}-{name}", version))
        if known is None:
            continue
        rows.append(known[1] - at)
        hint = hints.after(f"cluster:{known[0]}", known[1])
        if hint is not None:
            hinted.append(hint - at)
    return rows, hinted


def _floor(servers: Servers, database: "psycopg.Connection[Any]") -> dict[str, float]:
    """The floor under the times: the bare upsert of ten of these rows in a transaction, and the way of a hint."""
    columns = "uid, resource_version, namespace, name, labels, status, phase, ready, restarts"
    rows = database.execute(
        f"SELECT cluster_id, jsonb_agg(r) FROM (SELECT cluster_id, {columns} FROM clusters_pod LIMIT 10) r "
        "GROUP BY cluster_id LIMIT 1"
    ).fetchone()
    assert rows is not None
    statement = (
        "UPDATE clusters_pod p SET restarts = r.restarts, status = r.status, labels = r.labels, phase = r.phase "
        "FROM jsonb_to_recordset(%s::jsonb) AS r(uid text, restarts int, status jsonb, labels jsonb, phase text) "
        "WHERE p.cluster_id = %s AND p.uid = r.uid"
    )
    text, upserts, hints = json.dumps(rows[1]), [], []
    client = redis.Redis.from_url(servers.redis_url)
    subscription = client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
    subscription.subscribe("floor")
    subscription.get_message(timeout=1)
    for _ in range(50):
        started = time.perf_counter()
        database.execute(statement, [text, rows[0]])
        upserts.append(time.perf_counter() - started)
        started = time.perf_counter()
        client.publish("floor", "x")
        while subscription.get_message(timeout=1) is None:
            pass
        hints.append(time.perf_counter() - started)
    return {
        "floor_upsert_of_10_ms": round(percentile(upserts, 50) * 1000, 2),
        "floor_hint_ms": round(percentile(hints, 50) * 1000, 2),
    }


def _restart(
    servers: Servers, fleet: Fleet, database: "psycopg.Connection[Any]", watcher: "subprocess.Popen[bytes]"
) -> Iterator[Figure]:
    """The time that a new watcher takes to bring every cluster into step, after changes while nobody watched."""
    servers.end(watcher)
    fleet.do(do="shuffle", word="restart")
    database.execute("UPDATE clusters_cluster SET synced_at = NULL")
    started = time.monotonic()
    watcher = servers.start("watcher", "manage.py", "watch_clusters")
    for count in ("nodes", "fresh", "gone"):
        _wait(database, count, CLUSTERS, watcher, 120)
    took = time.monotonic() - started
    _wait(database, "said", CLUSTERS, watcher, 60)
    told_after = time.monotonic() - started
    beside = {
        "floor_read_and_parse_s": round(asyncio.run(_bare_read(fleet.access)), 2),
        "pods": CLUSTERS * PODS,
        # On a machine that does nothing else the time would be between this and the sum of all processes.
        "watcher_cpu_s": round(cpu_seconds(watcher.pid), 2),
        "load_1min": round(os.getloadavg()[0], 1),
    }
    # Every 5 s a watcher says of all clusters how fresh they are.
    yield Figure("watch_relist_after_restart", took, "s", 20, beside=beside | {"said_in_step_s": round(told_after, 2)})
    yield Figure("watch_memory_after_relist", _memory(watcher.pid)["VmHWM"], "MB", 400, beside={"peak": True})
    servers.end(watcher)


async def _bare_read(access: dict[str, Any]) -> float:
    """The floor: every list of pods fetched and parsed, one after another, and nothing done with them."""
    import ssl

    import aiohttp

    context = ssl.create_default_context(cadata=access["ca"])
    headers = {"Authorization": f"Bearer {access['token']}"}
    started = time.monotonic()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context), headers=headers) as session:
        for number in range(CLUSTERS):
            url = f"https://127.0.0.1:{access['port']}/c{number}/api/v1/pods?limit=500"
            async with session.get(url) as response:
                json.loads(await response.read())
    return time.monotonic() - started


_COUNTS = {
    "said": "SELECT count(*) FROM clusters_cluster WHERE synced_at IS NOT NULL AND state = 'Healthy'",
    "present": "SELECT count(*) FROM clusters_pod WHERE deleted_at IS NULL",
    "fresh": "SELECT count(*) FROM clusters_pod WHERE deleted_at IS NULL AND name = 'fresh-restart'",
    "gone": "SELECT count(*) FROM clusters_pod WHERE deleted_at IS NOT NULL",
    "nodes": "SELECT count(*) FROM clusters_node WHERE labels->>'bench' = 'restart'",
}


def _wait(
    database: "psycopg.Connection[Any]", count: str, rows: int, watcher: "subprocess.Popen[bytes]", seconds: float
) -> None:
    def done() -> bool:
        assert watcher.poll() is None, "the watcher ended"
        row = database.execute(_COUNTS[count]).fetchone()
        return row is not None and row[0] >= rows

    wait_for(done, f"{rows} rows: {count}", timeout=seconds, interval=0.1)


def _stored(database: "psycopg.Connection[Any]", changes: list[list[Any]]) -> int:
    known = {(uid, version) for uid, version in database.execute("SELECT uid, version FROM noted").fetchall()}
    return sum((f"{number}-{name}", version) in known for number, name, version, _ in changes)


def _memory(pid: int) -> dict[str, float]:
    """VmRSS and VmHWM (the peak) in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines if line.startswith(("VmRSS", "VmHWM"))}

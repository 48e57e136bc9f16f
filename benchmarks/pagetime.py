"""How long a page takes in the server, for the benchmarks of pages. Needs Django set up, and rows."""

import time
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, percentile

GOAL_MS = 100.0
ROUNDS = 20


def queries_of(path: str, user: Any) -> int:
    """The number of queries that a page makes the second time that it is asked."""
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    client = Client(SERVER_NAME="localhost")
    client.force_login(user)
    client.get(path)
    with CaptureQueriesContext(connection) as queries:
        answer = client.get(path)
        count = len(queries)  # now: the next request clears the log
    assert answer.status_code == 200, f"{path} answered {answer.status_code}"
    return count


def page_time(name: str, path: str, user: Any) -> Figure:
    """The p95 in milliseconds of one page, asked `ROUNDS` times; what is called a floor has no goal."""
    from django.test import Client

    client, count = Client(SERVER_NAME="localhost"), queries_of(path, user)
    client.force_login(user)
    answer = client.get(path)
    times, work = [], []
    for _ in range(ROUNDS):
        started, worked = time.perf_counter(), _work()
        client.get(path)
        times.append((time.perf_counter() - started) * 1000)
        work.append((_work() - worked) * 1000)
    beside = {
        "p50_ms": round(percentile(times, 50), 1),
        "work_ms": round(percentile(work, 50), 1),
        "work_p95_ms": round(percentile(work, 95), 1),
        "queries": count,
        "kb": round(len(answer.content) / 1024),
    }
    return Figure(
        f"page_p95: {name}", percentile(times, 95), "ms", None if name.startswith("floor") else GOAL_MS, beside=beside
    )


def _work() -> float:
    """Processor seconds that this process and its Postgres process have used."""
    from django.db import connection

    connection.ensure_connection()
    pid = connection.connection.info.backend_pid
    return time.process_time() + int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9

"""The probes of containers, as the container runtime runs them, and the heartbeat that two of them look at."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from apps.core.process import heartbeat
from controlplane import healthcheck

ROOT = Path(__file__).resolve().parents[2]


def probe(*args: str) -> tuple[int, str]:
    """(exit code, what it said)."""
    command = [sys.executable, str(ROOT / "controlplane" / "healthcheck.py"), *args]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    return done.returncode, done.stderr


def test_a_fresh_file_is_well_and_an_old_or_missing_one_is_not(tmp_path: Path):
    file = tmp_path / "schedule"
    assert probe("file", str(file), "60") == (1, f"{file} is not there.\n")
    (tmp_path / "schedule.db").touch()
    assert probe("file", str(file), "60") == (0, "")
    hour_ago = time.time() - 3600
    os.utime(tmp_path / "schedule.db", (hour_ago, hour_ago))
    code, said = probe("file", str(file), "60")
    assert code == 1
    assert f"{file} has not changed for 360" in said


def test_says_how_it_is_used():
    code, said = probe("nonsense")
    assert code == 1
    assert "healthcheck.py web" in said


@pytest.fixture
def readiness() -> Iterator[tuple[str, dict]]:
    """The address of a staged web process, and what it does: answers `status`, notes the `host` that was asked for."""
    told: dict = {"status": 200}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told["host"] = self.headers["Host"]
            self.send_response(told["status"])
            self.end_headers()
            self.wfile.write(b"Redis can't be reached")

        def log_message(self, *args: object) -> None:
            """Keep the test's output clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/readyz", told
        server.shutdown()
        thread.join()


def test_asks_the_web_process_under_a_host_name_that_it_knows(readiness, monkeypatch: pytest.MonkeyPatch):
    url, told = readiness
    monkeypatch.setenv("FLOTILLA_ALLOWED_HOSTS", ".flotilla.example.com,other.example.com")
    assert healthcheck.web(url) == ""
    assert told["host"] == "flotilla.example.com"
    told["status"] = 503
    assert healthcheck.web(url) == "503: Redis can't be reached"


def test_says_that_nobody_answers():
    assert "No answer" in healthcheck.web("http://127.0.0.1:1/readyz")


def test_an_asyncio_process_beats_as_long_as_its_loop_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "alive"
    monkeypatch.setenv("FLOTILLA_HEARTBEAT_FILE", str(file))

    async def run() -> list[float]:
        task = asyncio.create_task(heartbeat.beat(0.01))
        times: set[float] = set()
        while len(times) < 3:
            await asyncio.sleep(0.01)
            if file.exists():
                times.add(file.stat().st_mtime)
        task.cancel()
        return sorted(times)

    assert len(asyncio.run(asyncio.wait_for(run(), 10))) == 3


def test_nothing_beats_where_nobody_looks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("FLOTILLA_HEARTBEAT_FILE", raising=False)
    asyncio.run(asyncio.wait_for(heartbeat.beat(), 5))
    assert heartbeat.heartbeat_file() is None


def test_the_worker_beats_and_goes_on_without_redis(tmp_path: Path):
    file = tmp_path / "alive"
    log = tmp_path / "worker.log"
    options = ["--concurrency", "1", "--without-gossip", "--without-mingle"]
    with log.open("wb") as output:
        worker = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "controlplane", "worker", *options],
            cwd=ROOT,
            env=os.environ | {"FLOTILLA_HEARTBEAT_FILE": str(file), "REDIS_URL": "redis://127.0.0.1:1/0"},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 60
        for _ in range(2):
            while not file.exists():
                assert worker.poll() is None, log.read_text()
                assert time.monotonic() < deadline, "the worker did not beat"
                time.sleep(0.05)
            file.unlink()
    finally:
        with contextlib.suppress(ProcessLookupError):  # it ended by itself, which failed the test above
            os.killpg(worker.pid, signal.SIGKILL)
        worker.wait(10)

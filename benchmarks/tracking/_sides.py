"""The two servers on one Postgres: Flotilla's web processes as the image starts them, and a stock `mlflow server`."""

import json
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.clusters._servers import PASSWORD, Servers
from benchmarks.usage import cpu_seconds, cpu_seconds_ever
from benchmarks.web._load import HOST, Ask
from controlplane.embedded import ports, postgres
from controlplane.embedded.processes import Command
from controlplane.embedded.waiting import wait_for

API = "/api/2.0/mlflow"
WORKERS = 2
PEER_DATABASE = "peer"
# On a busy machine workers start and answer more slowly than uvicorn lets them.
PATIENCE = ("--timeout-worker-healthcheck", "120")


@dataclass(frozen=True)
class Side:
    """One of the servers: where it listens, its first process, and the experiment that it logs to."""

    name: str
    port: int
    pid: int
    headers: dict[str, str]
    experiment: str

    def post(self, path: str, body: dict[str, Any]) -> bytes:
        """The bytes of a POST."""
        return Ask(f"{API}/{path}", "POST", self.headers, json.dumps(body).encode()).encoded()

    def get(self, path: str) -> bytes:
        """The bytes of a GET."""
        return Ask(f"{API}/{path}", headers=self.headers).encoded()

    def new_run(self) -> str:
        """The id of a run that is made for it."""
        return str(self._answer("runs/create", {"experiment_id": self.experiment})["run"]["info"]["run_id"])

    def _answer(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        headers = {**self.headers, "Content-Type": "application/json"}
        address = f"http://{HOST}:{self.port}{API}/{path}"
        request = urllib.request.Request(address, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=30) as reply:
            answer: dict[str, Any] = json.load(reply)
        return answer


@contextmanager
def sides() -> Iterator[tuple[Servers, Side, Side]]:
    """Both servers, Flotilla's first, and what they stand on."""
    command = os.environ.get("MLFLOW_COMMAND", "")
    if not shutil.which(command):
        raise SystemExit("Where is the peer? Set MLFLOW_COMMAND to an `mlflow` with its server (benchmarks/tracking).")
    with Servers() as servers:
        access_file = servers.directory / "made.json"
        servers.run("-m", "benchmarks.tracking._fill", str(access_file))
        yield servers, _ours(servers, json.loads(access_file.read_text())), _theirs(servers, command)


@contextmanager
def with_processes(counts: tuple[int, ...]) -> Iterator[tuple[Servers, dict[int, Side]]]:
    """Flotilla alone, several times on the same Postgres: with so many web processes each."""
    with Servers() as servers:
        access_file = servers.directory / "made.json"
        servers.run("-m", "benchmarks.tracking._fill", str(access_file))
        access = json.loads(access_file.read_text())
        yield servers, {count: _ours(servers, access, count) for count in counts}


def cpu_of(servers: Servers, side: Side) -> tuple[float, float]:
    """Seconds of processor time so far: of the side's web processes, and of Postgres, which both share."""
    return cpu_seconds(side.pid, with_children=True), cpu_seconds_ever(servers.pid("postgres"))


def _ours(servers: Servers, access: dict[str, str], workers: int = WORKERS) -> Side:
    port = ports.free_port()
    os.environ |= {
        "FLOTILLA_ALLOWED_HOSTS": HOST,
        "FLOTILLA_PUBLIC_URL": f"http://{HOST}:{port}",
        "FLOTILLA_DB_POOL": "true",
        "FLOTILLA_MLFLOW_RATE": "10000000/min",
    }
    options = (
        "--host",
        HOST,
        "--port",
        str(port),
        "--no-server-header",
        "--no-access-log",
        "--workers",
        str(workers),
        *PATIENCE,
    )
    process = servers.start(f"web-{workers}", "-m", "uvicorn", "controlplane.asgi:application", *options)
    return _ready("ours", port, process, {"Authorization": f"Bearer {access['token']}"}, access["experiment"])


def _theirs(servers: Servers, command: str) -> Side:
    port = ports.free_port()
    database = int(servers.database_url.rpartition(":")[2].partition("/")[0])
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {PEER_DATABASE}")
    store = postgres.url(database, PASSWORD, PEER_DATABASE).replace("postgres://", "postgresql+psycopg2://")
    artifacts = str(servers.directory / "mlartifacts")
    options = ["--backend-store-uri", store, "--artifacts-destination", artifacts, "--host", HOST, "--port", str(port)]
    options += ["--workers", str(WORKERS), "--uvicorn-opts", " ".join(PATIENCE)]
    argv = (str(Path(command).absolute()), "server", *options)
    env = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    return _ready("theirs", port, servers.spawn(Command("mlflow", argv, env=env)), {}, "0")


def _ready(name: str, port: int, process: "subprocess.Popen[bytes]", headers: dict[str, str], experiment: str) -> Side:
    def answers() -> bool:
        if process.poll() is not None:
            raise SystemExit(f"{name}: the server ended; is psycopg2 installed beside it?")
        try:
            with urllib.request.urlopen(f"http://{HOST}:{port}/health", timeout=5) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False

    wait_for(answers, f"{name} to answer", timeout=300)
    return Side(name, port, process.pid, headers, experiment)

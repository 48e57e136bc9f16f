"""One program of the stock client reads the same from Flotilla as from a real `mlflow server` (`stock_program`).

What the server told is kept in `stock_answers.json`, because it takes a minute to install and ten seconds to start.
With `MLFLOW_SERVER_PYTHON=<a Python that has mlflow>` a server is started beside and asked anew; with `RECORD_STOCK=1`,
too, its answers are written down.
"""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from controlplane.embedded import ports
from controlplane.embedded.waiting import wait_for
from tests.experiments.stock_program import Program
from tests.later import Later

mlflow = Later("mlflow")
pytestmark = pytest.mark.django_db(transaction=True)
RECORD = Path(__file__).with_name("stock_answers.json")
# What Flotilla tells otherwise, and why.
DIFFERS: dict[str, Any] = {
    # SQL of MLflow's knows no infinities.
    "runs/parent/metrics/up": "inf",
    "runs/parent/metrics/down": "-inf",
    # The other code of 400 is for what is no JSON.
    "refused/4": "INVALID_PARAMETER_VALUE",
    # There it is how the database refuses the row.
    "traces/refused/1": "RESOURCE_DOES_NOT_EXIST",
    # Runs keep their own stage while their experiment is deleted.
    "bin/experiment/0/0": "active",
}


@contextmanager
def stock_server(python: str, folder: Path) -> Iterator[str]:
    """A real `mlflow server` on SQLite; gives its address."""
    port = ports.free_port()
    options = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", f"{folder}/files"]
    command = [python, "-m", "mlflow", "server", "--workers", "1", "--port", str(port), *options]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=folder, start_new_session=True)

    def answers() -> bool:
        try:
            return requests.get(f"http://127.0.0.1:{port}/health", timeout=2).status_code == 200
        except requests.RequestException:
            return False

    try:
        wait_for(answers, "mlflow server to answer", timeout=240)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


@pytest.fixture
def stock_answers(tmp_path: Path) -> dict[str, Any]:
    """What the program reads from MLflow's own server."""
    python = os.environ.get("MLFLOW_SERVER_PYTHON")
    if python:
        with stock_server(python, tmp_path) as address:
            told = Program(address).all()
        if os.environ.get("RECORD_STOCK"):
            RECORD.write_text(json.dumps(told, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    answers: dict[str, Any] = told if python else json.loads(RECORD.read_text())
    return answers


def leaves(told: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value in it, and where it lies."""
    parts = told.items() if isinstance(told, dict) else enumerate(told) if isinstance(told, list) else ()
    if not parts:
        yield path[1:], told
    for name, part in parts:
        yield from leaves(part, f"{path}/{name}")


@pytest.mark.timeout(600 if os.environ.get("MLFLOW_SERVER_PYTHON") else 120)
def test_the_same_program_reads_the_same(
    web_server: str, token: str, stock_answers: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", token)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "")  # the client writes it
    try:
        ours = dict(leaves(Program(web_server).all()))
    finally:
        mlflow.tracking.fluent._active_experiment_id = None
    stock = dict(leaves(stock_answers))
    assert len(stock) > 500
    other = {name: (stock.get(name), ours.get(name)) for name in stock | ours if stock.get(name) != ours.get(name)}
    told = {name: (stock[name], value) for name, value in DIFFERS.items()}
    assert other == told

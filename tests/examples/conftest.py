"""A really trained model, and a small MLflow registry that hands it out."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits"
TOKEN = "staged-token"


def mlflow_environment(store: Path) -> dict[str, str]:
    """The environment of a training process that logs into a folder; MLflow calls nobody."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(store),
        "MLFLOW_TRACKING_URI": store.as_uri(),
        "MLFLOW_ALLOW_FILE_STORE": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "OMP_NUM_THREADS": "1",
    }


@dataclass(frozen=True)
class Training:
    """One finished training process and the folder it logged to."""

    exit_code: int
    output: str
    store: Path

    def run_dirs(self) -> list[Path]:
        """The folders of the logged runs, in MLflow's file store."""
        return [tags.parent for tags in self.store.glob("*/*/tags") if tags.parent.parent.name != "models"]

    def model_dir(self) -> Path:
        """The folder of the one logged model."""
        (found,) = self.store.glob("*/models/*/artifacts")
        return found


def train(store: Path, *args: str, timeout: float = 110, **env: str) -> Training:
    """Run train.py to its end."""
    store.mkdir(exist_ok=True)
    command = [sys.executable, "train.py", "--epoch-seconds", "0", *args]
    done = subprocess.run(
        command,
        cwd=DIGITS,
        env=mlflow_environment(store) | env,
        timeout=timeout,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    return Training(done.returncode, done.stdout, store)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Training:
    """A run of ten epochs, with its model."""
    done = train(tmp_path_factory.mktemp("mlruns"), "--epochs", "10", "--learning-rate", "0.003")
    assert done.exit_code == 0, done.output
    return done


@pytest.fixture(scope="session")
def held_out() -> dict:
    """The held-out digits, as the main job reads them."""
    done = subprocess.run([sys.executable, "data.py"], cwd=DIGITS, capture_output=True, timeout=60, check=True)
    return json.loads(done.stdout)


@dataclass
class StagedRegistry:
    """What a Flotilla would answer about version 1 of model `digits`."""

    model_dir: Path
    url: str = ""
    # Each of these is answered once, in this order, before real answers.
    failures: list[int] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    artifact_uri: str = "mlflow-artifacts:/7/models/m-1/artifacts"

    def answer(self, target: str, authorization: str | None) -> tuple[int, bytes]:
        """(status, body) for a GET."""
        self.requests.append(target)
        if self.failures:
            return self.failures.pop(0), b"{}"
        if authorization != f"Bearer {TOKEN}":
            return 401, b"{}"
        parts = urlsplit(target)
        if parts.path == "/api/2.0/mlflow/model-versions/get-download-uri":
            if parse_qs(parts.query) != {"name": ["digits"], "version": ["1"]}:
                return 404, b"{}"
            return 200, json.dumps({"artifact_uri": self.artifact_uri}).encode()
        prefix = "/api/2.0/mlflow-artifacts/artifacts/7/models/m-1/artifacts/"
        file = self.model_dir / parts.path.removeprefix(prefix)
        if not parts.path.startswith(prefix) or not file.is_file():
            return 404, b"{}"
        return 200, file.read_bytes()


@contextmanager
def staged_registry(training: Training) -> Iterator[StagedRegistry]:
    """A running registry that knows the trained model."""
    staged = StagedRegistry(training.model_dir())

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = staged.answer(self.path, self.headers.get("Authorization"))
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", staged.url + "/elsewhere")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Keep the test's output clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        staged.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield staged
        server.shutdown()
        thread.join()


@pytest.fixture
def registry(trained: Training) -> Iterator[StagedRegistry]:
    """A registry for one test, which may make it fail."""
    with staged_registry(trained) as staged:
        yield staged

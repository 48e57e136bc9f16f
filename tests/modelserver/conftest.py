"""A fitted model as MLflow keeps it, and a small MLflow registry that hands it out."""

import hashlib
import json
import pickle
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

TOKEN = "staged-token"


def digits() -> Any:
    """(inputs, labels): small pictures of 64 pixels."""
    from sklearn.datasets import load_digits

    return load_digits(return_X_y=True)


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of digits, pickled: skops, MLflow's default, would take each server that starts a second more."""
    from sklearn.linear_model import LogisticRegression

    inputs, labels = digits()
    folder = tmp_path_factory.mktemp("model")
    model = LogisticRegression(C=0.1, max_iter=200).fit(inputs[:1000] / 16, labels[:1000])
    (folder / "model.pkl").write_bytes(pickle.dumps(model))
    flavours = {"python_function": {}, "sklearn": {"pickled_model": "model.pkl", "serialization_format": "pickle"}}
    (folder / "MLmodel").write_text(json.dumps({"flavors": flavours}))
    return folder


@dataclass
class StagedRegistry:
    """What a Flotilla would answer about version 1 of model `digits`."""

    model_dir: Path
    url: str = ""
    # Each of these is answered once, in this order, before real answers.
    failures: list[int] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    artifact_uri: str = "mlflow-artifacts:/7/models/m-1/artifacts"
    changes: dict[str, Any] = field(default_factory=dict)
    # What comes in place of each file's bytes.
    spoilt: bytes = b""

    def answer(self, target: str, authorization: str | None) -> tuple[int, bytes]:
        """(status, body) for a GET."""
        self.requests.append(target)
        if self.failures:
            return self.failures.pop(0), b"{}"
        if authorization != f"Bearer {TOKEN}":
            return 401, b"{}"
        parts = urlsplit(target)
        if parts.path.startswith("/api/v1/models/"):
            if parts.path != "/api/v1/models/digits/versions/1/files":
                return 404, b"{}"
            return 200, json.dumps({"uri": self.artifact_uri, "files": self.listing()}).encode()
        prefix = "/api/2.0/mlflow-artifacts/artifacts/7/models/m-1/artifacts/"
        file = self.model_dir / parts.path.removeprefix(prefix)
        if not parts.path.startswith(prefix) or not file.is_file():
            return 404, b"{}"
        return 200, self.spoilt or file.read_bytes()

    def listing(self) -> list[dict[str, Any]]:
        """The files as they are listed; `changes` are laid over each."""
        return [
            {"path": file.name, "size": len(body := file.read_bytes()), "sha256": hashlib.sha256(body).hexdigest()}
            | self.changes
            for file in sorted(self.model_dir.iterdir())
        ]


@contextmanager
def staged_registry(model_dir: Path) -> Iterator[StagedRegistry]:
    """A running registry that knows the model."""
    staged = StagedRegistry(model_dir)

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
def registry(model_dir: Path) -> Iterator[StagedRegistry]:
    """A registry for one test, which may make it fail."""
    with staged_registry(model_dir) as staged:
        yield staged

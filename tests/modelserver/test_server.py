"""The model server as Kubernetes runs it: a process with an environment, probes, requests and SIGTERM."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from apps.deployments.scrape.exposition import parse
from apps.deployments.scrape.figures import Look, Span
from apps.deployments.scrape.requests import compact, figures_of
from tests.modelserver.conftest import TOKEN, StagedRegistry, digits, staged_registry

IMAGE = Path(__file__).resolve().parents[2] / "modelserver"


@dataclass
class Replica:
    """A running server."""

    process: subprocess.Popen
    port: int
    log: Path

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, dict]:
        """(status, JSON) of one request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, body if isinstance(body, bytes | None) else json.dumps(body))
            response = connection.getresponse()
            return response.status, json.loads(response.read() or b"{}")
        finally:
            connection.close()

    def is_ready(self) -> bool:
        """True once the readiness probe passes."""
        try:
            return self.ask("GET", "/v2/health/ready")[0] == 200
        except OSError:
            assert self.process.poll() is None, self.log.read_text()
            return False

    def end(self) -> None:
        """Kill what is left of it."""
        self.process.kill()
        self.process.wait(10)


def wait_until(condition: Callable[[], bool], seconds: float = 90.0) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{condition} did not become true in {seconds} s"
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start_replica(registry: StagedRegistry, directory: Path, **changes: str) -> Replica:
    """Start it as a pod's container would."""
    port = free_port()
    env = {
        "PATH": os.environ["PATH"],
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "FLOTILLA_MODEL_NAME": "digits",
        "FLOTILLA_MODEL_VERSION": "1",
        "MLFLOW_TRACKING_URI": registry.url,
        "MLFLOW_TRACKING_TOKEN": TOKEN,
        "DRAIN_SECONDS": "0.2",
        "OMP_NUM_THREADS": "1",
    }
    log = directory / f"{port}.log"
    with log.open("wb") as output:
        command = [sys.executable, "-m", "openinference"]
        process = subprocess.Popen(command, cwd=IMAGE, env=env | changes, stdout=output, stderr=output)
    return Replica(process, port, log)


@pytest.fixture
def start(registry: StagedRegistry, tmp_path: Path) -> Iterator[Callable[..., Replica]]:
    """Start replicas; end whatever is left of them."""
    replicas: list[Replica] = []

    def start(**changes: str) -> Replica:
        replicas.append(start_replica(registry, tmp_path, **changes))
        return replicas[-1]

    yield start
    for replica in replicas:
        replica.end()


@pytest.fixture(scope="module")
def replica(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replica]:
    """A replica that is ready, for all questions that leave it as it was."""
    with staged_registry(model_dir) as registry:
        started = start_replica(registry, tmp_path_factory.mktemp("serve"))
        try:
            wait_until(started.is_ready)
            yield started
        finally:
            started.end()


def infer_request(rows: list) -> dict:
    return {"inputs": [{"name": "input", "shape": [len(rows), 64], "datatype": "FP64", "data": rows}]}


def test_predicts_what_it_has_not_seen(replica: Replica):
    inputs, labels = digits()
    asked = infer_request((inputs[1500:1700] / 16).tolist())
    status, answer = replica.ask("POST", "/v2/models/digits/infer", asked)
    assert status == 200
    assert (answer["model_name"], answer["model_version"]) == ("digits", "1")
    label, probabilities = answer["outputs"]
    assert (label["shape"], probabilities["shape"]) == ([200], [200, 10])
    right = sum(a == b for a, b in zip(label["data"], labels[1500:1700].tolist(), strict=True))
    assert right >= 160
    assert sum(probabilities["data"]) == pytest.approx(200)
    assert replica.ask("POST", "/v2/models/digits/versions/1/infer", asked) == (200, answer)


def test_speaks_the_protocol(replica: Replica):
    assert replica.ask("GET", "/v2")[1]["extensions"] == []
    assert replica.ask("GET", "/v2/health/live") == (200, {"live": True})
    assert replica.ask("GET", "/v2/health/ready") == (200, {"ready": True})
    assert replica.ask("GET", "/v2/models/digits/ready") == (200, {"name": "digits", "ready": True})
    assert replica.ask("GET", "/v2/models/digits/versions/1/ready") == (200, {"name": "digits", "ready": True})
    said = replica.ask("GET", "/v2/models/digits")[1]
    assert (said["versions"], said["inputs"][0]["shape"]) == (["1"], [-1, 64])
    assert TOKEN not in replica.log.read_text()


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "sentence"),
    [
        ("POST", "/v2/models/digits/infer", b"{", 400, "The body is not JSON"),
        ("POST", "/v2/models/digits/infer", {"inputs": []}, 400, "`inputs` must be a list of one tensor"),
        ("POST", "/v2/models/digits/infer", b"x" * (4 * 2**20 + 1), 413, "The body is larger than 4 MiB."),
        ("POST", "/v2/models/other/infer", {}, 404, "Only version 1 of model digits is served here."),
        ("POST", "/v2/models/digits/versions/2/infer", {}, 404, "Only version 1 of model digits is served here."),
        ("GET", "/v2/models/digits/infer", None, 405, "takes POST, not GET"),
        ("POST", "/v2/health/live", {}, 405, "takes GET, not POST"),
        ("GET", "/v1/models", None, 404, "There is nothing at /v1/models."),
    ],
)
def test_answers_wrong_requests_with_a_sentence(
    replica: Replica, method: str, path: str, body: object, status: int, sentence: str
):
    got, answer = replica.ask(method, path, body)
    assert got == status
    assert sentence in answer["error"]


def test_its_metrics_are_read_by_flotilla(replica: Replica):
    """What it counts are predictions alone, by their status; probes and other addresses are none."""

    def look(at: float) -> Look:
        connection = http.client.HTTPConnection("127.0.0.1", replica.port, timeout=10)
        connection.request("GET", "/metrics")
        response = connection.getresponse()
        assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
        samples = parse(response.read().decode())
        connection.close()
        in_progress = next(each for each in samples if each.name == "http_requests_in_progress")
        assert in_progress.value == 0
        return Look(at, compact(samples))

    before = look(0)
    inputs, _ = digits()
    for _ in range(3):
        assert replica.ask("POST", "/v2/models/digits/infer", infer_request(inputs[:1].tolist()))[0] == 200
    assert replica.ask("POST", "/v2/models/digits/infer", {"inputs": []})[0] == 400
    for path in ("/v2/health/ready", "/v2/models/digits", "/nothing"):
        replica.ask("GET", path)
    figures = figures_of([Span(before, look(2))])
    assert figures is not None
    assert (figures.requests, figures.per_second, figures.error_percent) == (4, 2, 0)
    assert figures.p50_ms is not None and 0 < figures.p50_ms <= (figures.p95_ms or 0)


def test_says_that_it_is_not_ready_while_the_registry_is_away(start: Callable[..., Replica], registry: StagedRegistry):
    registry.failures = [503] * 8
    replica = start()
    wait_until(lambda: len(registry.requests) >= 2)
    assert replica.ask("GET", "/v2/health/live") == (200, {"live": True})
    assert replica.ask("GET", "/v2/health/ready") == (503, {"ready": False})
    status, answer = replica.ask("POST", "/v2/models/digits/infer", infer_request([[0.0] * 64]))
    assert (status, answer["error"]) == (503, "Model digits is still being loaded. Try again in a moment.")
    registry.failures = []
    wait_until(replica.is_ready)


def test_sigterm_does_not_wait_for_a_registry_that_is_away(start: Callable[..., Replica], registry: StagedRegistry):
    registry.failures = [503] * 1000
    replica = start()
    wait_until(lambda: len(registry.requests) >= 2)
    replica.process.send_signal(signal.SIGTERM)
    assert replica.process.wait(5) == 0


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"MLFLOW_TRACKING_TOKEN": "wrong"}, "401 Unauthorized"),
        ({"FLOTILLA_MODEL_VERSION": "9"}, "versions/9/files was answered with 404"),
        ({"FLOTILLA_MODEL_NAME": "", "MLFLOW_TRACKING_URI": ""}, "Set FLOTILLA_MODEL_NAME."),
        ({"MLFLOW_TRACKING_URI": ""}, "Set MLFLOW_TRACKING_URI."),
        ({"FLOTILLA_MODEL_DIR": "/nowhere"}, "The model has no file MLmodel"),
        ({"MLFLOW_TRACKING_URI": "file:///etc"}, "must start with http:// or https://"),
        ({"PORT": "http"}, "PORT and DRAIN_SECONDS must be numbers"),
    ],
)
def test_ends_with_the_reason_when_it_can_not_serve(start: Callable[..., Replica], changes: dict, sentence: str):
    replica = start(**changes)
    assert replica.process.wait(60) == 1
    assert sentence in replica.log.read_text()
    assert "Traceback" not in replica.log.read_text()


def test_sigterm_fails_readiness_first_and_finishes_what_is_in_flight(
    start: Callable[..., Replica], registry: StagedRegistry
):
    folder = {"FLOTILLA_MODEL_DIR": str(registry.model_dir), "MLFLOW_TRACKING_URI": "", "MLFLOW_TRACKING_TOKEN": ""}
    replica = start(DRAIN_SECONDS="3", **folder)
    wait_until(replica.is_ready)
    assert registry.requests == [], "the init step has brought it"
    in_flight = HalfSentRequest(replica.port, infer_request([[0.0] * 64]))
    replica.process.send_signal(signal.SIGTERM)
    wait_until(lambda: replica.ask("GET", "/v2/health/ready") == (503, {"ready": False}), 2.9)
    # Whoever has not heard yet is still answered …
    assert replica.ask("POST", "/v2/models/digits/infer", infer_request([[0.0] * 64]))[0] == 200
    # … and so is who began to ask before, even after the door was closed.
    wait_until(lambda: not accepts(replica.port), 30)
    assert in_flight.finish().startswith(b"HTTP/1.1 200")
    assert replica.process.wait(10) == 0


def accepts(port: int) -> bool:
    """True while something listens."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


class HalfSentRequest:
    """A request whose body is on its way for as long as the test likes."""

    def __init__(self, port: int, body: dict) -> None:
        data = json.dumps(body).encode()
        head = f"POST /v2/models/digits/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n"
        self._rest = data[-10:]
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._socket.sendall(head.encode() + data[:-10])

    def finish(self) -> bytes:
        """Send the rest; the answer."""
        self._socket.sendall(self._rest)
        answer = self._socket.recv(65536)
        self._socket.close()
        return answer


def test_stays_small(replica: Replica):
    """Some 120 MB are scikit-learn alone; pandas or MLflow would go beyond the limit."""
    lines = Path(f"/proc/{replica.process.pid}/status").read_text().splitlines()
    (resident,) = [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
    assert resident < 150 * 1024

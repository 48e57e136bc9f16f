"""`up` as a person meets it: start, refusals, Ctrl-C, kill -9, start again. One data directory throughout."""

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.embedded import ports
from controlplane.embedded.demo.client import ApiError
from controlplane.embedded.fleet import BASE_DIR
from controlplane.embedded.waiting import wait_for
from tests.stack import LiveStack

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.xdist_group("up"),
    pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc"),
]
CHILDREN = ("postgres", "valkey", "localcluster", "web", "worker", "watcher", "beat")


def processes_of(data: Path) -> dict[int, str]:
    """Every process that names the data directory in its command line or environment."""
    found = {}
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            line, environment = (directory / "cmdline").read_bytes(), (directory / "environ").read_bytes()
            zombie = (directory / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if str(data).encode() in line + environment and not zombie:
            found[int(directory.name)] = line.replace(b"\0", b" ").decode()
    return found


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("up")


@pytest.fixture
def stack(directory: Path) -> Iterator[LiveStack]:
    """A running stack on the module's one data directory: each test finds what the one before it left."""
    started = LiveStack.start(directory)
    yield started
    if started.process.poll() is None:
        started.process.send_signal(signal.SIGTERM)
        started.process.wait(timeout=30)


def up(directory: Path, port: int) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "controlplane.embedded", "--data-dir", str(directory), "--port", str(port)]
    return subprocess.run(command, cwd=BASE_DIR, capture_output=True, text=True, timeout=60, check=False)


def test_ctrl_c_ends_all_in_order_and_the_next_start_finds_everything(directory: Path, stack: LiveStack) -> None:
    root = stack.data.root
    stack.api.send("POST", "/api/v1/projects", {"name": "kept"})
    credentials = stack.credentials
    assert processes_of(root)
    began = time.monotonic()
    assert stack.stop() == 0
    assert time.monotonic() - began < 12
    assert processes_of(root) == {}
    assert not stack.data.status.exists()
    again = LiveStack.start(directory)
    try:
        assert {**again.credentials, "url": ""} == {**credentials, "url": ""}
        assert again.api.get("/api/v1/projects/kept")["name"] == "kept"
        assert again.api.get("/api/v1/clusters/local")["name"] == "local"
    finally:
        again.stop()


def test_what_is_secret_is_readable_by_its_owner_only(stack: LiveStack) -> None:
    root = stack.data.root
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    for name in ("credentials.json", "secrets.json", "localcluster/kubeconfig", "valkey/valkey.conf"):
        assert stat.S_IMODE((root / name).stat().st_mode) == 0o600, name
    assert set(stack.credentials) == {"url", "username", "password", "token"}
    with pytest.raises(ApiError) as refused:
        type(stack.api)(stack.url, "flt_wrong").get("/api/v1/projects")
    assert refused.value.status == 401


def test_a_second_up_on_the_same_directory_is_refused_with_a_sentence(stack: LiveStack) -> None:
    reply = up(stack.data.root, ports.free_port())
    assert reply.returncode == 2
    assert f"Flotilla already runs on {stack.data.root} at {stack.url}" in reply.stderr
    assert stack.api.get("/api/v1/projects")["results"]


def test_a_taken_port_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        reply = up(tmp_path / "data", port)
    assert reply.returncode == 2
    assert f"Port {port} can't be listened on" in reply.stderr
    assert "FLOTILLA_PORT=" in reply.stderr
    assert "Traceback" not in reply.stderr


def test_a_port_that_is_none_is_refused_with_a_sentence(tmp_path: Path) -> None:
    reply = up(tmp_path / "data", 70_000)
    assert (reply.returncode, "FLOTILLA_PORT=70000 is no port" in reply.stderr) == (2, True)


def test_killed_processes_come_back_and_nobody_is_refused_a_connection(stack: LiveStack) -> None:
    old = {name: stack.kill(name) for name in ("web", "worker", "watcher", "beat")}
    with socket.create_connection(("127.0.0.1", stack.port), timeout=5):
        pass
    assert stack.api.get("/api/v1/projects")["results"]
    wait_for(lambda: all(stack.pid(name) != pid for name, pid in old.items()), "all four to be started again")
    assert "worker was ended by SIGKILL and is started again" in stack.output


def test_a_killed_supervisor_leaves_nothing_running_and_the_next_start_works(directory: Path, stack: LiveStack) -> None:
    stack.process.kill()
    stack.process.wait()
    wait_for(lambda: not processes_of(stack.data.root), "all processes to end", timeout=15, interval=0.2)
    again = LiveStack.start(directory)
    assert again.api.get("/api/v1/projects/kept")["name"] == "kept"
    again.stop()


def test_a_start_after_kill_9_of_everything_works(directory: Path, stack: LiveStack) -> None:
    for pid in [stack.process.pid, *(stack.pid(name) for name in CHILDREN)]:
        os.kill(pid, signal.SIGKILL)
    stack.process.wait()
    again = LiveStack.start(directory)
    assert again.api.get("/api/v1/projects/kept")["name"] == "kept"
    again.stop()
    wait_for(lambda: not processes_of(stack.data.root), "all processes to end", timeout=15, interval=0.2)

"""`up` as a person meets it: start, refusals, Ctrl-C, kill -9, start again."""

import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from controlplane.embedded import ports
from controlplane.embedded.__main__ import main
from controlplane.embedded.fleet import BASE_DIR
from controlplane.embedded.place import answers, outward_address
from controlplane.embedded.waiting import wait_for
from examples.demo.client import ApiError
from tests.stack import LiveStack

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc"),
]
CHILDREN = ("postgres", "valkey", "localcluster", "web", "web-2", "worker", "watcher")


def processes_of(data: Path) -> dict[int, str]:
    """Every process that names the data directory in its command line or environment."""
    commands = {}
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            line, environment = (directory / "cmdline").read_bytes(), (directory / "environ").read_bytes()
            zombie = (directory / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if str(data).encode() in line + environment and not zombie:
            commands[int(directory.name)] = line.replace(b"\0", b" ").decode()
    return commands


def up(directory: Path, port: int) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "controlplane.embedded", "--data-dir", str(directory), "--port", str(port)]
    return subprocess.run(command, cwd=BASE_DIR, capture_output=True, text=True, timeout=60, check=False)


def test_what_is_secret_is_readable_by_its_owner_only(live_stack: LiveStack) -> None:
    root = live_stack.data.root
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    for name in ("credentials.json", "secrets.json", "localcluster/kubeconfig", "valkey/valkey.conf"):
        assert stat.S_IMODE((root / name).stat().st_mode) == 0o600, name
    assert set(live_stack.credentials) == {"url", "username", "password", "token"}
    with pytest.raises(ApiError) as refused:
        type(live_stack.api)(live_stack.url, "flt_wrong").get("/api/v1/projects")
    assert refused.value.status == 401


def test_a_second_up_on_the_same_directory_is_refused_with_a_sentence(live_stack: LiveStack) -> None:
    reply = up(live_stack.data.root, ports.free_port())
    assert reply.returncode == 2
    assert f"Flotilla already runs on {live_stack.data.root} at {live_stack.url}" in reply.stderr
    assert live_stack.api.get("/api/v1/projects")["results"]


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


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("FLOTILLA_HOST", "my-machine", "is no address to listen on. Use 127.0.0.1"),
        ("FLOTILLA_HOST", "192.0.2.7", "is no address of this machine. Use 0.0.0.0"),
        ("FLOTILLA_PUBLIC_URL", "192.168.1.20:8000", "begins neither with http:// nor with https://"),
        ("FLOTILLA_PORT", "70000", "is no port. Use a number from 1 to 65535."),
        ("FLOTILLA_PORT", "٨٠٠٠", "is no port. Use a number from 1 to 65535."),
        ("FLOTILLA_PORT", "8_000", "is no port. Use a number from 1 to 65535."),
        ("FLOTILLA_LOCAL_CLUSTERS", "0", "is no number from 1 to 9."),
        ("FLOTILLA_LOCAL_CLUSTERS", "two", "is no number from 1 to 9."),
        ("FLOTILLA_DATA_DIR", __file__, "can't be used as a folder: it is a file."),
        ("FLOTILLA_DATA_DIR", f"{__file__}/data", "can't be used as a folder: Not a directory."),
        ("ONCE", "yes", "says neither yes nor no. Use 1"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str,
    value: str,
    says: str,
) -> None:
    monkeypatch.setenv("FLOTILLA_PORT", str(ports.free_port()))
    monkeypatch.setenv("FLOTILLA_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv(variable, value)
    assert main([]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"flotilla: {variable}={value} ") and says in said.err


def test_killed_processes_come_back_and_nobody_is_refused_a_connection(live_stack: LiveStack) -> None:
    old = {name: live_stack.kill(name) for name in ("web", "web-2", "worker", "watcher")}
    with socket.create_connection(("127.0.0.1", live_stack.port), timeout=5):
        pass
    assert live_stack.api.get("/api/v1/projects")["results"]
    wait_for(lambda: all(live_stack.pid(name) != pid for name, pid in old.items()), "all four to be started again")
    assert "worker was ended by SIGKILL and is started again" in live_stack.output


@pytest.fixture
def restart(tmp_path: Path) -> Iterator[Callable[..., LiveStack]]:
    """Starts a stack on the test's one directory, again and again; what is left running at the end is ended."""
    started: list[LiveStack] = []

    def start(*options: str) -> LiveStack:
        started.append(LiveStack.start(tmp_path, *options))
        return started[-1]

    yield start
    for stack in started:
        stack.stop()


def test_ctrl_c_and_kill_9_leave_nothing_running_and_the_next_start_finds_everything(
    restart: Callable[..., LiveStack],
) -> None:
    stack = restart()
    root, credentials = stack.data.root, stack.credentials
    stack.api.send("POST", "/api/v1/projects", {"name": "kept"})

    assert stack.stop() == 0
    assert processes_of(root) == {}
    assert not stack.data.status.exists()

    stack = restart()
    assert_all_is_kept(stack, credentials)
    stack.process.kill()
    stack.process.wait()
    wait_for(lambda: not processes_of(root), "all that was started to end", timeout=20, interval=0.2)

    stack = restart("--host", "0.0.0.0", "--local-clusters", "2")
    assert_all_is_kept(stack, credentials)
    targets = stack.api.get("/api/v1/targets")["results"]
    assert {(row["name"], row["cluster"]) for row in targets} == {
        ("local-production", "local"),
        ("local-2-production", "local-2"),
    }
    assert_others_reach(stack)
    for pid in [stack.process.pid, *(stack.pid(name) for name in (*CHILDREN, "localcluster-2"))]:
        os.kill(pid, signal.SIGKILL)
    stack.process.wait()

    stack = restart()
    assert_all_is_kept(stack, credentials)
    assert stack.stop() == 0
    assert processes_of(root) == {}


def assert_others_reach(stack: LiveStack) -> None:
    """By the machine's own address, which pods are told; it is an allowed host, and forms may come from there."""
    address = outward_address()
    if not address:
        pytest.skip("this machine has no address but the loopback's")
    url = f"http://{address}:{stack.port}"
    assert answers(url) == ""
    assert f"{url} is what pods must reach" in stack.output
    assert "does not answer" not in stack.output
    environment = Path(f"/proc/{stack.pid('worker')}/environ").read_bytes().decode().split("\0")
    assert f"FLOTILLA_PUBLIC_URL={url}" in environment
    assert stack.url == f"http://127.0.0.1:{stack.port}"


def assert_all_is_kept(stack: LiveStack, credentials: dict[str, str]) -> None:
    assert {**stack.credentials, "url": ""} == {**credentials, "url": ""}
    assert stack.api.get("/api/v1/projects/kept")["name"] == "kept"
    assert stack.api.get("/api/v1/clusters/local")["name"] == "local"


def test_a_pod_of_the_local_cluster_reaches_flotilla(live_stack: LiveStack) -> None:
    """Through everything: asked by REST, a round of the queue in the worker, a Job, and its words."""
    asked = live_stack.api.send("POST", "/api/v1/clusters/local/reach", {})
    assert asked["under_way"] and asked["url"] == live_stack.url
    wait_for(lambda: live_stack.api.get("/api/v1/clusters/local/reach")["outcome"], "an outcome", timeout=60)
    reach = live_stack.api.get("/api/v1/clusters/local/reach")
    assert (reach["outcome"], reach["outdated"]) == ("Reached", False), reach
    assert '"web": "ok"' in reach["words"]

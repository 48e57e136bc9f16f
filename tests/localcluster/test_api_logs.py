"""pods/log over files as the kubelet writes them.

https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#get-read-log-of-the-specified-pod
"""

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from localcluster.kubelet.logs import was_written
from tests.localcluster.served import Served, pod

MERGE = "application/merge-patch+json"
LOG = "/api/v1/namespaces/default/pods/a/log"


class Agent:
    """A kubelet that knows one log."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def log_path(self, namespace: str, name: str, container: str, *, previous: bool = False) -> Path | None:
        return self.path if was_written(self.path) and not previous else None

    def usage(self) -> dict[tuple[str, str], list[Any]]:
        return {}

    def is_cut_off(self, node: str) -> bool:
        return False


def stamp(ago: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=ago)).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


def write(path: Path, *lines: tuple[float, str]) -> None:
    with path.open("a") as file:
        file.writelines(f"{stamp(ago)} {text}\n" for ago, text in lines)


def running(api: Served, **state: Any) -> None:
    status = {"phase": "Running", "containerStatuses": [{"name": "main", "restartCount": 0, "state": state}]}
    api.patch("/api/v1/namespaces/default/pods/a/status", {"status": status}, MERGE)


@pytest.fixture
def log(api: Served, tmp_path: Path) -> Path:
    """The log of pod `a`, which runs."""
    path = tmp_path / "0.log"
    api.create("pods", pod("a"))
    api.agent(Agent(path))
    running(api, running={})
    return path


def test_the_options_choose_lines(api: Served, log: Path) -> None:
    write(log, (3600, "old"), (60, "recent"), (1, "new"))
    assert api.get(LOG).body == b"old\nrecent\nnew\n"
    assert api.get(LOG).headers["content-type"] == "text/plain"
    assert api.get(f"{LOG}?tailLines=1").body == b"new\n"
    assert api.get(f"{LOG}?tailLines=0").body == b""
    assert api.get(f"{LOG}?sinceSeconds=120").body == b"recent\nnew\n"
    since = stamp(30)[:19] + "Z"
    assert api.get(f"{LOG}?sinceTime={since}").body == b"new\n"
    assert api.get(f"{LOG}?limitBytes=5").body == b"old\nr"
    stamped = api.get(f"{LOG}?timestamps=true&tailLines=1").body.decode()
    assert stamped.endswith("Z new\n")
    assert api.get(f"{LOG}?tailLines=-1").status == 422
    assert api.get(f"{LOG}?sinceSeconds=1&sinceTime={since}").status == 400
    assert api.get(f"{LOG}?sinceTime=yesterday").status == 400


def test_rotated_parts_are_read_too(api: Served, log: Path) -> None:
    write(log, (9, "first"))
    log.rename(log.with_name("0.log.1"))
    write(log, (1, "second"))
    assert api.get(LOG).body == b"first\nsecond\n"
    assert api.get(f"{LOG}?tailLines=2").body == b"first\nsecond\n"
    running(api, terminated={"exitCode": 0})
    for tail, wanted in ((0, b""), (1, b"second\n"), (2, b"first\nsecond\n"), (9, b"first\nsecond\n")):
        assert api.get(f"{LOG}?follow=true&tailLines={tail}").body == wanted


def test_a_node_that_does_not_answer_tells_no_logs(api: Served, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(log, (1, "one"))
    monkeypatch.setattr(Agent, "is_cut_off", lambda *_: True)
    reply = api.get(LOG)
    assert reply.status == 500
    assert "dial tcp" in reply.json["message"]


def test_what_cannot_be_read_says_why(api: Served, log: Path) -> None:
    waiting = api.get(LOG)
    assert waiting.status == 400
    assert 'container "main" in pod "a" is waiting to start' in waiting.json["message"]
    write(log, (1, "x"))
    assert "previous terminated container" in api.get(f"{LOG}?previous=true").json["message"]
    assert api.get(f"{LOG}?container=other").json["message"] == "container other is not valid for pod a"
    two = pod("b")
    two["spec"]["containers"].append({"name": "side", "image": "busybox"})
    api.create("pods", two)
    message = api.get("/api/v1/namespaces/default/pods/b/log").json["message"]
    assert message == "a container name must be specified for pod b, choose one of: [main side]"
    assert api.get("/api/v1/namespaces/default/pods/missing/log").status == 404


def test_following_goes_on_through_rotation_until_the_container_ends(api: Served, log: Path) -> None:
    write(log, (1, "one"))
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(api.get(f"{LOG}?follow=true").body))
    reader.start()
    write(log, (0, "two"))
    log.rename(log.with_name("0.log.1"))
    write(log, (0, "three"))
    running(api, terminated={"exitCode": 0})
    reader.join(10)
    assert got == [b"one\ntwo\nthree\n"]


def test_following_waits_where_a_rotation_has_renamed_the_file_and_not_yet_made_the_next(
    api: Served, log: Path
) -> None:
    write(log, (1, "one"))
    log.rename(log.with_name("0.log.1"))
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(api.get(f"{LOG}?follow=true").body))
    reader.start()
    reader.join(0.3)  # it must not have ended; what is written now is still read
    assert reader.is_alive(), got
    write(log, (0, "two"))
    running(api, terminated={"exitCode": 0})
    reader.join(10)
    assert got == [b"one\ntwo\n"]


def test_following_from_the_tail_ends_with_the_pod(api: Served, log: Path) -> None:
    write(log, *((1, f"line {number}") for number in range(1000)))
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(api.get(f"{LOG}?follow=true&tailLines=2").body))
    reader.start()
    api.request("DELETE", "/api/v1/namespaces/default/pods/a?gracePeriodSeconds=0")
    reader.join(10)
    assert got == [b"line 998\nline 999\n"] or got[0].startswith(b'{"kind":"Status"')

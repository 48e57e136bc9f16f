"""Logs as they are read from a real pod: on from the last line, through restarts, by span, as a file."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

import pytest
from django.http import HttpResponse
from django.test import Client

from apps.clusters import logs, services
from apps.clusters.kube import opinions
from apps.clusters.models import Cluster, Pod
from apps.clusters.observed import rows
from apps.core.access import Principal
from apps.core.errors import Unavailable
from apps.core.models import Project, User
from tests import factories
from tests.clusters.conftest import eventually
from tests.clusters.fakeapi import FakeApi
from tests.clusters.test_whole_path import NAMESPACE
from tests.clusters.test_whole_path import pod as manifest
from tests.stack import LocalCluster

pytestmark = [pytest.mark.django_db, pytest.mark.real_process]

Log = Callable[..., HttpResponse]


@pytest.fixture
def cluster(local_cluster: LocalCluster, admin: Principal) -> Iterator[Cluster]:
    made = services.register(principal=admin, name="local", kubeconfig_text=local_cluster.kubeconfig.read_text())
    Cluster.objects.update(state="Healthy")
    services.connect(made).apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    yield made


@pytest.fixture
def started(cluster: Cluster) -> Iterator[Callable[[dict[str, Any]], Pod]]:
    """Start a pod and give its row, as the watcher would write it."""
    kube, names = services.connect(cluster), []

    def start(wanted: dict[str, Any]) -> Pod:
        name = wanted["metadata"]["name"]
        names.append(name)
        kube.apply(wanted)
        eventually(lambda: (see(name)["status"].get("containerStatuses") or [{}])[0].get("containerID"), "it runs", 30)
        return store(name)

    def see(name: str) -> dict[str, Any]:
        return kube.get("v1", "Pod", name, NAMESPACE)

    def store(name: str) -> Pod:
        Pod.objects.filter(name=name).delete()
        return Pod.objects.create(cluster=cluster, **rows.pod_row(see(name), datetime.now(UTC)))

    start.store = store  # type: ignore[attr-defined]
    yield start
    for name in names:
        kube.delete("v1", "Pod", name, NAMESPACE, grace_seconds=0)


@pytest.fixture
def log(client: Client, admin_user: User, cluster: Cluster) -> Log:
    client.force_login(admin_user)

    def ask(name: str, **query: str) -> HttpResponse:
        answer = client.get(f"/clusters/local/pods/{NAMESPACE}/{name}/log/", query)
        assert answer.status_code == 200
        return answer

    return ask


def lines_of(answer: HttpResponse) -> list[str]:
    return answer.content.decode().splitlines()


def goes_on(shown: list[str]) -> dict[str, str]:
    """What logs.js says of its last line."""
    after = shown[-1].partition(" ")[0]
    return {"after": after, "seen": str(sum(line.startswith(f"{after} ") for line in shown))}


def test_a_log_is_read_on_without_a_gap_or_a_line_twice(started: Any, log: Log) -> None:
    started(manifest("counts", ["sh", "-c", "i=0; while [ $i -lt 40 ]; do i=$((i+1)); echo line $i; sleep 0.05; done"]))
    shown: list[str] = []

    def look() -> bool:
        shown.extend(lines_of(log("counts", **(goes_on(shown) if shown else {}))))
        return len(shown) >= 40

    eventually(look, "all lines came", 30)
    assert [line.partition(" ")[2] for line in shown] == [f"line {number}" for number in range(1, 41)]
    assert log("counts", **goes_on(shown)).content == b"", "nothing new is nothing"


def test_a_part_that_is_cut_by_its_limit_goes_on_where_it_was_cut(
    started: Any, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.clusters.logs.PART_BYTES", 700)
    started(
        manifest(
            "bursts", ["sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do echo line $i of a burst; sleep 0.3; done; sleep 99"]
        )
    )
    eventually(lambda: "line 9" in log("bursts", download="1").content.decode(), "all is written", 30)
    monkeypatch.setattr("apps.clusters.logs.PART_BYTES", 150)
    shown = lines_of(log("bursts"))
    assert 0 < len(shown) < 9, "the first part is full, and its last line whole"
    for _ in range(9):
        answer = log("bursts", **goes_on(shown))
        shown += lines_of(answer)
        if "X-Log-More" not in answer:
            break
    assert [line.partition(" ")[2] for line in shown] == [f"line {number} of a burst" for number in range(1, 10)]


def test_the_end_of_a_log_with_long_lines_is_its_end(
    started: Any, cluster: Cluster, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`limitBytes` of the API keeps the beginning of the lines that are asked for: the exception would be lost."""
    script = "i=0; while [ $i -lt 50 ]; do printf '%02d %0997d\\n' $i 0; i=$((i+1)); done; echo the last line; sleep 99"
    pod = started(manifest("wordy", ["sh", "-c", script]))
    eventually(lambda: b"the last line" in log("wordy").content, "all is written", 30)
    kube = services.connect(cluster)

    def end(**limits: int) -> list[str]:
        return kube.pod_log(pod.namespace, pod.name, **limits).splitlines()

    assert [line[:3] for line in end(tail_lines=20, limit_bytes=4096)] == ["46 ", "47 ", "48 ", "49 ", "the"]
    monkeypatch.setattr("apps.clusters.kube.client.LOG_BYTES", 8192)
    few = [line[:3] for line in end(tail_lines=40, limit_bytes=8192)]
    assert few == ["46 ", "47 ", "48 ", "49 ", "the"], "of lines too long for one answer, fewer are asked for"
    monkeypatch.setattr("apps.clusters.logs.PART_BYTES", 4096)
    assert logs.pod_log(pod, tail_lines=40).endswith("the last line\n")


def test_the_log_before_the_restart_and_of_an_init_container(started: Any, log: Log) -> None:
    wanted = manifest("restarts", ["sh", "-c", "echo start $(date +%s%N); sleep 1; exit 3"])
    wanted["spec"] |= {
        "restartPolicy": "Always",
        "initContainers": [{"name": "setup", "image": "busybox", "command": ["sh", "-c", "echo fetched 3 files"]}],
    }
    started(wanted)
    eventually(lambda: started.store("restarts").restarts > 0, "it was restarted", 30)
    now, before = log("restarts"), log("restarts", previous="1")
    assert now["X-Log-Containers"] == "setup,main" and now["X-Log-Restarted"] == "1" and "X-Log-End" not in now
    assert lines_of(before) and lines_of(before) != lines_of(now) and before["X-Log-End"] == "1"
    init = log("restarts", container="setup")
    assert [line.partition(" ")[2] for line in lines_of(init)] == ["fetched 3 files"]
    none = log("restarts", container="setup", previous="1")
    assert none.content == b"" and unquote(none["X-Log-Note"]) == "There is no log of an earlier start"


def test_bytes_that_are_not_text_count_as_what_they_were(
    started: Any, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    signs = r"\377" * 60
    started(manifest("binary", ["sh", "-c", rf"printf '{signs}\n'; sleep 99"]))
    eventually(lambda: b"\n" in log("binary").content, "the line is written", 30)
    monkeypatch.setattr("apps.clusters.logs.PART_BYTES", 120)
    answer = log("binary")
    assert answer.content.decode().rstrip().endswith("\ufffd" * 60), "each byte is a sign of three bytes now"
    assert "X-Log-More" not in answer, "but the part was not full"


def test_a_download_is_a_file_with_or_without_times(started: Any, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    started(manifest("writes", ["sh", "-c", "echo one; printf 'a\\rb two\\n'; sleep 99"]))
    eventually(lambda: b"two" in log("writes").content, "both lines are written", 30)
    bare, timed = log("writes", download="1", times="0"), log("writes", download="1")
    assert bare.content == b"one\na\rb two\n"
    assert bare["Content-Disposition"] == 'attachment; filename="writes-main.log"'
    assert re.match(rb"\d{4}-\d\d-\d\dT\S+Z one\n", timed.content)
    monkeypatch.setitem(logs.SPANS, "300", timedelta(seconds=1))
    eventually(lambda: b"one" not in log("writes", download="1", since="300").content, "only the chosen span is given")


def test_a_pod_that_has_no_log_yet_or_no_more_says_so(started: Any, log: Log, cluster: Cluster) -> None:
    bad = manifest("no-image", ["true"])
    bad["spec"]["containers"][0]["image"] = "nobody/has-this:1"
    kube = services.connect(cluster)
    kube.apply(bad)
    reason = lambda: (  # noqa: E731
        (kube.get("v1", "Pod", "no-image", NAMESPACE)["status"].get("containerStatuses") or [{}])[0]
        .get("state", {})
        .get("waiting", {})
        .get("reason", "")
    )
    eventually(lambda: "Image" in reason(), "the pull fails", 30)
    started.store("no-image")
    assert unquote(log("no-image")["X-Log-Note"]).startswith("Not started yet: ")
    kube.delete("v1", "Pod", "no-image", NAMESPACE, grace_seconds=0)
    eventually(lambda: not kube.exists("v1", "Pod", "no-image", NAMESPACE), "it is gone")
    gone = log("no-image")
    assert unquote(gone["X-Log-Note"]) == "The log is gone with its pod" and gone["X-Log-End"] == "1"


def test_a_project_sees_its_own_logs_only(started: Any, client: Client, viewer_user: User) -> None:
    started(manifest("mine", ["sleep", "99"]))
    Project.objects.create(name="demo")
    client.force_login(viewer_user)
    assert client.get(f"/clusters/local/pods/{NAMESPACE}/mine/log/").status_code == 404


def test_a_cluster_that_refuses_the_credential_is_told_as_on_its_own_page(
    api: FakeApi, admin: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As when it has been said for a while.
    monkeypatch.setattr(opinions, "SECONDS", 0.0)
    refusing = services.register(principal=admin, name="gke-eu", kubeconfig_text=api.kubeconfig_with("another-token"))
    told = (
        "The API server refuses Flotilla's credential. It says: the token is not known. Give the cluster a new "
        "credential."
    )
    pod = factories.pod(refusing, None)
    note = f"Cluster gke-eu gives no log now: {told}"
    assert logs.read(pod, logs.LogQuery()).note == note
    with pytest.raises(Unavailable) as caught:
        logs.pod_log(pod)
    assert caught.value.sentence == f"Cluster gke-eu gives no log now. {told}"

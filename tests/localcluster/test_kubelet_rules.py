"""The pure parts of the kubelet, by tables."""

import os
from pathlib import Path
from typing import Any

import pytest

from localcluster.kubelet import procfs
from localcluster.kubelet.addresses import Addresses
from localcluster.kubelet.backoff import Backoff, in_words
from localcluster.kubelet.env import ConfigError, Surroundings, expand, field, references, resource_field, service_links
from localcluster.kubelet.images import ImageError, ImageTable
from localcluster.kubelet.logs import LogWriter, path_of, stamp, tail
from localcluster.kubelet.plan import Container, decide, end, recalled
from localcluster.kubelet.probes import Counter, port_of, wait_after
from localcluster.kubelet.status import merge_conditions, pod_status
from localcluster.kubelet.strays import Record, find
from localcluster.kubelet.usage import by_session, memory_limit
from localcluster.kubelet.volumes import MountError, files_of, rewrite

POD: dict[str, Any] = {
    "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"b": "2", "a": '1"'}},
    "spec": {"restartPolicy": "Always", "containers": [{"name": "main", "image": "busybox"}]},
}


def test_back_off_first_restart_at_once_then_doubling_then_forgotten() -> None:
    backoff, now = Backoff(), 1000.0
    waits = []
    for _ in range(7):
        waits.append(backoff.wait(now, now))
        now += waits[-1]
        backoff = backoff.after(now)
    assert waits == [0, 10, 20, 40, 80, 160, 300]
    assert backoff.wait(now + 600.1, now + 600.1) == 0
    assert backoff.after(now + 601).seconds == 10


@pytest.mark.parametrize(("seconds", "words"), [(10, "10s"), (80, "1m20s"), (300, "5m0s")])
def test_durations_as_go_prints_them(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("$(A)", "1"), ("$$(A)", "$(A)"), ("$(B)", "$(B)"), ("a$b", "a$b"), ("$(A)$(A)", "11"), ("$$$(A)", "$1")],
)
def test_expansion(text: str, wanted: str) -> None:
    assert expand(text, {"A": "1"}) == wanted


def test_fields_of_the_downward_api() -> None:
    assert field(POD, "metadata.labels['b']") == "2"
    assert field(POD, "metadata.labels") == 'a="1\\""\nb="2"'
    with pytest.raises(ConfigError, match=r"unsupported fieldPath: status\.phase"):
        field(POD, "status.phase")


@pytest.mark.parametrize(
    ("reference", "wanted"),
    [
        ({"resource": "limits.cpu"}, "2"),
        ({"resource": "limits.cpu", "divisor": "1m"}, "1500"),
        ({"resource": "requests.cpu", "divisor": "1m"}, "1500"),
        ({"resource": "limits.memory", "divisor": "1Mi"}, "1024"),
    ],
)
def test_resource_fields(reference: dict[str, str], wanted: str) -> None:
    container = {"name": "main", "resources": {"limits": {"cpu": "1500m"}}}
    assert resource_field(reference, container, POD, {"memory": 1024**3}) == wanted


def test_services_are_named_in_the_environment() -> None:
    services = [
        {"metadata": {"name": "my-web"}, "spec": {"clusterIP": "127.240.0.1", "ports": [{"port": 80, "name": "http"}]}},
        {"metadata": {"name": "headless"}, "spec": {"clusterIP": "None", "ports": [{"port": 80}]}},
    ]
    assert service_links(services) == {
        "MY_WEB_SERVICE_HOST": "127.240.0.1",
        "MY_WEB_SERVICE_PORT": "80",
        "MY_WEB_SERVICE_PORT_HTTP": "80",
    }


def _container(**changes: Any) -> Container:
    return Container({"name": "main", "image": "busybox"}, **changes)


def _ended(code: int, **changes: Any) -> Container:
    return _container(terminated={"exitCode": code}, ended_at=1000.0, **changes)


@pytest.mark.parametrize(
    ("policy", "container", "start", "phase"),
    [
        ("Always", _container(), ("main",), "Pending"),
        ("Always", _container(running_since=1.0), (), "Running"),
        ("Always", _ended(0), ("main",), "Running"),
        ("OnFailure", _ended(1), ("main",), "Running"),
        ("OnFailure", _ended(0), (), "Succeeded"),
        ("Never", _ended(1), (), "Failed"),
        ("Never", _ended(0), (), "Succeeded"),
        ("Always", _container(retry_at=1005.0), (), "Pending"),
    ],
)
def test_what_to_start(policy: str, container: Container, start: tuple[str, ...], phase: str) -> None:
    pod = {**POD, "spec": {**POD["spec"], "restartPolicy": policy}}
    plan = decide(pod, [container], 1000.0)
    assert (plan.start, plan.phase) == (start, phase)


def test_a_crashing_container_waits() -> None:
    container = _ended(1, backoff=Backoff(20.0, 990.0))
    plan = decide(POD, [container], 1005.0)
    assert (plan.start, plan.phase, plan.again, plan.back_off) == ((), "Running", 15.0, ("main",))
    assert container.waiting == ("CrashLoopBackOff", "back-off 20s restarting failed container=main pod=p_n(u)")


def test_init_containers_and_sidecars_gate_the_others() -> None:
    one = Container({"name": "one", "image": "i"}, init=True)
    proxy = Container({"name": "proxy", "image": "i", "restartPolicy": "Always"}, init=True)
    main = _container()
    everything = [one, proxy, main]
    assert decide(POD, everything, 0.0).start == ("one",)
    one.terminated, one.ended_at = {"exitCode": 0}, 0.0
    assert decide(POD, everything, 0.0).start == ("proxy",)
    proxy.running_since = 1.0
    assert decide(POD, everything, 0.0).start == ()
    proxy.started = True
    assert decide(POD, everything, 0.0).start == ("main",)
    main.running_since = 2.0
    assert decide(POD, everything, 0.0).phase == "Running"


def test_a_pod_is_ready_when_its_sidecars_are_too() -> None:
    proxy = Container({"name": "proxy", "image": "i", "restartPolicy": "Always"}, init=True, running_since=1.0)
    main = _container(running_since=1.0, ready=True, started=True)
    for proxy.ready in (False, True):
        proxy.started = True
        status = pod_status(POD, [proxy, main], phase="Running", address="127.9.9.9", host="127.0.0.1", now=2.0)
        ready = next(each for each in status["conditions"] if each["type"] == "Ready")
        assert ready["status"] == str(proxy.ready)
        assert proxy.ready or ready["message"] == "containers with unready status: [proxy]"


@pytest.mark.parametrize(
    ("fetch", "main", "phase", "reasons"),
    [
        (None, {"waiting": ("ImagePullBackOff", "Back-off")}, "Failed", ["ContainerStatusUnknown"]),
        (None, {"terminated": {"exitCode": 0, "reason": "Completed"}}, "Succeeded", ["Completed"]),
        (None, {"terminated": {"exitCode": 1, "reason": "Error"}, "restarts": 2, "waiting": ("CrashLoopBackOff", "")},
         "Failed", ["Error"]),
        ({"terminated": {"exitCode": 0, "reason": "Completed"}}, {}, "Failed", ["Completed", "ContainerStatusUnknown"]),
        ({"waiting": ("ErrImagePull", "")}, {}, "Failed", ["ContainerStatusUnknown", None]),
    ],
)  # fmt: skip
def test_a_pod_that_is_deleted_before_it_ran_has_failed(
    fetch: dict[str, Any] | None, main: dict[str, Any], phase: str, reasons: list[str | None]
) -> None:
    first = [Container({"name": "fetch", "image": "i"}, init=True, **fetch)] if fetch is not None else []
    containers = [*first, _container(**main)]
    assert end(containers) == phase
    status = pod_status(POD, containers, phase=phase, address="127.9.9.9", host="127.0.0.1", now=2.0)
    told = [*status.get("initContainerStatuses", []), *status["containerStatuses"]]
    assert [each["state"].get("terminated", {}).get("reason") for each in told] == reasons
    assert [bool(each["imageID"]) for each in told] == [reason in {"Completed", "Error"} for reason in reasons]


def test_what_ran_when_the_cluster_died_counts_as_killed() -> None:
    status = {"containerStatuses": [{"name": "main", "restartCount": 2, "state": {"running": {"startedAt": None}}}]}
    (container,) = recalled({**POD, "status": status}, 50.0)
    assert (container.exit_code, container.restarts, container.ended_at) == (137, 2, 50.0)
    assert container.terminated is not None
    assert container.terminated["reason"] == "ContainerStatusUnknown"


def test_probe_results_count_in_a_row() -> None:
    counter = Counter(success_threshold=2, failure_threshold=3, state=True)
    states = []
    for ok in (False, False, True, False, False, False, True, True):
        counter = counter.add(ok)
        states.append(counter.state)
    assert states == [True, True, True, True, True, False, False, True]


@pytest.mark.parametrize(
    ("kind", "state", "age", "wanted"),
    [
        ("readiness", None, 1.0, 0.25),
        ("readiness", True, 1.0, 9.0),
        ("readiness", None, 61.0, 9.0),
        ("liveness", None, 1.0, 9.0),
        ("startup", None, 1.0, 0.25),
    ],
)
def test_probes_hurry_until_the_first_success(kind: str, state: bool | None, age: float, wanted: float) -> None:
    assert wait_after(kind, Counter(state=state), 9.0, age) == wanted


def test_ports_by_name() -> None:
    container = {"name": "c", "ports": [{"name": "http", "containerPort": 8080}]}
    assert (port_of(container, "http"), port_of(container, 80), port_of(container, "81")) == (8080, 80, 81)
    with pytest.raises(ValueError, match="couldn't find port"):
        port_of(container, "grpc")


def test_ready_conditions_keep_their_transition_times() -> None:
    old = [{"type": "Ready", "status": "True", "lastTransitionTime": "t0"}, {"type": "Mine", "status": "True"}]
    merged = merge_conditions(old, [{"type": "Ready", "status": "True"}, {"type": "X", "status": "False"}], "t1")
    assert [(c["type"], c.get("lastTransitionTime")) for c in merged] == [("Ready", "t0"), ("X", "t1"), ("Mine", None)]


def test_the_status_of_a_pod_that_waits_for_its_image() -> None:
    container = _container(waiting=("ErrImagePull", "why"))
    status = pod_status(POD, [container], phase="Pending", address="127.9.9.9", host="127.0.0.1", now=0.0)
    assert status["containerStatuses"][0]["state"] == {"waiting": {"reason": "ErrImagePull", "message": "why"}}
    assert {c["type"]: c["status"] for c in status["conditions"]} == {
        "PodReadyToStartContainers": "False",
        "Initialized": "True",
        "Ready": "False",
        "ContainersReady": "False",
        "PodScheduled": "True",
    }


def test_addresses_are_stable_and_unique() -> None:
    first, second = Addresses(), Addresses()
    assert first.claim("a") == second.claim("a") == first.claim("a")
    assert first.claim("b", first.claim("a")) != first.claim("a")
    second.release("a")
    assert second.claim("c", "127.20.0.1") == "127.20.0.1"
    assert len({first.claim(str(number)) for number in range(5000)}) == 5000


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("/etc/app", "/r/etc/app"),
        ("--config=/etc/app/x.ini", "--config=/r/etc/app/x.ini"),
        ("/etc/apple", "/etc/apple"),
        ("/my/etc/app", "/my/etc/app"),
        ("a:/etc/app/conf.d:b", "a:/r/conf:b"),
        ("/etc/app/conf.d/x", "/r/conf/x"),
    ],
)
def test_mount_paths_become_real_paths(text: str, wanted: str) -> None:
    assert rewrite(text, {"/etc/app": "/r/etc/app", "/etc/app/conf.d": "/r/conf"}) == wanted


@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x"])
def test_volumes_keep_inside_of_themselves(path: str) -> None:
    volume = {"name": "v", "configMap": {"name": "c", "items": [{"key": "k", "path": path}]}}
    with pytest.raises(MountError, match="relative"):
        files_of(volume, POD, Surroundings(lambda kind, name: {"data": {"k": "v"}}))


def test_unknown_volumes_are_refused_by_name() -> None:
    with pytest.raises(MountError, match="kind nfs"):
        files_of({"name": "v", "nfs": {"server": "s", "path": "/"}}, POD, Surroundings(lambda kind, name: None))


def test_images_by_all_their_names(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    table = tmp_path / "images.toml"
    table.write_text('"a/b:1" = { files = "files" }\n"tool" = { command = ["./tool"], path = ["bin"] }\n')
    images = ImageTable.load(table)
    assert images.names() == ["a/b:1", "busybox", "python:3.11", "tool"]
    image = images.find("docker.io/a/b:1@sha256:00")
    assert image is not None
    assert image.files == tmp_path / "files"
    assert images.find("docker.io/library/busybox:latest") is not None
    assert images.find("python:3.12") is None
    tool = images.find("tool")
    assert tool is not None
    assert tool.search_path().startswith(f"{tmp_path / 'bin'}{os.pathsep}")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x = 1", "must be a table"),
        ('x = { file = "y" }', "unknown keys"),
        ('x = { files = "nowhere" }', "no folder"),
        ("x = ", "cannot be read"),
        ('x = { command = "sh" }', "lists"),
    ],
)
def test_a_wrong_table_says_why(tmp_path: Path, text: str, why: str) -> None:
    table = tmp_path / "images.toml"
    table.write_text(text)
    with pytest.raises(ImageError, match=why):
        ImageTable.load(table)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_loses_lines_and_nothing_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    writer = LogWriter(tmp_path, 0)
    writer.feed(b"before\n")
    mine = writer._file
    with Path("/dev/full").open("ab", buffering=0) as full:
        writer._file = full
        writer.feed(b"lost\n")
        writer.feed(b"lost as well\n")
    assert [record.message for record in caplog.records] == [
        f"lines of {path_of(tmp_path, 0)} are lost: [Errno 28] No space left on device"
    ]
    writer._file = mine
    writer.feed(b"after\nlast")
    writer.close()
    assert [line.split(" ", 1)[1] for line in path_of(tmp_path, 0).read_text().splitlines()] == [
        "before",
        "after",
        "last",
    ]


def test_logs_are_lines_with_times_and_rotate(tmp_path: Path) -> None:
    assert stamp(1_700_000_000_000_000_001) == "2023-11-14T22:13:20.000000001Z"
    writer = LogWriter(tmp_path, 3, max_bytes=200)
    writer.feed(b"one\ntw")
    writer.feed(b"o\n")
    writer.close()
    assert [line.split(" ", 1)[1] for line in path_of(tmp_path, 3).read_text().splitlines()] == ["one", "two"]
    writer = LogWriter(tmp_path, 3, max_bytes=200)
    for number in range(40):
        writer.feed(f"line {number}\n".encode())
    writer.feed(b"x" * 40_000)
    writer.close()
    assert len(list(tmp_path.glob("3.log*"))) <= 5
    assert tail(path_of(tmp_path, 3), lines=1).endswith("xxx")
    LogWriter(tmp_path, 5).close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["5.log"]


def test_a_reused_pid_is_not_a_stray() -> None:
    me = procfs.stat(os.getpid())
    if me is None:
        pytest.skip("there is no /proc here")
    boot = procfs.boot_id()
    assert find([Record("c" * 64, me.pid, me.started, boot)]) == [me.pid]
    assert find([Record("c" * 64, me.pid, me.started - 1, boot)]) == []
    assert find([Record("c" * 64, me.pid, me.started, "another boot")]) == []
    assert find([]) == []


def test_what_a_pod_refers_to() -> None:
    env = [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s1", "key": "k"}}}, {"name": "B", "value": "x"}]
    spec = {
        "containers": [{"name": "c", "env": env, "envFrom": [{"configMapRef": {"name": "c1"}}]}],
        "volumes": [
            {"name": "v", "secret": {"secretName": "s2"}},
            {"name": "w", "projected": {"sources": [{"configMap": {"name": "c2"}}, {"secret": {"name": "s3"}}]}},
            {"name": "x", "emptyDir": {}},
        ],
    }
    wanted = {("secrets", "s1"), ("configmaps", "c1"), ("secrets", "s2"), ("configmaps", "c2"), ("secrets", "s3")}
    assert references(spec) == wanted


def test_usage_adds_up_by_session_and_limits_are_read() -> None:
    stats = [
        procfs.ProcessStat(1, 1, 0.5, 100, 0),
        procfs.ProcessStat(2, 1, 0.25, 50, 0),
        procfs.ProcessStat(3, 3, 1, 7, 0),
    ]
    sessions = by_session(stats)
    assert (sessions[1].cpu, sessions[1].memory, sessions[1].pids) == (0.75, 150, (1, 2))
    assert memory_limit({"resources": {"limits": {"memory": "1Ki"}}}) == 1024
    assert memory_limit({}) is None

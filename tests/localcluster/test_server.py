"""The whole cluster as a process: start, kill, start again; who may use its files; what it says when it can't start."""

import asyncio
import base64
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import urllib3
import yaml
from kubernetes import client, config

from localcluster.config import ClusterConfig
from localcluster.controllers.replicaset import ReplicaSets
from localcluster.pki import ensure_credentials
from localcluster.recorder import Recorder
from localcluster.registry import Registry
from localcluster.server import ClusterError, bootstrap, run_cluster
from localcluster.store import Store
from tests.kube.support import deployment, wait_until

REPOSITORY = Path(__file__).parents[2]


class Process:
    """`python -m localcluster` on a data directory."""

    def __init__(self, data_dir: Path, *options: str) -> None:
        self.kubeconfig = data_dir / "kubeconfig"
        self.kubeconfig.unlink(missing_ok=True)
        command = [sys.executable, "-m", "localcluster", "--data-dir", str(data_dir), "--port", "0", *options]
        self.popen = subprocess.Popen(
            command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            if "is ready" in line:
                break

    def api(self) -> tuple[client.CoreV1Api, client.AppsV1Api]:
        connection = config.new_client_from_config(str(self.kubeconfig))
        return client.CoreV1Api(connection), client.AppsV1Api(connection)

    def end(self, number: int) -> int:
        if self.popen.poll() is None:
            self.popen.send_signal(number)
        self.popen.communicate(timeout=20)
        return self.popen.returncode


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def begin(*options: str) -> Process:
        started.append(Process(tmp_path, *options))
        return started[-1]

    yield begin
    for process in started:
        process.end(signal.SIGTERM)


def ready(apps: client.AppsV1Api, count: int) -> bool:
    status = apps.read_namespaced_deployment("web", "default").status
    return status.ready_replicas == count and status.replicas == count


def test_a_killed_cluster_finds_everything_as_it_was(start: Callable[..., Process]) -> None:
    """kill -9 of the one process: objects, credentials and workloads are there after the next start."""
    first = start()
    core, apps = first.api()
    apps.create_namespaced_deployment("default", deployment("web", 2))
    core.create_namespaced_config_map("default", {"metadata": {"name": "c"}, "data": {"a": "b"}})
    wait_until("2 ready replicas", lambda: ready(apps, 2))
    before = yaml.safe_load(first.kubeconfig.read_text())
    uid = core.read_namespaced_config_map("c", "default").metadata.uid
    first.end(signal.SIGKILL)
    second = start()
    core, apps = second.api()
    after = yaml.safe_load(second.kubeconfig.read_text())
    assert after["users"] == before["users"]
    authority = "certificate-authority-data"
    assert after["clusters"][0]["cluster"][authority] == before["clusters"][0]["cluster"][authority]
    assert core.read_namespaced_config_map("c", "default").metadata.uid == uid
    wait_until("2 ready replicas again", lambda: ready(apps, 2))


def test_a_service_accounts_token_outlives_the_process(start: Callable[..., Process]) -> None:
    """A kubeconfig that was made for a ServiceAccount must go on working after a restart."""
    first = start("--hollow")
    core, _apps = first.api()
    account = {"metadata": {"name": "robot"}}
    core.create_namespaced_service_account("default", account)
    annotations = {"kubernetes.io/service-account.name": "robot"}
    secret = {"metadata": {"name": "t", "annotations": annotations}, "type": "kubernetes.io/service-account-token"}
    core.create_namespaced_secret("default", secret)
    held = wait_until("the token", lambda: core.read_namespaced_secret("t", "default").data)
    issued = core.create_namespaced_service_account_token("robot", "default", {"spec": {}}).status.token
    first.end(signal.SIGKILL)
    process = start("--hollow")
    for token in (issued, base64.b64decode(held["token"]).decode()):
        kubeconfig = yaml.safe_load(process.kubeconfig.read_text())
        kubeconfig["users"][0]["user"]["token"] = token
        connection = config.new_client_from_config_dict(kubeconfig)
        me = client.AuthenticationV1Api(connection).create_self_subject_review({})
        assert me.status.user_info.username == "system:serviceaccount:default:robot"


def test_a_stopped_cluster_leaves_no_process(start: Callable[..., Process]) -> None:
    cluster = start()
    _core, apps = cluster.api()
    apps.create_namespaced_deployment("default", deployment("web", 2))
    wait_until("2 ready replicas", lambda: ready(apps, 2))
    children = psutil.Process(cluster.popen.pid).children(recursive=True)
    assert len(children) >= 2
    assert cluster.end(signal.SIGTERM) == 0
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]


def test_only_holders_of_ca_and_token_get_in(start: Callable[..., Process]) -> None:
    cluster = start("--hollow")
    assert stat.S_IMODE(cluster.kubeconfig.stat().st_mode) == 0o600
    url = yaml.safe_load(cluster.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    with pytest.raises(urllib3.exceptions.SSLError):
        urllib3.request("GET", url, retries=False)
    core, _apps = cluster.api()
    nodes = {node.metadata.name: node.status.allocatable for node in core.list_node().items}
    assert sorted(nodes) == ["local-cpu-1", "local-cpu-2", "local-gpu-1"]
    assert nodes["local-gpu-1"]["nvidia.com/gpu"] == "2"


def test_faults_are_off_by_default_and_break_connections_under_tls(start: Callable[..., Process]) -> None:
    """https://kubernetes.io/docs/concepts/security/controlling-access/: whatever the API does goes over TLS."""
    for options, expected in (((), 404), (("--faults",), 201)):
        cluster = start("--hollow", *options)
        settings = config.new_client_from_config(str(cluster.kubeconfig)).configuration
        token = yaml.safe_load(cluster.kubeconfig.read_text())["users"][0]["user"]["token"]
        pool = urllib3.PoolManager(
            ca_certs=settings.ssl_ca_cert, headers={"Authorization": f"Bearer {token}"}, retries=False
        )
        path = f"{settings.host}/localcluster/faults"
        assert pool.request("POST", path, json={"fault": "CutOff"}, timeout=10).status == expected
        if expected == 201:
            with pytest.raises(urllib3.exceptions.ProtocolError):
                pool.request("GET", f"{settings.host}/api/v1/nodes", timeout=10)
            assert pool.request("DELETE", path, timeout=10).status == 200
        assert pool.request("GET", f"{settings.host}/api/v1/nodes", timeout=10).status == 200
        assert cluster.end(signal.SIGTERM) == 0


def test_a_second_cluster_on_the_same_folder_is_refused(start: Callable[..., Process], tmp_path: Path) -> None:
    start("--hollow")
    command = [sys.executable, "-m", "localcluster", "--data-dir", str(tmp_path), "--port", "0"]
    second = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=30, check=False)
    assert second.returncode == 1
    assert "another local cluster runs on" in second.stderr


def test_objects_that_cannot_be_read_are_said_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "state.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(ClusterError, match=r"state\.sqlite can't be read as a cluster's objects .* move it away"):
        asyncio.run(run_cluster(ClusterConfig(data_dir=tmp_path, port=0), stop=asyncio.Event()))
    assert (tmp_path / "state.sqlite").read_bytes() == b"no database at all" * 100


def test_a_taken_port_is_said(tmp_path: Path, start: Callable[..., Process]) -> None:
    url = yaml.safe_load(start("--hollow").kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    port = url.rpartition(":")[2]
    command = [sys.executable, "-m", "localcluster", "--data-dir", str(tmp_path / "other"), "--port", port]
    second = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=30, check=False)
    assert second.returncode == 1
    assert f"can't listen on 127.0.0.1:{port}" in second.stderr


def test_credentials_are_made_once_and_for_their_owner_alone(tmp_path: Path) -> None:
    first = ensure_credentials(tmp_path, "127.0.0.1")
    again = ensure_credentials(tmp_path, "127.0.0.1")
    assert first == again
    certificate = first.cert_file.read_bytes()
    assert ensure_credentials(tmp_path, "127.0.0.2").cert_file.read_bytes() != certificate
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "pki").iterdir()}
    assert modes == {0o600}
    assert stat.S_IMODE((tmp_path / "pki").stat().st_mode) & 0o077 == 0 or os.getuid() == 0


def test_a_part_that_ends_ends_the_cluster_and_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A cluster that limps is worse than one that ends and is started again; why it ended must be found in its log."""

    async def break_down(part: ReplicaSets) -> None:
        raise OverflowError("int too large")

    monkeypatch.setattr(ReplicaSets, "run", break_down)
    with pytest.raises(ClusterError, match=r"ReplicaSets ended by OverflowError\('int too large'\)"):
        asyncio.run(run_cluster(ClusterConfig(data_dir=tmp_path, port=0, hollow=True), stop=asyncio.Event()))
    assert "ReplicaSets ended, and the cluster with it" in caplog.text
    assert "in break_down" in caplog.text


def test_events_that_differ_by_their_message_alone_are_combined() -> None:
    """As by client-go's EventAggregator: nine of them, then one that counts up and says the last."""
    registry = Registry(Store())
    bootstrap(registry)
    node = registry.create("nodes", {"metadata": {"name": "n"}})
    for number in range(50):
        registry.record_event(node, "Warning", "Tired", f"yawns {number}", "kubelet")
        registry.record_event(node, "Warning", "Bored", "yawns", "kubelet")
    registry.record_event(node, "Warning", "Tired", "yawns 3", "kubelet")
    tired = {e["message"]: e["count"] for e in registry.list("events", "default") if e["reason"] == "Tired"}
    assert tired == {
        **{f"yawns {number}": 1 + (number == 3) for number in range(9)},
        "(combined from similar events): yawns 49": 41,
    }


def test_events_are_counted_up_and_expire() -> None:
    """As client-go's recorder aggregates them, and `--event-ttl` of kube-apiserver drops them."""
    registry = Registry(Store())
    bootstrap(registry)
    node = registry.create("nodes", {"metadata": {"name": "n"}})
    for _ in range(3):
        registry.record_event(node, "Warning", "Tired", "yawns", "kubelet")
    registry.record_event(node, "Normal", "Awake", "stretches", "kubelet")
    events = registry.list("events", "default", field_selector="involvedObject.name=n")
    assert {event["reason"]: event["count"] for event in events} == {"Tired": 3, "Awake": 1}
    assert registry.expire_events() == 0
    # Anybody may write events: one whose time is none must not keep the others for ever.
    odd = {"metadata": {"name": "odd"}, "involvedObject": {"kind": "Node", "name": "n"}, "lastTimestamp": "lately"}
    registry.create("events", odd, namespace="default")
    assert registry.expire_events() == 0
    assert Recorder(registry).expire(ttl=-1) == 3

"""The watcher against an API server that misbehaves on purpose: one test for each way in which watches fail."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.fernet import Fernet

from apps.clusters import reconcile, services
from apps.clusters.connect import addresses
from apps.clusters.models import Cluster, KubeEvent, Node, Pod, WatcherLease, Workload
from apps.clusters.observed import rows, store
from apps.clusters.pages.fleet import cut_off_since
from apps.clusters.watcher.timing import Timing
from apps.core.access import Principal
from tests.clusters.conftest import eventually
from tests.clusters.fakeapi import TOKEN, FakeApi, error_event, event, kubeconfig, node, pod
from tests.clusters.watching import FAST, Watching

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def cluster(api: FakeApi, admin: Principal) -> Cluster:
    api.put("nodes", node("n1", gpu="2"))
    return services.register(principal=admin, name="fake", kubeconfig_text=api.kubeconfig)


@pytest.fixture
def watching(cluster: Cluster, sent: object, run_route: None) -> Iterator[Watching]:
    watching = Watching()
    yield watching
    watching.stop()


def state() -> str:
    return Cluster.objects.get().state


def test_a_registered_cluster_becomes_healthy_and_its_objects_appear(
    api: FakeApi, watching: Watching, sent: tuple[list[Any], list[str]]
) -> None:
    eventually(lambda: state() == "Healthy", "the cluster is Healthy")
    stored = Node.objects.get()
    assert (stored.name, stored.ready, stored.allocatable_cpu_m, stored.allocatable_gpu) == ("n1", True, 4000, 2)
    assert stored.allocatable_memory_b == 8 * 1024**3

    lists = api.count("GET /api/v1/pods?limit")
    api.put("pods", pod("p1", run="7"))
    eventually(lambda: Pod.objects.filter(name="p1", health="Healthy", ready=True).exists(), "the pod is stored")
    eventually(lambda: ("wake", 7) in sent[0] and "run:7" in sent[1], "the run is woken and hinted")
    assert api.count("GET /api/v1/pods?limit") == lists, "the watch has told it, and not another list"
    stored = Pod.objects.get(name="p1")
    assert (stored.project, stored.run, stored.requests_cpu_m, stored.requests_gpu) == ("demo", "7", 500, 1)
    cluster = Cluster.objects.get()
    assert cluster.server_version == "v1.37.0-fake" and cluster.last_seen_at is not None
    assert {c["type"]: c["status"] for c in cluster.conditions}["Synced"] == "True"


def test_a_pod_deleted_while_its_phase_says_running_is_gone(api: FakeApi, watching: Watching) -> None:
    api.put("pods", pod("p1"))
    eventually(lambda: Pod.objects.present().exists(), "the pod is stored")
    api.remove("pods", "p1")
    eventually(lambda: not Pod.objects.present().exists(), "the pod is marked as deleted")
    gone = Pod.objects.get()
    assert gone.phase == "Running" and not gone.ready and gone.deleted_at is not None


def test_after_410_the_list_finds_what_the_watch_has_missed(
    api: FakeApi, watching: Watching, sent: tuple[list[Any], list[str]]
) -> None:
    api.put("pods", pod("stays"))
    api.put("pods", pod("vanishes", run="8"))
    api.put("jobs", pod("job-vanishes", run="9"))
    eventually(lambda: Pod.objects.present().count() == 2 and ("wake", 9) in sent[0], "both are stored")
    sent[0].clear()
    api.remove("pods", "vanishes", silent=True)
    api.remove("jobs", "job-vanishes", silent=True)
    api.put("pods", pod("appears"), silent=True)
    lists = api.count("GET /api/v1/pods?limit")
    gone = error_event(410, "Expired", "too old")
    for plural in ("pods", "jobs"):
        api.send_raw(plural, gone)
    eventually(
        lambda: set(Pod.objects.present().values_list("name", flat=True)) == {"stays", "appears"}, "the list is applied"
    )
    assert api.count("GET /api/v1/pods?limit") == lists + 1
    eventually(lambda: {("wake", 8), ("wake", 9)} <= set(sent[0]), "what vanished wakes its runs")


def test_a_half_open_watch_is_noticed_and_replaced(
    api: FakeApi, cluster: Cluster, sent: object, run_route: None
) -> None:
    timing = Timing(**{**FAST.__dict__, "watch": 1, "grace": 0.5})
    api.mute_watches = True
    watching = Watching(timing)
    try:
        eventually(lambda: api.count("watch=true") >= 5, "all kinds are watched")
        api.put("pods", pod("p1"))
        assert not Pod.objects.exists()
        api.mute_watches = False
        eventually(lambda: Pod.objects.filter(name="p1").exists(), "a new watch delivers what the mute one did not")
    finally:
        watching.stop()


def test_after_an_outage_silent_watches_are_replaced_at_once(api: FakeApi, watching: Watching) -> None:
    eventually(lambda: state() == "Healthy", "the cluster is Healthy")
    api.mute_watches = api.answer_nothing = True
    api.put("pods", pod("p1"))
    eventually(lambda: state() == "Unreachable", "the outage is seen")
    api.mute_watches = api.answer_nothing = False
    eventually(lambda: Pod.objects.filter(name="p1").exists(), "the old watches were broken off", seconds=20)
    eventually(lambda: state() == "Healthy", "the cluster is Healthy again")


def test_one_failed_request_does_not_make_a_cluster_unreachable(api: FakeApi, watching: Watching) -> None:
    eventually(lambda: state() == "Healthy", "the cluster is Healthy")
    api.probes_to_hang = 1
    eventually(lambda: api.given_up == 1, "a probe has hung until its time limit")
    probes = api.count("GET /version")
    eventually(lambda: api.count("GET /version") > probes + 2, "probes go on")
    from apps.core.models import Transition

    assert "Unreachable" not in Transition.objects.values_list("to_state", flat=True)


@pytest.mark.parametrize("code", [429, 500, 503])
def test_an_overloaded_server_is_asked_again_later(
    api: FakeApi, cluster: Cluster, sent: object, run_route: None, code: int
) -> None:
    api.status_on_list["pods"] = [code, code]
    api.put("pods", pod("p1"))
    watching = Watching()
    try:
        eventually(lambda: Pod.objects.filter(name="p1").exists(), "the third list succeeds")
        assert api.count("GET /api/v1/pods?limit") == 3
    finally:
        watching.stop()


def test_a_long_list_is_read_in_pages(api: FakeApi, cluster: Cluster, sent: object, run_route: None) -> None:
    for number in range(1200):
        api.objects["pods"][f"u{number}"] = {**pod(f"p{number}")}
        api.objects["pods"][f"u{number}"]["metadata"] |= {"uid": f"u{number}", "resourceVersion": "1"}
    watching = Watching()
    try:
        eventually(lambda: Pod.objects.present().count() == 1200, "all are stored")
        assert api.count("GET /api/v1/pods?limit=500") == 3
    finally:
        watching.stop()


def test_a_refused_credential_is_said_and_is_not_called_unreachable(api: FakeApi, watching: Watching) -> None:
    eventually(lambda: state() == "Healthy", "the cluster is Healthy")
    api.token = "another"
    gone = error_event(410, "Expired", "too old")
    api.send_raw("pods", gone)
    eventually(lambda: Cluster.objects.get().reason == "CredentialRefused", "the refusal is recorded")
    assert state() == "Degraded"


def test_errors_do_not_hide_behind_a_credential_on_trial(api: FakeApi, cluster: Cluster, sent: object) -> None:
    api.token = "another"
    watching = Watching(replace(FAST, opinion=60.0))
    try:
        eventually(lambda: "being tried" in Cluster.objects.get().message, "it is on trial")
        assert state() == "Pending"
        api.proxy = 500, "text/plain", b"broken"
        eventually(lambda: state() != "Pending" and "500" in Cluster.objects.get().message, "the error is told")
    finally:
        watching.stop()


def test_a_cluster_that_refuses_is_refused_since_then_also_for_the_next_watcher(
    api: FakeApi, cluster: Cluster, sent: object, run_route: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.token = "another"
    told: set[str] = set()

    def is_refused() -> bool:
        now = Cluster.objects.get()
        told.add(now.message.partition(":")[0])
        return now.reason == "CredentialRefused"

    first = Watching()
    try:
        eventually(is_refused, "the refusal is recorded")
    finally:
        first.stop()
    assert "Not up to date" not in told, "no list is to blame while the credential is on trial"
    stored = Cluster.objects.get()
    since = cut_off_since(stored)
    assert stored.synced_at is None and since is not None
    recorded: list[tuple[str, str, datetime | None]] = []
    record = reconcile.record_state

    def note(*args: Any, **kwargs: Any) -> bool:
        changed = record(*args, **kwargs)
        now = Cluster.objects.get()
        recorded.append((now.condition("Authorized"), now.reason, cut_off_since(now)))
        return changed

    monkeypatch.setattr("apps.clusters.watcher.cluster.record_state", note)
    # More patient than this test: what was refused already needs none.
    second = Watching(replace(FAST, opinion=60.0))
    try:
        probes = api.count("GET /version")
        eventually(lambda: api.count("GET /version") > probes + 3 and len(recorded) > 1, "it is probed and recorded")
        assert set(recorded) == {("False", "CredentialRefused", since)}
        api.token = TOKEN
        eventually(lambda: state() == "Healthy", "an answer says otherwise")
        assert Cluster.objects.get().condition("Authorized") == "True"
    finally:
        second.stop()


def test_changed_disabled_and_deleted_clusters_are_followed_within_two_seconds(
    api: FakeApi, watching: Watching, admin: Principal
) -> None:
    eventually(lambda: state() == "Healthy", "the cluster is Healthy")
    other = FakeApi()
    other.put("nodes", node("elsewhere"))
    cluster = Cluster.objects.get()
    try:
        services.replace_kubeconfig(principal=admin, cluster=cluster, kubeconfig_text=other.kubeconfig)
        eventually(lambda: list(Node.objects.values_list("name", flat=True)) == ["elsewhere"], "the new server")
        services.update_cluster(principal=admin, cluster=cluster, enabled=False)
        eventually(lambda: state() == "Disabled", "it is disabled")
        eventually(lambda: not watching_requests_grow(other), "nothing is asked any more")
        services.update_cluster(principal=admin, cluster=cluster, enabled=True)
        eventually(lambda: state() == "Healthy", "it is watched again")
    finally:
        other.close()


def watching_requests_grow(api: FakeApi) -> bool:
    before = len(api.requests)
    time.sleep(0.5)
    return len(api.requests) > before


def test_a_second_watcher_takes_over_and_the_first_can_write_no_more(
    api: FakeApi, cluster: Cluster, sent: object, run_route: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Watching()
    try:
        eventually(lambda: state() == "Healthy", "the first one watches")
        lease = WatcherLease.objects.get()
        WatcherLease.objects.update(holder="elsewhere/x/1/1", fencing=lease.fencing + 1)
        api.put("pods", pod("p1"))
        time.sleep(0.5)  # many batches: the first one must not write under the old number
        assert not Pod.objects.exists()
        WatcherLease.objects.update(expires_at="2000-01-01T00:00:00Z")
        eventually(lambda: Pod.objects.filter(name="p1").exists(), "whoever holds the new lease writes")
        assert WatcherLease.objects.get().fencing > lease.fencing + 1
    finally:
        first.stop()


def test_metrics_fill_the_used_columns_and_their_loss_empties_them(api: FakeApi, watching: Watching) -> None:
    api.put("pods", pod("p1"))
    api.put("pods", pod("p2"))
    eventually(lambda: Pod.objects.count() == 2, "the pods are stored")
    usage = {"cpu": "250m", "memory": "512Mi"}

    def measure(name: str) -> None:
        of_pod = {"metadata": {"name": name, "namespace": "flotilla-demo"}, "containers": [{"usage": usage}] * 2}
        api.usage = {"nodes": [{"metadata": {"name": "n1"}, "usage": usage}], "pods": [of_pod]}

    def used() -> dict[str, tuple[int | None, int | None]]:
        return {
            name: (cpu, memory) for name, cpu, memory in Pod.objects.values_list("name", "used_cpu_m", "used_memory_b")
        }

    measure("p1")
    eventually(lambda: used() == {"p1": (500, 1024**3), "p2": (None, None)}, "the pod's usage")
    assert Node.objects.get().used_cpu_m == 250
    eventually(lambda: Cluster.objects.get().has_metrics, "the cluster is known to have metrics")
    measure("p2")
    eventually(lambda: used() == {"p1": (None, None), "p2": (500, 1024**3)}, "what is no longer measured is not told")
    api.usage = None
    eventually(lambda: Node.objects.get().used_cpu_m is None, "old figures are forgotten")


def test_what_a_cluster_that_refuses_the_credential_holds_is_not_sampled(
    api: FakeApi, watching: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampled: list[int] = []
    write_usage = store.write_usage

    def write(cluster_id: int, fencing: int, nodes: Sequence[rows.Row], pods: Sequence[rows.Row]) -> bool:
        sampled.append(cluster_id)
        return write_usage(cluster_id, fencing, nodes, pods)

    def rounds(more: int) -> bool:
        """Whether nothing is sampled for that many rounds."""
        sampled.clear()
        seen = api.count("/metrics.k8s.io/")
        eventually(lambda: api.count("/metrics.k8s.io/") >= seen + more, "it is asked for use again")
        return not sampled

    monkeypatch.setattr(store, "write_usage", write)
    eventually(lambda: sampled, "what is requested is sampled without a metrics-server, too")
    api.token = "another"
    # A refusal is believed when it is said again, and a round that was counted may not have written yet.
    eventually(lambda: rounds(3), "the refusal is believed")
    assert rounds(2), "the watches may still stand"
    api.cut()
    eventually(lambda: Cluster.objects.get().reason == "CredentialRefused", "the refusal is told")
    assert rounds(4), "a gap in the history is a gap"


def test_events_are_kept_when_they_warn_or_concern_us(api: FakeApi, watching: Watching) -> None:
    ours, foreign = api.put("pods", pod("p1", run="3")), api.put("pods", pod("x", namespace="kube-system", project=""))
    eventually(lambda: Pod.objects.count() == 2, "the pods are stored")
    api.put("events", event("warning-of-ours", about=ours))
    api.put("events", event("normal-of-ours", about=ours, type_="Normal"))
    api.put("events", event("normal-of-others", about=foreign, type_="Normal"))
    api.put("events", event("warning-of-others", about=foreign))
    api.put("events", event("normal-of-a-node", about={"metadata": {"name": "n1"}}, kind="Node", type_="Normal"))
    eventually(lambda: KubeEvent.objects.count() == 4, "four are kept")
    assert set(KubeEvent.objects.values_list("involved_name", "type", "project")) == {
        ("p1", "Warning", "demo"),
        ("p1", "Normal", "demo"),
        ("x", "Warning", ""),
        ("n1", "Normal", ""),
    }


def test_one_object_that_can_not_be_stored_keeps_no_other_out(api: FakeApi, watching: Watching) -> None:
    eventually(lambda: state() == "Healthy", "the cluster is Healthy")
    broken = pod("broken")
    broken["status"]["containerStatuses"] = [{"name": "c", "restartCount": -(2**40)}]
    nul = pod("with-nul")
    nul["status"]["message"] = "a\x00b"
    nul["metadata"]["labels"]["note"] = "a\x00b"
    escaped = pod("with-escapes")
    # The end of a log, as terminationMessagePolicy FallbackToLogsOnError keeps it.
    message = '{"line": "\\\\u0000"} \\u0000, and half a pair: \ud800'
    escaped["status"]["containerStatuses"][0]["lastState"] = {"terminated": {"exitCode": 1, "message": message}}
    for obj in (broken, nul, escaped, pod("fine")):
        api.put("pods", obj)
    stored = {"fine", "with-nul", "with-escapes"}
    eventually(lambda: set(Pod.objects.values_list("name", flat=True)) == stored, "the others are stored")
    kept = Pod.objects.get(name="with-escapes").status["containers"][0]["last_state"]["terminated"]["message"]
    assert kept == message.replace("\ud800", "?")


@pytest.mark.parametrize("odd", ["a\x00b", "a\ud800b", "\\u0000 in a traceback", "\\\\\x00", "é" * 99])
def test_what_postgres_can_not_hold_is_taken_out_of_texts(api: FakeApi, watching: Watching, odd: str) -> None:
    eventually(lambda: state() == "Healthy", "the cluster is Healthy")
    lists = api.count("GET /api/v1/pods?limit=500")
    made = pod("odd", run="7")
    made["metadata"] |= {"uid": f"{odd}-uid", "creationTimestamp": "infinity"}
    made["metadata"]["labels"]["note"] = odd
    made["status"]["message"] = odd
    made["status"]["containerStatuses"] = [{"name": "c", "state": {"running": {"note": odd}}}]
    about = {"metadata": {"name": odd, "namespace": odd, "uid": odd}}
    told = event("odd", about=about)
    told["lastTimestamp"] = "9999-12-31T23:59:59Z"
    for _ in range(2):
        api.put("pods", made)
        api.put("events", told)
        api.put("jobs", {"metadata": {"name": "odd", "namespace": "n", "uid": f"{odd}-job"}})
    eventually(lambda: Pod.objects.filter(name="odd").exists() and KubeEvent.objects.exists(), "they are stored")
    eventually(lambda: Workload.objects.exists(), "so is the job")
    assert Pod.objects.get().created_at is None and KubeEvent.objects.get().last_at <= datetime.now(UTC)
    api.remove("pods", "odd")
    api.remove("jobs", "odd")
    eventually(lambda: not Pod.objects.present().exists() and not Workload.objects.exists(), "and go again")
    assert state() == "Healthy" and api.count("GET /api/v1/pods?limit=500") == lists, "nothing had to begin again"


def test_a_name_that_moves_is_followed(
    api: FakeApi, admin: Principal, sent: object, run_route: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = ["127.0.0.9"]  # nothing listens there
    monkeypatch.setattr(addresses, "resolve", lambda host, port: answers)
    text = kubeconfig(f"https://localhost:{api.port}", api.ca, {"token": TOKEN}, **{"tls-server-name": "127.0.0.1"})
    api.put("nodes", node("n1"))
    services.register(principal=admin, name="moved", kubeconfig_text=text)
    watching = Watching()
    try:
        eventually(lambda: state() == "Unreachable", "nobody answers at the old address")
        assert Cluster.objects.get().reason == "ConnectionRefused"
        answers[:] = ["169.254.169.254"]
        time.sleep(1.0)  # several resolutions: the forbidden address must not be dialled
        assert state() == "Unreachable"
        answers[:] = ["127.0.0.1"]
        eventually(lambda: state() == "Healthy", "the new address is dialled")
    finally:
        watching.stop()


def test_a_certificate_that_the_tls_library_refuses_is_said(cluster: Cluster, sent: object, run_route: None) -> None:
    Cluster.objects.update(ca="-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    watching = Watching()
    try:
        eventually(lambda: state() == "Unreachable", "it is said")
        assert "certificate can't be read" in Cluster.objects.get().message
    finally:
        watching.stop()


def test_a_refused_address_is_said_without_the_address(
    cluster: Cluster, sent: object, run_route: None, settings: Any
) -> None:
    settings.CLUSTER_ALLOWED_NETWORKS = []
    watching = Watching()
    try:
        eventually(lambda: state() == "Unreachable", "it is said")
        stored = Cluster.objects.get()
        assert "may not connect" in stored.message and "127.0.0" not in f"{stored.message} {stored.conditions}"
    finally:
        watching.stop()


def test_a_key_that_was_lost_is_said(cluster: Cluster, sent: object, run_route: None, settings: Any) -> None:
    settings.CREDENTIALS_KEYS = [Fernet.generate_key().decode()]
    watching = Watching()
    try:
        eventually(lambda: Cluster.objects.get().reason == "ConnectionImpossible", "it is said")
        assert "can't be decrypted" in Cluster.objects.get().message
    finally:
        watching.stop()

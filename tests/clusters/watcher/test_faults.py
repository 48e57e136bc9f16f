"""A real watcher on a local cluster that fails as real ones do: what is shown meanwhile, and that it comes back."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from apps.clusters import services
from apps.clusters.models import Cluster, Node, Pod
from apps.clusters.watcher.timing import Timing
from apps.core.access import Principal
from tests.clusters.conftest import eventually
from tests.clusters.watching import FAST, Watching
from tests.faulty import Faulty
from tests.stack import LocalCluster

pytestmark = pytest.mark.django_db(transaction=True)
#: Seconds. A loaded machine is slow.
PATIENCE = 30.0


@pytest.fixture(scope="module")
def faulty_cluster() -> Iterator[Faulty]:
    with LocalCluster.running("--hollow", "--faults", "--node-grace-seconds", "1") as cluster:
        yield Faulty(cluster)


@contextmanager
def watched(cluster: Faulty, admin: Principal, timing: Timing = FAST) -> Iterator[None]:
    """The cluster is registered and watched, and whole again at the end."""
    services.register(principal=admin, name="faulty", kubeconfig_text=cluster.kubeconfig.read_text())
    watching = Watching(timing)
    try:
        state("Healthy")
        yield
    finally:
        cluster.mend()
        watching.stop()


@pytest.fixture
def faulty(faulty_cluster: Faulty, admin: Principal) -> Iterator[Faulty]:
    with watched(faulty_cluster, admin):
        yield faulty_cluster


def state(wanted: str) -> None:
    eventually(lambda: Cluster.objects.get().state == wanted, f"the cluster is {wanted}", PATIENCE)


def start(name: str) -> None:
    """Start a pod behind the watcher's back."""
    resources = {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "100m", "memory": "64Mi"}}
    container = {"name": "main", "image": "busybox", "command": ["sleep", "1000"], "resources": resources}
    labels = {"app.kubernetes.io/managed-by": "flotilla"}
    metadata = {"name": name, "namespace": "default", "labels": labels}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}
    services.connect(Cluster.objects.get()).apply(pod)


def is_shown(name: str) -> bool:
    return Pod.objects.filter(name=name, deleted_at=None).exists()


def test_a_cluster_that_is_cut_off_is_unreachable_until_it_is_back(faulty: Faulty) -> None:
    start("before")
    eventually(lambda: is_shown("before"), "the pod is shown", PATIENCE)
    faulty.switch("CutOff", mode="Close")
    state("Unreachable")
    assert is_shown("before")
    faulty.mend()
    state("Healthy")
    start("after")
    eventually(lambda: is_shown("after"), "what came later is shown", PATIENCE)


def test_a_half_open_watch_is_noticed(faulty_cluster: Faulty, admin: Principal) -> None:
    """Airflow #12644: a watch that hangs without an error."""
    with watched(faulty_cluster, admin, replace(FAST, watch=1, grace=1.0)):
        assert faulty_cluster.switch("DropWatch", match={"resource": "pods"})["hits"] >= 1
        start("unheard")
        eventually(lambda: is_shown("unheard"), "what the dead watch did not tell is shown", PATIENCE)


def test_after_410_it_lists_again(faulty: Faulty) -> None:
    start("one")
    eventually(lambda: is_shown("one"), "the pod is shown", PATIENCE)
    faulty.switch("Answer", code=410, count=1, match={"resource": "pods", "verb": "watch"})
    assert faulty.switch("EndWatch", code=410, match={"resource": "pods"})["hits"] >= 1
    services.connect(Cluster.objects.get()).delete("v1", "Pod", "one", "default", grace_seconds=0)
    start("two")
    eventually(lambda: is_shown("two") and not is_shown("one"), "what changed meanwhile is shown", PATIENCE)
    state("Healthy")


def test_a_refused_token_is_said(faulty: Faulty) -> None:
    faulty.switch("ExpireToken", user="local-admin")
    faulty.switch("EndWatch")
    state("Degraded")
    eventually(lambda: Cluster.objects.get().reason == "CredentialRefused", "it is said again, and believed", PATIENCE)
    faulty.mend()
    state("Healthy")


def test_a_failed_node_is_shown(faulty: Faulty) -> None:
    faulty.switch("FailNode", node="local-cpu-1")
    eventually(lambda: Node.objects.get(name="local-cpu-1").health == "Unknown", "the node is lost", PATIENCE)
    state("Degraded")
    assert Cluster.objects.get().reason == "NodesNotReady"
    faulty.mend()
    state("Healthy")
    faulty.switch("PressNode", node="local-cpu-1", condition="MemoryPressure")
    eventually(lambda: Node.objects.get(name="local-cpu-1").health == "Degraded", "the node is pressed", PATIENCE)


def test_an_evicted_pod_is_shown_with_its_reason(faulty: Faulty) -> None:
    start("victim")
    eventually(lambda: Pod.objects.filter(name="victim", ready=True).exists(), "it runs", PATIENCE)
    faulty.switch("EvictPod", namespace="default", pod="victim")
    eventually(lambda: Pod.objects.filter(name="victim", reason="Evicted").exists(), "it is evicted", PATIENCE)
    assert "the node was low on memory" in Pod.objects.get(name="victim").message


def test_errors_of_one_kind_pass(faulty: Faulty) -> None:
    for code in (429, 500):
        faulty.switch("Answer", code=code, count=2, match={"resource": "pods"})
    faulty.switch("Malformed", count=1, match={"resource": "pods"})
    faulty.switch("EndWatch", match={"resource": "pods"})
    eventually(lambda: not faulty.send("GET")["items"], "the watcher ran into all of them", PATIENCE)
    start("late")
    eventually(lambda: is_shown("late"), "the pods are watched again", PATIENCE)
    state("Healthy")

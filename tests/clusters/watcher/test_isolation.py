"""What one cluster does wrong, or what is changed about one, is never felt by another."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from apps.clusters import services
from apps.clusters.models import Cluster, Node, Pod
from apps.clusters.observed import store
from apps.core.access import Principal
from tests.clusters.conftest import eventually
from tests.clusters.fakeapi import TOKEN, FakeApi, kubeconfig, node, pod
from tests.clusters.watching import FAST, Watching

pytestmark = pytest.mark.django_db(transaction=True)
DEEP = b"[" * 200_000


@pytest.fixture
def other() -> Iterator[FakeApi]:
    fake = FakeApi()
    fake.put("nodes", node("n2"))
    yield fake
    fake.close()


@pytest.fixture
def watching(api: FakeApi, admin: Principal, sent: object, run_route: None) -> Iterator[Watching]:
    api.put("nodes", node("n1"))
    services.register(principal=admin, name="good", kubeconfig_text=api.kubeconfig)
    started = Watching(FAST)
    eventually(lambda: state("good") == "Healthy", "the good one is Healthy")
    yield started
    started.stop()


def state(name: str) -> str:
    return Cluster.objects.get(name=name).state


def hang(api: FakeApi) -> None:
    api.answer_nothing = True


def hang_lists(api: FakeApi) -> None:
    api.hang_lists = True


def trickle(api: FakeApi) -> None:
    api.trickle = True


def say_html(api: FakeApi) -> None:
    api.body_on_list = dict.fromkeys(api.objects, b"<html>Sign in to the portal</html>")


def nest_deeply(api: FakeApi) -> None:
    api.body_on_list = dict.fromkeys(api.objects, DEEP)
    api.line_on_watch = dict.fromkeys(api.objects, DEEP)


def list_no_objects(api: FakeApi) -> None:
    api.body_on_list = dict.fromkeys(
        api.objects, b'{"kind": "PodList", "apiVersion": "v1", "items": {"a": 1}, "metadata": {"resourceVersion": "7"}}'
    )


def watch_no_objects(api: FakeApi) -> None:
    api.line_on_watch = dict.fromkeys(api.objects, b'{"type": "ADDED", "object": ["a"]}')


@pytest.mark.parametrize(
    ("misbehave", "seen_as"),
    [
        (hang, "Unreachable"),
        (hang_lists, "Degraded"),
        (trickle, "Degraded"),
        (say_html, "Degraded"),
        (nest_deeply, "Degraded"),
        (list_no_objects, "Degraded"),
        (watch_no_objects, "Degraded"),
    ],
)
def test_a_slow_or_wrong_cluster_is_told_of_and_another_goes_on(
    api: FakeApi,
    other: FakeApi,
    watching: Watching,
    admin: Principal,
    misbehave: Callable[[FakeApi], None],
    seen_as: str,
) -> None:
    misbehave(other)
    services.register(principal=admin, name="bad", kubeconfig_text=other.kubeconfig)
    eventually(lambda: state("bad") == seen_as, "it is said of the bad one", 20)
    goes_on(api)
    assert state("good") == "Healthy" and state("bad") == seen_as


@pytest.mark.parametrize("misbehave", [hang, hang_lists, trickle])
def test_nobody_waits_for_a_cluster_that_does_not_answer(
    api: FakeApi,
    other: FakeApi,
    admin: Principal,
    sent: object,
    run_route: None,
    misbehave: Callable[[FakeApi], None],
) -> None:
    """So patient a watcher would be seen to wait, on the busiest of machines."""
    misbehave(other)
    api.put("nodes", node("n1"))
    for name, one in (("bad", other), ("good", api)):
        services.register(principal=admin, name=name, kubeconfig_text=one.kubeconfig)
    patient = Watching(replace(FAST, probe_limit=600.0, page_limit=600.0, grace=600.0))
    try:
        eventually(lambda: other.requests, "the bad one is asked")
        eventually(lambda: state("good") == "Healthy", "the good one is Healthy")
        goes_on(api)
    finally:
        # Who waits for an answer is not waited for.
        patient.stop()


def goes_on(api: FakeApi) -> None:
    """Wait for changes there to be stored."""
    for number in range(3):
        api.put("pods", pod(f"p{number}"))
        eventually(lambda n=number: Pod.objects.filter(name=f"p{n}").exists(), "the good one goes on")  # type: ignore[misc]


@pytest.mark.parametrize("whole", [False, True])
def test_huge_pages_are_read_in_smaller_ones_while_another_goes_on(
    api: FakeApi, other: FakeApi, watching: Watching, admin: Principal, whole: bool
) -> None:
    other.cache_is_whole = whole
    for number in range(300):
        other.put("pods", pod(f"huge-{number}"), silent=True)
    other.padding = 100_000  # 30 MB in one page
    services.register(principal=admin, name="huge", kubeconfig_text=other.kubeconfig)
    goes_on(api)
    eventually(lambda: state("huge") == "Healthy", "all is read in the end", 60)
    assert other.count("pods?limit=20") == 15, "pages of 100 would still be larger than 8 MB"


def test_objects_that_make_no_sense_are_left_out(api: FakeApi, watching: Watching) -> None:
    odd = [
        {"metadata": ["a list"]},
        {"metadata": {"uid": "u1", "name": "x", "labels": ["a"]}, "status": {"phase": "Running"}},
        {
            "metadata": {"uid": "u2", "name": "x", "namespace": "n"},
            "status": {"containerStatuses": [{"restartCount": "y"}]},
        },
        {"metadata": {"uid": "u3", "name": "x", "namespace": "n"}, "spec": "none"},
    ]
    for obj in odd:
        api.send_raw("pods", {"type": "ADDED", "object": obj})
    api.put("pods", pod("fine"))
    eventually(lambda: Pod.objects.filter(name="fine").exists(), "the others are stored")
    assert Pod.objects.count() == 1 and state("good") == "Healthy"
    assert api.count("GET /api/v1/pods?limit") == 1, "and nothing had to begin again"


def test_rows_that_postgres_refuses_cost_their_own_cluster_alone(
    api: FakeApi, other: FakeApi, watching: Watching, admin: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    together: list[set[int]] = []
    write_many = store.write_many
    monkeypatch.setattr(store, "write_many", lambda batch: together.append(set(batch)) or write_many(batch))
    bad = services.register(principal=admin, name="bad", kubeconfig_text=other.kubeconfig).pk
    broken = pod("broken")
    broken["status"]["containerStatuses"] = [{"name": "c", "restartCount": -(2**40)}]
    other.put("pods", broken)
    other.put("pods", pod("fine"))
    eventually(lambda: state("bad") == "Healthy", "all that can be stored is")
    together.clear()
    for number in range(10):
        other.put("pods", broken)
        api.put("pods", pod(f"p{number}"))
        eventually(lambda n=number: Pod.objects.filter(name=f"p{n}").exists(), "the good one goes on")  # type: ignore[misc]
    assert {bad} in together and all(batch == {bad} or bad not in batch for batch in together)


def test_a_change_restarts_the_streams_of_that_cluster_alone(
    api: FakeApi, other: FakeApi, watching: Watching, admin: Principal
) -> None:
    changed = services.register(principal=admin, name="changed", kubeconfig_text=other.kubeconfig)
    eventually(lambda: state("changed") == "Healthy", "both are watched")
    before_change = lists_and_watches(api)

    other.token = "rotated"
    text = kubeconfig(f"https://127.0.0.1:{other.port}", other.ca, {"token": "rotated"})
    services.replace_kubeconfig(principal=admin, cluster=changed, kubeconfig_text=text)
    # The service tries the new credential itself, and the old watches stand until the watcher has ended them: only
    # watches with the new one say that it has.
    eventually(lambda: "Bearer rotated" in watched_with(other), "the streams stand again, with the new credential")
    other.put("pods", pod("after-rotation"))
    eventually(lambda: Pod.objects.filter(name="after-rotation").exists(), "and bring what is new")
    before, probes = len(other.authorization), other.count("GET /version")
    eventually(lambda: other.count("GET /version") > probes + 1, "probes go on")
    assert f"Bearer {TOKEN}" not in other.authorization[before:], "nothing uses the old one any more"

    services.update_cluster(principal=admin, cluster=changed, labels={"region": "eu"})
    again = other.count("watch=true")
    api.put("pods", pod("p1"))
    eventually(lambda: Pod.objects.filter(name="p1").exists(), "the other goes on")
    assert other.count("watch=true") == again, "labels restart nothing"
    assert lists_and_watches(api) == before_change


def watched_with(api: FakeApi) -> set[str]:
    """The credentials with which watches were asked for."""
    return {used for asked, used in zip(api.requests, api.authorization, strict=False) if "watch=true" in asked}


def lists_and_watches(api: FakeApi) -> int:
    """Metrics and the version are asked for all the time; lists and watches only at the beginning."""
    return sum("limit=500" in asked or "watch=true" in asked for asked in api.requests if "metrics" not in asked)


def test_a_moved_cluster_shows_the_new_server_and_only_that(
    api: FakeApi, other: FakeApi, watching: Watching, admin: Principal
) -> None:
    good = Cluster.objects.get(name="good")
    services.replace_kubeconfig(principal=admin, cluster=good, kubeconfig_text=other.kubeconfig)
    eventually(lambda: list(Node.objects.values_list("name", flat=True)) == ["n2"], "the new server's nodes")
    asked = len(api.requests)
    other.put("pods", pod("p1"))
    eventually(lambda: Pod.objects.filter(name="p1").exists(), "the new server is watched")
    assert len(api.requests) == asked, "the old one is not asked any more"

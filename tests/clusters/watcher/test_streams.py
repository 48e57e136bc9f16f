"""Each stream for itself: how often it asks, how long it pauses, what it notices; and how old what it brings is."""

import asyncio
import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction

from apps.clusters import services
from apps.clusters.kube.stream import StreamClient
from apps.clusters.models import Cluster, KubeEvent, Pod, WatcherLease
from apps.clusters.watcher.kinds import KINDS
from apps.clusters.watcher.timing import Timing
from apps.core.access import Principal
from apps.core.models import Transition
from tests.clusters.conftest import eventually
from tests.clusters.fakeapi import FakeApi, error_event, event, node, pod
from tests.clusters.watching import FAST, Watching

pytestmark = pytest.mark.django_db(transaction=True)
GONE = error_event(410, "Expired", "too old")
Sent = tuple[list[tuple[str, int]], list[str]]


@pytest.fixture
def cluster(api: FakeApi, admin: Principal, sent: Sent, run_route: None) -> Cluster:
    api.put("nodes", node("n1"))
    return services.register(principal=admin, name="fake", kubeconfig_text=api.kubeconfig)


@pytest.fixture
def watching(cluster: Cluster) -> Iterator[Watching]:
    watching = Watching()
    eventually(lambda: Cluster.objects.get().state == "Healthy", "the cluster is Healthy")
    yield watching
    watching.stop()


def lists(api: FakeApi, plural: str = "pods") -> int:
    return api.count(f"/v1/{plural}?limit")  # usage is asked for under /v1beta1/


def pods_in_rows() -> set[str]:
    return set(Pod.objects.present().values_list("name", flat=True))


def test_one_list_a_kind_however_many_objects_come(api: FakeApi, watching: Watching) -> None:
    for number in range(30):
        api.put("events", event(f"e{number}", about=api.put("pods", pod(f"p{number}"))))
    eventually(lambda: KubeEvent.objects.count() == 30 and Pod.objects.count() == 30, "all are stored")
    for plural in ("nodes", "pods", "events", "jobs", "deployments", "services", "horizontalpodautoscalers"):
        assert api.count(f"/{plural}?limit=500&resourceVersion=0") == 1 and api.count(f"/{plural}/") == 0, plural


def test_a_list_that_repeats_what_is_known_writes_nothing_and_wakes_nobody(
    api: FakeApi, watching: Watching, sent: Sent
) -> None:
    for number in range(200):
        done = pod(f"done-{number}", run=str(number))
        done["status"] = {"phase": "Succeeded"}
        api.put("pods", done, silent=number > 0)
    api.send_raw("pods", GONE)
    eventually(lambda: Pod.objects.count() == 200 and len(sent[0]) >= 200, "the finished pods are stored")
    sent[0].clear()
    before, asked = versions(), lists(api)
    api.send_raw("pods", GONE)
    eventually(lambda: lists(api) > asked, "they are listed again")
    api.put("pods", pod("new", run="7777"))
    eventually(lambda: ("wake", 7777) in sent[0], "what is new wakes")
    assert sent[0] == [("wake", 7777)]
    assert {row for row in versions() if row in before} == before, "no row of a finished pod was written"


def versions() -> set[tuple[int, str]]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, xmin::text FROM clusters_pod")
        return set(cursor.fetchall())


@pytest.mark.parametrize("code", [429, 503])
def test_a_pause_that_the_server_asks_for_is_kept(api: FakeApi, cluster: Cluster, code: int) -> None:
    api.status_on_list["pods"] = [code]
    api.retry_after = "2"
    watching = Watching()
    try:
        eventually(lambda: Cluster.objects.get().state == "Healthy", "the second list succeeds")
        first, second = api.moments("/v1/pods?limit")
        assert second - first >= 2.0, "its own back-off would be 50 ms"
        assert len(api.moments("/v1/nodes?limit")) == 1, "other kinds do not wait"
    finally:
        watching.stop()


def test_each_stream_backs_off_for_itself(api: FakeApi, watching: Watching) -> None:
    api.status_on_list["pods"] = [500] * 1000
    asked = lists(api)
    api.send_raw("pods", GONE)
    eventually(lambda: lists(api) >= asked + 9, "it asks again and again")
    api.put("jobs", pod("j"))
    eventually(lambda: Cluster.objects.get().reason == "WatchFailing", "it is said")
    assert "Pod" in Cluster.objects.get().message
    moments = api.moments("/v1/pods?limit")[-5:]
    pauses = [later - earlier for earlier, later in itertools.pairwise(moments)]
    assert min(pauses) > FAST.backoff_most / 2 * 0.9, "by now it waits the longest pause, less the jitter"
    assert lists(api, "nodes") == 1 and lists(api, "jobs") == 1, "the others go on undisturbed"
    api.status_on_list["pods"] = []
    eventually(lambda: Cluster.objects.get().state == "Healthy", "and it recovers")


def test_pauses_double_up_to_a_limit_and_are_spread() -> None:
    timing = Timing()
    for failures, longest in [(1, 0.5), (2, 1.0), (3, 2.0), (7, 30.0), (99, 30.0)]:
        pauses = [timing.backoff(failures) for _ in range(200)]
        assert longest / 2 <= min(pauses) <= longest * 0.6 and longest * 0.9 <= max(pauses) <= longest


def test_a_proxy_that_cuts_watches_is_no_failure(api: FakeApi, cluster: Cluster) -> None:
    watching = Watching(replace(FAST, backoff_first=0.01, backoff_most=0.02))
    try:
        eventually(lambda: Cluster.objects.get().state == "Healthy", "the cluster is Healthy")
        for number in range(4):
            api.put("pods", pod(f"p{number}"))
            eventually(lambda n=number: f"p{n}" in pods_in_rows(), "it is stored")  # type: ignore[misc]
            time.sleep(0.05)  # the watch has stood for a while
            watches = api.count("watch=true")
            api.cut()
            eventually(lambda w=watches: api.count("watch=true") >= w + 7, "all are resumed")  # type: ignore[misc]
        assert lists(api) == 1, "nothing has to be listed again"
        moves = Transition.objects.exclude(from_state="").values_list("to_state", flat=True)
        assert list(moves) == ["Healthy"], "and nobody sees it"
    finally:
        watching.stop()


def test_an_expired_token_is_said_and_its_successor_is_used(api: FakeApi, watching: Watching, admin: Principal) -> None:
    api.token = "next"
    api.cut()
    eventually(lambda: Cluster.objects.get().reason == "CredentialRefused", "the refusal is recorded")
    assert Cluster.objects.get().state == "Degraded"
    api.put("pods", pod("meanwhile"))
    services.replace_kubeconfig(
        principal=admin, cluster=Cluster.objects.get(), kubeconfig_text=api.kubeconfig_with("next")
    )
    eventually(lambda: Cluster.objects.get().state == "Healthy", "the new one is accepted")
    eventually(lambda: "meanwhile" in pods_in_rows(), "what happened meanwhile is found")


def test_postgres_sessions_that_break_lose_nothing(api: FakeApi, watching: Watching) -> None:
    for number in range(5):
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND datname = current_database()"
            )
        api.put("pods", pod(f"p{number}"))
    eventually(lambda: Pod.objects.count() == 5, "all are stored")
    assert lists(api) == 1, "out of what was in memory"


def test_a_cluster_that_comes_and_goes_is_called_unstable(api: FakeApi, watching: Watching) -> None:
    for _ in range(3):
        api.answer_nothing = True
        eventually(lambda: Cluster.objects.get().state == "Unreachable", "the outage is seen")
        api.answer_nothing = False
        eventually(lambda: Cluster.objects.get().state != "Unreachable", "it is back", 20)
    stored = Cluster.objects.get()
    assert (stored.state, stored.reason) == ("Degraded", "Unstable")
    assert stored.message == "Unstable: unreachable 3 times in the last 10 min."
    moves = Transition.objects.exclude(from_state="").values_list("to_state", flat=True)
    assert "Healthy" not in list(moves)[-2:]


def test_how_old_what_is_shown_is_can_be_read(api: FakeApi, cluster: Cluster) -> None:
    watching = Watching(replace(FAST, watch=1, grace=0.5))
    try:
        eventually(lambda: Cluster.objects.get().synced_at is not None, "it is in step")
        began = datetime.now(UTC)
        # Nothing happens on the cluster, and yet its watches end in order and say so.
        eventually(lambda: fresh("synced_at") > began and fresh("last_seen_at") > began, "it stays fresh")
        streams = Cluster.objects.get().streams
        assert set(streams) == {watched.kind for watched in KINDS}
        assert all(each["error"] == "" and each["at"] for each in streams.values())

        api.mute_watches = True  # half-open: probes are answered, and nothing comes
        time.sleep(2.0)  # the watches that could still speak have ended
        stopped = fresh("synced_at")
        probed = fresh("last_seen_at")
        eventually(lambda: fresh("last_seen_at") > probed + timedelta(seconds=1), "probes are answered")
        assert fresh("synced_at") == stopped, "what is not known is not claimed"
        assert datetime.now(UTC) - stopped > timedelta(seconds=1)
    finally:
        watching.stop()


def fresh(field: str) -> datetime:
    value: Any = getattr(Cluster.objects.get(), field)
    return value


def test_a_silent_kind_raises_the_alarm(api: FakeApi, cluster: Cluster) -> None:
    # A server that promises to end a watch and does not, and sends no bookmarks either.
    api.mute_watches = True
    watching = Watching(replace(FAST, stale=1.0))
    try:
        eventually(lambda: Cluster.objects.get().reason == "Silent", "it is said")
        assert Cluster.objects.get().state == "Degraded"
    finally:
        watching.stop()


def test_a_lease_that_ended_for_a_moment_ends_no_watch_for_good(api: FakeApi, watching: Watching) -> None:
    """As after a pause of the process or of Postgres: a write comes before the renewal, and nobody has taken over."""
    fencing = WatcherLease.objects.get().fencing

    def expire_and_write() -> bool:
        WatcherLease.objects.update(expires_at="2000-01-01T00:00:00Z")
        api.put("jobs", pod(f"j{next(numbers)}"))
        return WatcherLease.objects.get().fencing > fencing

    numbers = itertools.count()
    eventually(expire_and_write, "the lease is taken anew, with a new number")
    api.put("pods", pod("after"))
    eventually(lambda: "after" in pods_in_rows(), "and the cluster is watched again")


def test_what_a_watch_never_told_is_found_in_time(api: FakeApi, cluster: Cluster) -> None:
    watching = Watching(replace(FAST, watch=1, relist=1.5))
    try:
        api.put("pods", pod("vanishes"))
        eventually(lambda: "vanishes" in pods_in_rows(), "it is stored")
        api.remove("pods", "vanishes", silent=True)
        api.put("pods", pod("appears"), silent=True)
        eventually(lambda: pods_in_rows() == {"appears"}, "the next list is compared")
    finally:
        watching.stop()


def test_a_version_that_the_server_can_not_serve_is_given_up(api: FakeApi, watching: Watching) -> None:
    """As after a restore of its data: it answers each watch from there with an error."""
    asked = lists(api)
    api.line_on_watch["pods"] = json.dumps(error_event(500, "InternalError", "no such revision")).encode()
    api.cut()
    eventually(lambda: lists(api) > asked, "it is listed again")
    api.put("pods", pod("restored"), silent=True)
    eventually(lambda: "restored" in pods_in_rows(), "and what is there is shown")
    del api.line_on_watch["pods"]
    eventually(lambda: Cluster.objects.get().state == "Healthy", "and it recovers")


def test_watches_that_are_accepted_and_broken_off_do_not_make_the_state_flap(api: FakeApi, cluster: Cluster) -> None:
    api.line_on_watch["jobs"] = json.dumps(error_event("odd", "Odd", "not now")).encode()
    watching = Watching(replace(FAST, backoff_first=0.2, backoff_most=0.3))
    try:
        eventually(lambda: Cluster.objects.get().reason == "WatchFailing", "it is said")
        seen = api.count("/jobs?watch")
        moves = Transition.objects.count()
        eventually(lambda: api.count("/jobs?watch") > seen + 5, "it is tried again and again")
        assert Transition.objects.count() == moves and Cluster.objects.get().state == "Degraded"
        del api.line_on_watch["jobs"]
        eventually(lambda: Cluster.objects.get().state == "Healthy", "and it recovers")
    finally:
        watching.stop()


def test_what_is_not_stored_is_not_claimed_to_be_shown(api: FakeApi, cluster: Cluster) -> None:
    watching = Watching(replace(FAST, watch=1))
    try:
        began = datetime.now(UTC)
        eventually(lambda: Cluster.objects.get().synced_at and fresh("synced_at") > began, "it stays fresh")
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("LOCK TABLE clusters_workload IN SHARE MODE")
            api.put("jobs", pod("waits"))
            heard = datetime.now(UTC)
            ended = api.count("watch=true") + 21
            eventually(lambda: api.count("watch=true") > ended, "watches end in order, and probes are answered")
            eventually(lambda: fresh("last_seen_at") > heard + timedelta(seconds=1), "ages are recorded all the while")
            assert fresh("synced_at") < heard + timedelta(seconds=0.5)
        eventually(lambda: fresh("synced_at") > heard + timedelta(seconds=1), "it is fresh again")
    finally:
        watching.stop()


def test_an_overloaded_server_is_not_unreachable(api: FakeApi, watching: Watching) -> None:
    probes = api.count("GET /version")
    api.status_on_version = 429
    eventually(lambda: api.count("GET /version") > probes + 5, "it is probed")
    assert Cluster.objects.get().state == "Healthy"


@pytest.mark.parametrize("after", [0.2, 0.4])
def test_a_call_that_is_cancelled_at_the_moment_of_its_time_limit_is_cancelled(
    api: FakeApi, cluster: Cluster, after: float
) -> None:
    """Or a watcher that ends, or has lost a lease, would go on for ever."""
    api.answer_nothing = True
    connection_, asked = services.connection_of(cluster), api.count("/version")

    async def ask() -> None:
        client = StreamClient(connection_)
        call = asyncio.create_task(client.version(0.3))
        while api.count("/version") == asked:  # noqa: ASYNC110 - told by another thread
            await asyncio.sleep(0.001)
        asyncio.get_running_loop().call_later(after, call.cancel)
        time.sleep(0.6)  # noqa: ASYNC251 - both are due when the loop goes on
        with pytest.raises(asyncio.CancelledError):
            await call
        await client.close()

    asyncio.run(ask())

import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from apps.clusters import reconcile, services
from apps.clusters.models import Cluster, KubeEvent, Pod, WatcherLease
from apps.clusters.observed import interests, store
from apps.clusters.observed.observation import Observation
from apps.clusters.reconcile import tidy
from apps.clusters.watcher import lease
from apps.core.access import Principal
from apps.core.models import Transition
from apps.core.work.models import Gate
from controlplane.embedded.waiting import wait_for
from tests.clusters.fakeapi import FakeApi
from tests.clusters.pages.test_pages import observe

pytestmark = pytest.mark.django_db
WELL = Observation(ever_seen=True, streams={"Node": "", "Pod": ""}, nodes=1, nodes_ready=1)


@pytest.fixture
def cluster(api: FakeApi, admin: Principal) -> Cluster:
    return services.register(principal=admin, name="c", kubeconfig_text=api.kubeconfig)


def hold(cluster: Cluster, seconds: float = 60.0, holder: str = "w/m/1/1") -> int:
    return lease.acquire([cluster.pk], holder, seconds)[cluster.pk]


def test_a_state_is_recorded_once_with_its_transition(cluster: Cluster) -> None:
    fencing = hold(cluster)
    assert reconcile.record_state(cluster.pk, fencing, WELL, server_version="v1", has_metrics=True)
    assert not reconcile.record_state(cluster.pk, fencing, WELL), "nothing looks different"
    stored = Cluster.objects.get()
    assert (stored.state, stored.reason, stored.server_version, stored.has_metrics) == (
        "Healthy",
        "AllWell",
        "v1",
        True,
    )
    assert stored.message == "1 of 1 nodes are ready."
    moves = Transition.objects.filter(object_type="clusters.cluster").values_list("from_state", "to_state")
    assert list(moves) == [("", "Pending"), ("Pending", "Healthy")]


AILING = replace(WELL, nodes=2)


@pytest.mark.parametrize(
    ("before", "seen", "told"),
    [
        (WELL, Observation(failures=3, ever_seen=True), True),
        (WELL, WELL, False),
        (AILING, replace(AILING, nodes=3), False),
        # It was Degraded before, and is.
        (AILING, replace(AILING, authorized=False), True),
        (replace(AILING, authorized=False), AILING, True),
    ],
)
def test_what_lives_on_a_cluster_follows_its_state(
    cluster: Cluster, before: Observation, seen: Observation, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    followed: list[int] = []
    monkeypatch.setattr(interests, "_followers", [lambda cluster: followed.append(cluster.pk)])
    fencing = hold(cluster)
    reconcile.record_state(cluster.pk, fencing, before)
    followed.clear()
    reconcile.record_state(cluster.pk, fencing, seen)
    assert followed == [cluster.pk] * told


def test_work_waits_for_a_cluster_that_is_away_and_is_due_when_it_is_back(cluster: Cluster, admin: Principal) -> None:
    fencing = hold(cluster)
    reconcile.record_state(cluster.pk, fencing, WELL)
    assert not Gate.objects.exists()
    reconcile.record_state(cluster.pk, fencing, Observation(failures=3, ever_seen=True, error_reason="Timeout"))
    assert Gate.objects.get(cluster=cluster.pk).reason == "Timeout"
    reconcile.record_state(cluster.pk, fencing, replace(WELL, successes=3))
    assert not Gate.objects.exists()
    reconcile.record_state(cluster.pk, fencing, replace(WELL, authorized=False))
    assert Gate.objects.get().reason == "CredentialRefused"
    services.update_cluster(principal=admin, cluster=Cluster.objects.get(), enabled=False)
    assert Gate.objects.get().reason == "disabled"
    services.update_cluster(principal=admin, cluster=Cluster.objects.get(), enabled=True)
    assert not Gate.objects.exists()


def test_followers_ask_in_the_watchers_order(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else its batch, which asks for deployments and then runs, and a change of state could wait for each other."""
    modules = [follower.__module__.split(".")[1] for follower in interests._followers]
    assert modules == ["clusters", "experiments", "deployments"], "as the apps are loaded"
    called: list[str] = []
    followers = [lambda cluster, module=module: called.append(module) for module in modules]
    monkeypatch.setattr(interests, "_followers", followers)
    interests.tell_state(cluster)
    assert called == ["deployments", "experiments", "clusters"]


def test_followers_have_asked_before_the_gate_opens(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening locks some rows in no order: who then waited for another row could be waited for."""
    fencing, closed = hold(cluster), []
    reconcile.record_state(cluster.pk, fencing, replace(AILING, authorized=False))
    monkeypatch.setattr(interests, "_followers", [lambda cluster: closed.append(Gate.objects.exists())])
    reconcile.record_state(cluster.pk, fencing, AILING)
    assert closed == [True] and not Gate.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_what_was_seen_before_it_was_disabled_opens_no_gate(cluster: Cluster, admin: Principal) -> None:
    fencing = hold(cluster)
    reconcile.record_state(cluster.pk, fencing, replace(AILING, authorized=False))
    seen: list[bool] = []

    def late() -> None:
        try:
            seen.append(reconcile.record_state(cluster.pk, fencing, AILING))
        finally:
            connection.close()

    with transaction.atomic():
        services.update_cluster(principal=admin, cluster=Cluster.objects.get(), enabled=False)
        watcher = threading.Thread(target=late)
        watcher.start()
        wait_for(_somebody_waits_for_a_lock, "the watcher to wait", timeout=30)
    watcher.join(10)
    assert seen == [False] and Gate.objects.get().reason == "disabled"


def _somebody_waits_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(cursor.fetchone()[0])


def test_since_when_something_is_so_is_not_forgotten_when_a_watcher_begins_anew(cluster: Cluster) -> None:
    fencing = hold(cluster)
    ailing = replace(AILING, resuming=False)
    reconcile.record_state(cluster.pk, fencing, ailing)
    before = Cluster.objects.get().conditions
    reconcile.record_state(cluster.pk, fencing, Observation())
    assert Cluster.objects.get().conditions == before
    listing = Observation(ever_seen=True, streams={"Node": None, "Pod": None})
    reconcile.record_state(cluster.pk, fencing, listing)
    reconcile.record_state(cluster.pk, fencing, ailing)
    assert Cluster.objects.get().conditions == before
    reconcile.record_state(cluster.pk, fencing, replace(listing, resuming=False))
    since = {
        condition["type"]: (condition["status"], condition["reason"]) for condition in Cluster.objects.get().conditions
    }
    assert since["NodesReady"] == since["Synced"] == ("Unknown", "Listing"), "for so long nothing is known any more"


def test_of_a_cluster_that_is_enabled_again_nothing_is_told_from_before(cluster: Cluster, admin: Principal) -> None:
    fencing = hold(cluster)
    reconcile.record_state(cluster.pk, fencing, WELL)
    for enabled in (False, True):
        services.update_cluster(principal=admin, cluster=Cluster.objects.get(), enabled=enabled)
    reconcile.record_state(cluster.pk, fencing, Observation())
    stored = Cluster.objects.get()
    assert stored.state == "Pending"
    assert {condition["status"] for condition in stored.conditions if condition["type"] != "Stable"} == {"Unknown"}


@pytest.mark.parametrize(
    ("begun", "told"),
    [
        (replace(AILING, authorized=False), Observation(authorized=None)),
        (replace(AILING, authorized=False), Observation(defect="a defect of ours")),
        (Observation(failures=3, ever_seen=True), Observation()),
        (Observation(failures=3, ever_seen=True), Observation(failures=1)),
        (replace(WELL, streams={"Node": "", "Pod": "refused"}), Observation()),
        (replace(WELL, silent={"Pod": 100.0}), Observation(ever_seen=True, streams={"Node": None, "Pod": None})),
    ],
)
def test_a_condition_that_was_false_is_false_since_then_when_a_watcher_begins_anew(
    cluster: Cluster, begun: Observation, told: Observation
) -> None:
    def failing() -> dict[str, str]:
        stored = Cluster.objects.get().conditions
        return {each["type"]: each["last_transition_time"] for each in stored if each["status"] == "False"}

    fencing = hold(cluster)
    reconcile.record_state(cluster.pk, fencing, begun)
    before = failing()
    assert before
    reconcile.record_state(cluster.pk, fencing, replace(told, refusal=Cluster.objects.get().refusal))
    assert before.items() <= failing().items()


def test_a_refusal_is_not_told_on_while_a_new_credential_is_tried(
    api: FakeApi, cluster: Cluster, admin: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    fencing, refused = hold(cluster), replace(AILING, authorized=False)
    reconcile.record_state(cluster.pk, fencing, refused, generation=cluster.generation)
    followed: list[int] = []
    monkeypatch.setattr(interests, "_followers", [lambda cluster: followed.append(cluster.pk)])
    services.replace_credential(principal=admin, cluster=cluster, token="another", force=True)
    assert not reconcile.record_state(cluster.pk, fencing, refused, generation=cluster.generation), "of the old one"
    stored = Cluster.objects.get()
    assert followed == [cluster.pk] and not stored.refusal and not Gate.objects.exists()
    assert (stored.state, stored.reason) == ("Degraded", "Connecting")
    reconcile.record_state(cluster.pk, fencing, Observation(authorized=None), generation=stored.generation)
    statuses = {condition["type"]: condition["status"] for condition in Cluster.objects.get().conditions}
    assert statuses["Authorized"] == "Unknown" and statuses["Reachable"] == "True"


def test_last_seen_stands_still_while_nothing_answers(cluster: Cluster) -> None:
    fencing = hold(cluster)
    reconcile.record_state(cluster.pk, fencing, WELL)
    seen = Cluster.objects.get().last_seen_at
    reconcile.record_state(cluster.pk, fencing, Observation(failures=3, ever_seen=True), answered=False)
    stored = Cluster.objects.get()
    assert stored.state == "Unreachable" and stored.last_seen_at == seen


def test_who_has_lost_the_lease_writes_nothing(cluster: Cluster) -> None:
    old = hold(cluster, seconds=0.0)
    new = hold(cluster, holder="another/m/2/2")
    assert new == old + 1
    with pytest.raises(store.LeaseLost):
        reconcile.record_state(cluster.pk, old, WELL)
    with pytest.raises(store.LeaseLost):
        store.write(cluster.pk, old, store.Batch(present={"Pod": set()}))
    assert Cluster.objects.get().state == "Pending"


def test_a_lease_is_taken_when_free_ended_or_left_by_a_dead_process(cluster: Cluster) -> None:
    me = lease.holder_name()
    machine = me.rsplit("/", 2)[0]
    assert not lease.is_dead(me)
    assert not lease.is_dead("elsewhere/x/1/1"), "what happens on another machine can't be known"
    dead = f"{machine}/4194303/1"
    assert lease.is_dead(dead)
    assert hold(cluster, holder="elsewhere/x/1/1") == 1
    assert lease.acquire([cluster.pk], me, 60.0) == {}, "it is held"
    WatcherLease.objects.update(holder=dead)
    assert lease.acquire([cluster.pk], me, 60.0) == {cluster.pk: 2}
    assert lease.renew({cluster.pk: 2}, me, 60.0) == {cluster.pk}
    assert lease.renew({cluster.pk: 1}, me, 60.0) == set()
    lease.release({cluster.pk: 2}, me)
    assert hold(cluster, holder="elsewhere/x/1/1") == 3


def test_tidying_forgets_what_is_old(cluster: Cluster) -> None:
    observe(cluster, pods=2)
    now = timezone.now()
    old_pod, young_pod, *_ = Pod.objects.order_by("pk")
    Pod.objects.filter(pk=old_pod.pk).update(deleted_at=now - timedelta(hours=2))
    Pod.objects.filter(pk=young_pod.pk).update(deleted_at=now - timedelta(minutes=2))
    old_event = KubeEvent.objects.order_by("pk")[0]
    KubeEvent.objects.filter(pk=old_event.pk).update(last_at=now - timedelta(hours=25))
    tidy(0)
    assert not Pod.objects.filter(pk=old_pod.pk).exists() and Pod.objects.filter(pk=young_pod.pk).exists()
    assert not KubeEvent.objects.filter(pk=old_event.pk).exists() and KubeEvent.objects.count() == 3


def test_tidying_says_when_nobody_watches(cluster: Cluster) -> None:
    ago = timezone.now() - timedelta(minutes=5)
    Cluster.objects.update(state="Healthy", created_at=ago, last_seen_at=ago)
    tidy(0)
    stored = Cluster.objects.get()
    assert (stored.state, stored.reason) == ("Pending", "NotWatched") and "watcher process" in stored.message


def test_tidying_leaves_a_watched_cluster_alone(cluster: Cluster) -> None:
    ago = timezone.now() - timedelta(minutes=5)
    Cluster.objects.update(state="Healthy", created_at=ago, last_seen_at=ago)
    hold(cluster)
    tidy(0)
    assert Cluster.objects.get().state == "Healthy"

"""Several watcher processes: they share the clusters, take over from each other, and never write for one another."""

import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.db import InternalError, connection, transaction

from apps.clusters import services
from apps.clusters.models import Cluster, Pod, Watcher, WatcherLease
from apps.clusters.observed import rows, store
from apps.clusters.observed.store import Batch
from apps.clusters.reconcile import Age, record_ages
from apps.clusters.watcher import lease
from apps.clusters.watcher.timing import Timing
from apps.core.access import Principal
from apps.core.models import Transition
from controlplane.embedded.fleet import BASE_DIR
from controlplane.embedded.processes import Command, spawn
from controlplane.embedded.stopping import Running, stop
from tests.clusters.conftest import eventually
from tests.clusters.fakeapi import FakeApi, node, pod
from tests.clusters.watching import Watching

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(240)]
CLUSTERS = 6


class Watchers:
    """`manage.py watch_clusters` processes on the test's database."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._running: list[Running] = []

    def start(self) -> "subprocess.Popen[bytes]":
        at = connection.settings_dict
        url = "postgres://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(**at)
        name = f"watcher-{len(self._running)}"
        command = Command(
            name, (sys.executable, "manage.py", "watch_clusters"), env={"DATABASE_URL": url}, cwd=BASE_DIR
        )
        process = spawn(command, self._directory / f"{name}.log")
        self._running.append((command, process))
        return process

    def log(self) -> str:
        return "".join(path.read_text() for path in sorted(self._directory.glob("*.log")))

    def close(self) -> None:
        for _, process in self._running:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
        stop(self._running, grace_s=15)


@pytest.fixture
def watchers(tmp_path: Path) -> Iterator[Watchers]:
    several = Watchers(tmp_path)
    yield several
    several.close()


@pytest.fixture
def apis(admin: Principal) -> Iterator[list[FakeApi]]:
    fakes = [FakeApi() for _ in range(CLUSTERS)]
    for number, api in enumerate(fakes):
        api.put("nodes", node(f"n{number}"))
        services.register(principal=admin, name=f"c{number}", kubeconfig_text=api.kubeconfig, again=True)
    yield fakes
    for api in fakes:
        api.close()


def held() -> dict[int, int]:
    """{process id: how many clusters it holds}; the leases say so."""
    holders = WatcherLease.objects.filter(expires_at__gt=transaction_time()).values_list("holder", flat=True)
    return Counter(int(holder.split("/")[-2]) for holder in holders)


def transaction_time() -> object:
    with connection.cursor() as cursor:
        cursor.execute("SELECT now()")
        return cursor.fetchone()[0]


def all_healthy() -> bool:
    return set(Cluster.objects.values_list("state", flat=True)) == {"Healthy"}


def follow(apis: list[FakeApi], name: str) -> Callable[[], bool]:
    """Put a pod on each cluster; whether all of them are stored."""
    for api in apis:
        api.put("pods", pod(name))
    return lambda: Pod.objects.filter(name=name).count() == len(apis)


def test_watchers_share_the_clusters_and_hand_them_over_without_flapping(
    apis: list[FakeApi], watchers: Watchers
) -> None:
    first = watchers.start()
    eventually(lambda: held() == {first.pid: CLUSTERS} and all_healthy(), "the first one watches all", 40)
    others = [watchers.start(), watchers.start()]
    share = dict.fromkeys([first.pid, *(other.pid for other in others)], CLUSTERS // 3)
    eventually(lambda: held() == share, f"each has its share\n{watchers.log()}", 60)
    eventually(follow(apis, "shared"), "all clusters are followed", 20)
    # Each was handed over once at most, and nobody saw it: no state has changed, none was watched twice.
    assert sorted(WatcherLease.objects.values_list("fencing", flat=True)) == [1, 1, 2, 2, 2, 2]
    moves = Transition.objects.filter(object_type="clusters.cluster").exclude(from_state="")
    assert set(moves.values_list("from_state", "to_state")) == {("Pending", "Healthy")} and moves.count() == CLUSTERS
    assert {api.most_watches["pods"] for api in apis} == {1}

    victim = others[0]
    victim.kill()
    eventually(lambda: victim.pid not in held() and sum(held().values()) == CLUSTERS, "it is replaced", 30)
    eventually(follow(apis, "killed"), "all clusters are followed", 20)
    eventually(lambda: Watcher.objects.count() == 2, "it is forgotten")

    others[1].send_signal(signal.SIGTERM)
    eventually(lambda: held() == {first.pid: CLUSTERS}, "who leaves gives back what it held", 30)
    assert others[1].wait(20) == 0
    eventually(follow(apis, "left"), "all clusters are followed", 20)
    assert all_healthy()


def test_a_watcher_that_was_stopped_and_wakes_up_writes_nothing(apis: list[FakeApi], watchers: Watchers) -> None:
    sleeper = watchers.start()
    eventually(lambda: held() == {sleeper.pid: CLUSTERS} and all_healthy(), "the first one watches all", 40)
    sleeper.send_signal(signal.SIGSTOP)
    for api in apis:
        # Only the sleeper's watches have it, in its sockets: whoever lists after this does not see it.
        ghost = pod("ghost")
        ghost["metadata"]["uid"] = "uid-ghost"
        api.send_raw("pods", {"type": "ADDED", "object": ghost})
        api.put("pods", pod("real"))
    other = watchers.start()
    eventually(lambda: held() == {other.pid: CLUSTERS}, f"it is replaced\n{watchers.log()}", 40)
    eventually(lambda: Pod.objects.filter(name="real").count() == CLUSTERS, "all clusters are followed", 20)
    seen = dict(WatcherLease.objects.values_list("cluster_id", "fencing"))
    assert set(seen.values()) == {2}

    sleeper.send_signal(signal.SIGCONT)
    # Either its writer finds it out first, or the renewal of its leases does.
    eventually(lambda: "taken over" in watchers.log(), "it finds that its leases are lost", 30)
    # It is a watcher like any other again: it gets its share, and with it new numbers.
    eventually(lambda: held() == dict.fromkeys([sleeper.pid, other.pid], CLUSTERS // 2), "both share them", 60)
    assert not Pod.objects.filter(name="ghost").exists()
    assert all_healthy()


def test_a_writer_that_is_stopped_in_mid_transaction_does_not_keep_its_successor_out(
    api: FakeApi, admin: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "STOPPED_AFTER", "1s")
    cluster = services.register(principal=admin, name="c", kubeconfig_text=api.kubeconfig)
    fencing = lease.acquire([cluster.pk], "elsewhere/x/1/1", 60.0)[cluster.pk]
    holding, go_on, errors = threading.Event(), threading.Event(), []

    def write() -> None:
        try:
            with transaction.atomic():
                store.hold(cluster.pk, fencing)
                holding.set()
                go_on.wait(60)
                Cluster.objects.update(message="written by the sleeper")
        except InternalError as error:
            errors.append(error)
        finally:
            connection.close()

    thread = started(write, holding)
    assert lease.renew({cluster.pk: fencing}, "elsewhere/x/1/1", 0.0) == {cluster.pk}, "its own renewal need not wait"
    assert lease.acquire([cluster.pk], "other/x/2/2", 60.0) == {}, "not while it may still commit"
    taken: dict[int, int] = {}
    eventually(lambda: taken.update(lease.acquire([cluster.pk], "other/x/2/2", 60.0)) or taken, "its session is ended")
    go_on.set()
    thread.join(10)
    assert errors and Cluster.objects.get().message == ""
    assert taken == {cluster.pk: fencing + 1}


def test_who_waits_for_a_removal_renews_the_other_leases(apis: list[FakeApi], admin: Principal) -> None:
    ours = lease.acquire(list(Cluster.objects.values_list("pk", flat=True)), "elsewhere/x/1/1", 60.0)
    removed, *others = sorted(ours)
    locked, go_on = threading.Event(), threading.Event()

    def remove() -> None:
        try:
            with transaction.atomic():
                WatcherLease.objects.select_for_update().get(pk=removed)
                Cluster.objects.select_for_update().get(pk=removed)
                locked.set()
                go_on.wait(60)
        finally:
            connection.close()

    thread = started(remove, locked)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = '2s'")
        assert lease.renew(ours, "elsewhere/x/1/1", 60.0) == set(others)
        now = datetime.now(UTC)
        record_ages([Age(pk, fencing, now, now, {}) for pk, fencing in ours.items()])
        assert set(store.write_many({pk: (fencing, Batch()) for pk, fencing in ours.items()})) == set(others)
    finally:
        go_on.set()
        thread.join(10)
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")
    assert set(Cluster.objects.filter(synced_at=now).values_list("pk", flat=True)) == set(others)


def test_a_cluster_is_removed_while_it_is_written(api: FakeApi, admin: Principal) -> None:
    """Each holds what the other needs, unless both take it in one order."""
    cluster = services.register(principal=admin, name="c", kubeconfig_text=api.kubeconfig)
    fencing = lease.acquire([cluster.pk], "elsewhere/x/1/1", 60.0)[cluster.pk]
    holding, errors = threading.Event(), []
    row = rows.node_row(node("n") | {"metadata": {"uid": "u", "name": "n"}}, datetime.now(UTC))

    def write() -> None:
        try:
            with transaction.atomic():
                store.hold(cluster.pk, fencing)
                holding.set()
                eventually(somebody_waits, "the removal waits")
                store.write(cluster.pk, fencing, Batch(nodes={"u": row}))
        except Exception as error:  # noqa: BLE001 - looked at below
            errors.append(error)
        finally:
            connection.close()

    thread = started(write, holding)
    services.delete_cluster(principal=admin, cluster=cluster)
    thread.join(10)
    assert errors == [] and not Cluster.objects.exists()


def started(work: Callable[[], None], ready: threading.Event) -> threading.Thread:
    """A thread at work, once it has said that it is `ready`."""
    thread = threading.Thread(target=work)
    thread.start()
    assert ready.wait(10)
    return thread


def somebody_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return bool(cursor.fetchone()[0])


def test_an_end_that_waits_for_postgres_delays_no_renewal(
    api: FakeApi, admin: Principal, sent: object, run_route: None
) -> None:
    other = FakeApi()
    watching = Watching()
    try:
        for name, server in (("kept", api), ("ended", other)):
            server.put("nodes", node(name))
            services.register(principal=admin, name=name, kubeconfig_text=server.kubeconfig)
        eventually(all_healthy, "both are watched")
        kept, ended = Cluster.objects.get(name="kept"), Cluster.objects.get(name="ended")
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("LOCK TABLE clusters_pod IN SHARE MODE")
            other.put("pods", pod("waits"))
            cursor.execute("SELECT 1")
            eventually(somebody_waits, "a write waits")
            disable = threading.Thread(target=disabled, args=[admin, ended])
            disable.start()
            eventually(lambda: not expires_after(ended.pk, 2.9), "its lease is not renewed any more", 20)
            until = time.monotonic() + 6.0
            while time.monotonic() < until:
                assert expires_after(kept.pk, 0.0), "the other one's lease has ended"
                time.sleep(0.05)
        disable.join(10)
    finally:
        watching.stop()
        other.close()


def disabled(admin: Principal, cluster: Cluster) -> None:
    services.update_cluster(principal=admin, cluster=cluster, enabled=False)
    connection.close()


def expires_after(pk: int, seconds: float) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT expires_at > clock_timestamp() + %s * interval '1 second' "
            "FROM clusters_watcherlease WHERE cluster_id = %s",
            [seconds, pk],
        )
        return bool(cursor.fetchone()[0])


def test_a_watcher_that_died_or_hangs_is_replaced_within_a_quarter_of_a_minute() -> None:
    timing = Timing()
    # Its leases end, and the others look.
    assert timing.lease + 2 * timing.poll <= 15

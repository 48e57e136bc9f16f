"""Samples and their roll-ups: what lands in the tables, and that no lost, doubled or killed run changes it."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from unittest.mock import patch

import pytest
from django.db import connection, transaction
from django.utils import timezone

from apps.clusters.models import Cluster, Node, Pod, WatcherLease
from apps.clusters.observed import store
from apps.clusters.usage import partitions, rollup, sampling
from apps.clusters.usage.levels import DAY, HOUR, LEVELS, MINUTE, RAW, TEN, Level
from apps.clusters.usage.models import Usage1h, Usage1m, Usage10m, Usage15s, UsagePlace, UsageSeries
from apps.core.models import Project
from tests import factories

pytestmark = pytest.mark.django_db

T0 = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
GIB = 1024**3


@pytest.fixture(autouse=True)
def no_partitions(db: None) -> None:
    """What a test that really commits has left behind; the end of this test's transaction brings it back."""
    left = [partition.table for level in LEVELS for partition in partitions.existing(level)]
    if left:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP TABLE {', '.join(left)}")


@pytest.fixture
def project() -> Project:
    return Project.objects.create(name="search")


@pytest.fixture
def cluster() -> Cluster:
    return factories.cluster("eu", nodes=2)


def metered(*pods: Pod, cpu: int = 100, memory: int = GIB) -> list[dict[str, object]]:
    return [{"namespace": pod.namespace, "name": pod.name, "cpu": cpu, "memory": memory} for pod in pods]


def contents(level: Level) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {level.table} ORDER BY series_id, at")
        return cursor.fetchall()


def sample_of(kind: str, **where: object) -> Usage15s:
    return Usage15s.objects.get(series_id=UsageSeries.objects.get(kind=kind, **where).pk)


# Sampling


def test_a_round_samples_the_cluster_its_nodes_namespaces_workloads_and_managed_pods(
    cluster: Cluster, project: Project
) -> None:
    mine = [factories.pod(cluster, project, deployment="ranker", requests_gpu=1) for _ in range(2)]
    other = factories.pod(cluster, None)
    nodes = [{"name": "eu-node-1", "cpu": 700, "memory": 3 * GIB}]
    sampling.record(cluster.pk, nodes, metered(*mine, other), at=T0)

    kinds = sorted(UsageSeries.objects.values_list("kind", flat=True))
    assert kinds == ["cluster", "namespace", "namespace", "node", "node", "pod", "pod", "workload"]
    pod = sample_of("pod", key=mine[0].uid)
    assert (pod.used_cpu_m, pod.asked_cpu_m, pod.asked_gpu, pod.room_cpu_m) == (100, 250, 1, None)
    workload = sample_of("workload", project="search", deployment="ranker")
    assert (workload.used_cpu_m, workload.asked_cpu_m, workload.pods) == (200, 500, 2)
    assert sample_of("namespace", name="default").asked_memory_b == pytest.approx(GIB / 4)
    node = sample_of("node", name="eu-node-1")
    assert (node.used_cpu_m, node.asked_cpu_m, node.room_cpu_m, node.pods) == (700, 750, 4000, 3)
    assert sample_of("node", name="eu-node-2").used_cpu_m is None, "it was not measured in this round"
    whole = sample_of("cluster")
    assert (whole.used_cpu_m, whole.asked_cpu_m, whole.room_cpu_m, whole.room_gpu, whole.asked_gpu) == (
        *(700, 750, 8000, 2),
        2,
    )


def test_only_pods_that_hold_their_requests_count(cluster: Cluster, project: Project) -> None:
    factories.pod(cluster, project, node_name="")
    factories.pod(cluster, project, phase="Succeeded")
    factories.pod(cluster, project, deleted_at=timezone.now())
    sampling.record(cluster.pk, [], [], at=T0)
    assert sample_of("cluster").asked_cpu_m == 0 and not UsageSeries.objects.filter(kind="pod").exists()


def test_the_same_15_seconds_are_sampled_once(cluster: Cluster, project: Project) -> None:
    factories.pod(cluster, project)
    assert sampling.record(cluster.pk, [], [], at=T0 + timedelta(seconds=3)) == 6
    assert sampling.record(cluster.pk, [], [], at=T0 + timedelta(seconds=14)) == 0
    assert sampling.record(cluster.pk, [], [], at=T0 + timedelta(seconds=15)) == 6
    assert UsageSeries.objects.count() == 6


@pytest.mark.parametrize("late", [timedelta(milliseconds=200), timedelta(seconds=7), timedelta(seconds=14)])
def test_rounds_near_a_border_have_15_seconds_each_however_late_some_are(cluster: Cluster, late: timedelta) -> None:
    on_time = T0 + timedelta(seconds=14, milliseconds=900)
    for number in range(12):
        # As a watcher's pace has it: a late round does not delay the next.
        moment = on_time + number * RAW.step + (late if number % 3 == 1 else timedelta(0))
        assert sampling.record(cluster.pk, [], [], at=moment) == 3, f"round {number} is lost"
    series = UsageSeries.objects.get(kind="cluster").pk
    assert [
        at - T0 for at in Usage15s.objects.filter(series_id=series).order_by("at").values_list("at", flat=True)
    ] == [number * RAW.step for number in range(12)]


def test_a_longer_gap_is_not_filled(cluster: Cluster) -> None:
    for second in (0, 15, 60, 75):
        sampling.record(cluster.pk, [], [], at=T0 + timedelta(seconds=second))
    series = UsageSeries.objects.get(kind="cluster").pk
    moments = Usage15s.objects.filter(series_id=series).order_by("at").values_list("at", flat=True)
    assert [(at - T0).seconds for at in moments] == [0, 15, 60, 75]


def test_what_pods_ask_for_whose_use_is_not_known_does_not_pass_for_idle(cluster: Cluster, project: Project) -> None:
    known, unknown = (factories.pod(cluster, project, deployment="ranker") for _ in range(2))
    sampling.record(cluster.pk, [], metered(known, cpu=200), at=T0)
    workloads = UsageSeries.objects.filter(kind="workload", project="search", deployment="ranker")
    samples = Usage15s.objects.filter(series_id__in=workloads.values("pk"))
    figures = set(samples.values_list("used_cpu_m", "asked_cpu_m", "pods"))
    assert figures == {(200, known.requests_cpu_m, 1), (None, unknown.requests_cpu_m, 1)}
    assert sample_of("namespace", name=known.namespace).pods == 2


def test_nodes_that_are_alike_are_one_place_whatever_their_host_names(cluster: Cluster, project: Project) -> None:
    for node in Node.objects.all():
        node.labels = {"pool": "a100", "kubernetes.io/hostname": node.name}
        node.save()
    for number in (1, 2):
        factories.pod(cluster, project, deployment="ranker", node_name=f"eu-node-{number}")
    sampling.record(cluster.pk, [], [], at=T0)
    workload = UsageSeries.objects.get(kind="workload")
    assert workload.place is not None and workload.place.labels == {"pool": "a100"}


def test_a_series_outlives_its_pod_and_its_cluster(cluster: Cluster, project: Project) -> None:
    pod = factories.pod(cluster, project, run="7")
    sampling.record(cluster.pk, [], metered(pod), at=T0)
    Cluster.objects.all().delete()
    series = UsageSeries.objects.get(kind="workload")
    assert series.cluster is None and series.run == "7" and series.project == "search"
    assert Usage15s.objects.filter(series_id=series.pk).exists()


def test_a_watcher_that_lost_the_lease_samples_nothing(cluster: Cluster) -> None:
    WatcherLease.objects.create(
        cluster=cluster, holder="new", fencing=2, expires_at=timezone.now() + timedelta(minutes=1)
    )
    with pytest.raises(store.LeaseLost):
        store.write_usage(cluster.pk, 1, [], [])
    assert not Usage15s.objects.exists()
    store.write_usage(cluster.pk, 2, [], [])
    assert sample_of("cluster").used_cpu_m is None, "asked is sampled without a metrics-server"


# Roll-up


def rounds(cluster: Cluster, pod: Pod, start: datetime, seconds: int, cpu: int = 100) -> None:
    for second in range(0, seconds, 15):
        sampling.record(cluster.pk, [], metered(pod, cpu=cpu), at=start + timedelta(seconds=second))


def test_a_minute_is_the_average_the_maximum_and_the_seconds_covered(cluster: Cluster, project: Project) -> None:
    pod = factories.pod(cluster, project)
    rounds(cluster, pod, T0, 15, cpu=100)
    rounds(cluster, pod, T0 + timedelta(seconds=30), 15, cpu=200)
    sampling.record(cluster.pk, [], [], at=T0 + timedelta(seconds=45))
    rollup.run(T0 + timedelta(minutes=2))
    minute = Usage1m.objects.get(series_id=UsageSeries.objects.get(kind="pod").pk)
    assert (minute.used_cpu_m, minute.used_cpu_max_m, minute.asked_cpu_m) == (150, 200, 250)
    assert (minute.seconds, minute.used_seconds) == (45, 30), "gaps don't count as zero"


def test_a_window_is_rolled_up_when_it_is_complete_and_not_before(cluster: Cluster, project: Project) -> None:
    pod = factories.pod(cluster, project)
    rounds(cluster, pod, T0, 60)
    rollup.run(T0 + timedelta(seconds=75))
    assert not Usage1m.objects.exists(), "a sample of it may still be on its way"
    rollup.run(T0 + timedelta(seconds=91))
    assert Usage1m.objects.exists() and not Usage10m.objects.exists()


def test_hours_hold_what_is_paid_for_and_nodes_but_no_pods(cluster: Cluster, project: Project) -> None:
    pod = factories.pod(cluster, project)
    for minute in range(0, 60, 5):
        rounds(cluster, pod, T0 + timedelta(minutes=minute), 15)
    rollup.run(T0 + timedelta(minutes=61))
    kinds = set(UsageSeries.objects.filter(pk__in=Usage1h.objects.values("series_id")).values_list("kind", flat=True))
    assert kinds == {"workload", "namespace", "cluster", "node"}
    assert set(Usage1h.objects.values_list("seconds", flat=True)) == {180}


def test_a_run_that_comes_twice_or_not_for_hours_changes_nothing_in_the_end(cluster: Cluster, project: Project) -> None:
    pod = factories.pod(cluster, project)
    for minute in range(100):
        rounds(cluster, pod, T0 + timedelta(minutes=minute), 15, cpu=minute)
    end = T0 + timedelta(minutes=101)
    rollup.run(end)
    at_once = {level: contents(level) for level in LEVELS[1:]}
    rollup.run(end)
    assert {level: contents(level) for level in LEVELS[1:]} == at_once

    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {', '.join(level.table for level in LEVELS[1:])}")
    for minute in (3, 4, 31, 32, 33, 70, 101):
        rollup.run(T0 + timedelta(minutes=minute))
    assert {level: contents(level) for level in LEVELS[1:]} == at_once
    assert len(at_once[MINUTE]) == 600 and at_once[TEN] and at_once[HOUR] and not at_once[DAY]


class Killed(BaseException):
    """As if the process were gone at this line."""


@pytest.mark.parametrize("statements", range(1, 8))
def test_killed_between_any_two_statements_the_next_run_ends_as_an_uninterrupted_one(
    cluster: Cluster, project: Project, statements: int
) -> None:
    pod = factories.pod(cluster, project)
    for minute in range(70):
        rounds(cluster, pod, T0 + timedelta(minutes=minute), 15, cpu=minute)
    end = T0 + timedelta(minutes=71)
    with transaction.atomic():
        rollup.run(end)
        wanted = {level: contents(level) for level in LEVELS}
        transaction.set_rollback(True)

    left = statements

    def statement(lower: Level, upper: Level) -> str:
        nonlocal left
        left -= 1
        if left <= 0:
            raise Killed
        return whole(lower, upper)

    whole = rollup._statement
    dropping = patch.object(partitions, "drop_old", _killed_from(statements))
    with patch.object(rollup, "_statement", statement), dropping, suppress(Killed):
        rollup.run(end)
    rollup.run(end)
    assert {level: contents(level) for level in LEVELS} == wanted


def _killed_from(statements: int):
    def drop_old(*_: object) -> None:
        raise Killed

    return drop_old if statements % 2 else partitions.drop_old


def test_a_run_out_of_time_goes_on_in_the_next_minute(cluster: Cluster, project: Project) -> None:
    pod = factories.pod(cluster, project)
    for minute in range(65):
        rounds(cluster, pod, T0 + timedelta(minutes=minute), 15)
    rollup.run(T0 + timedelta(minutes=66), budget_s=-1)
    assert not Usage1m.objects.exists()
    rollup.run(T0 + timedelta(minutes=66))
    assert Usage1m.objects.count() == 65 * 6


def test_a_gap_of_months_is_passed_however_little_time_there_is(cluster: Cluster, project: Project) -> None:
    pod = factories.pod(cluster, project)
    rounds(cluster, pod, T0, 60)
    rollup.run(T0 + timedelta(minutes=2))
    later = T0 + timedelta(days=200)
    rounds(cluster, pod, later, 60)
    ticks = iter(range(10**6))
    with patch.object(rollup.time, "monotonic", lambda: next(ticks)):
        rollup.run(later + timedelta(minutes=2), budget_s=10)
    assert Usage1m.objects.filter(at__gte=later).count() == 6
    assert len(names(MINUTE)) <= 1 + partitions.AHEAD, "none for a time without rows"


def test_while_the_clock_was_ahead_rows_were_made_that_stop_nothing(cluster: Cluster, project: Project) -> None:
    pod = factories.pod(cluster, project)
    ahead = T0 + timedelta(days=2)
    rounds(cluster, pod, ahead, 60)
    rollup.run(ahead + timedelta(minutes=2))
    assert Usage1m.objects.count() == 6

    rounds(cluster, pod, T0, 120)
    rollup.run(T0 + timedelta(minutes=3))
    assert Usage1m.objects.filter(at__lt=ahead).count() == 12
    rounds(cluster, pod, T0 + timedelta(minutes=2), 60)
    rollup.run(T0 + timedelta(hours=3))
    assert Usage1m.objects.filter(at__lt=ahead).count() == 18, "it was not dropped before it was rolled up"


def test_a_sample_that_came_late_is_added_when_the_next_window_is_rolled(cluster: Cluster, project: Project) -> None:
    pod = factories.pod(cluster, project)
    rounds(cluster, pod, T0, 30)
    rounds(cluster, pod, T0 + timedelta(minutes=1), 60)
    rollup.run(T0 + timedelta(seconds=91))
    rounds(cluster, pod, T0 + timedelta(seconds=45), 15)
    rollup.run(T0 + timedelta(seconds=151))
    assert list(
        Usage1m.objects.filter(series_id=UsageSeries.objects.get(kind="pod").pk)
        .order_by("at")
        .values_list("seconds", flat=True)
    ) == [45, 60]


# Partitions


def names(level: Level) -> list[str]:
    return [partition.table for partition in partitions.existing(level)]


def test_raw_partitions_go_two_hours_after_their_end_and_only_rolled_up(cluster: Cluster, project: Project) -> None:
    pod = factories.pod(cluster, project)
    rounds(cluster, pod, T0, 60)
    old = f"{RAW.table}_20261124_1000"
    assert old in names(RAW)
    later = T0 + timedelta(hours=2, minutes=31)
    partitions.drop_old(later, {})
    assert old in names(RAW), "nothing of it is rolled up yet"
    rollup.run(later)
    assert old not in names(RAW) and Usage1m.objects.count() == 6


def test_after_a_day_without_roll_ups_nothing_is_missing(cluster: Cluster, project: Project) -> None:
    pod = factories.pod(cluster, project)
    for hour in range(24):
        rounds(cluster, pod, T0 + timedelta(hours=hour), 30)
    rollup.run(T0 + timedelta(hours=24, minutes=1))
    workload = UsageSeries.objects.get(kind="workload").pk
    assert Usage1m.objects.filter(series_id=workload).count() == 24
    assert Usage1h.objects.filter(series_id=workload, seconds=30).count() == 24
    assert len(names(RAW)) <= 8, "what is rolled up and old is gone"


def test_samples_find_a_partition_while_nobody_makes_them_ahead(cluster: Cluster) -> None:
    far = T0 + timedelta(days=400)
    assert sampling.record(cluster.pk, [], [], at=far) == 3
    assert len(names(RAW)) == 1


def test_partitions_are_made_ahead_once(cluster: Cluster) -> None:
    partitions.ensure_ahead(T0)
    made = {level: names(level) for level in LEVELS}
    partitions.ensure_ahead(T0)
    assert {level: names(level) for level in LEVELS} == made
    assert all(len(each) >= 2 for each in made.values())


def test_series_are_forgotten_when_nothing_of_them_is_left(cluster: Cluster) -> None:
    sampling.record(cluster.pk, [], [], at=T0)
    UsageSeries.objects.filter(kind="node").update(seen_at=T0 - timedelta(days=200))
    rollup.run(T0)
    assert set(UsageSeries.objects.values_list("kind", flat=True)) == {"cluster"}


def test_places_are_forgotten_with_their_last_series_and_node(cluster: Cluster, project: Project) -> None:
    factories.pod(cluster, project, deployment="ranker")
    sampling.record(cluster.pk, [], [], at=T0)
    gone = UsagePlace.objects.create(digest="0" * 32, labels={"pool": "gone"})
    UsageSeries.objects.all().delete()
    kept = UsagePlace.objects.exclude(pk=gone.pk)
    rollup.run(T0)
    assert list(UsagePlace.objects.all()) == list(kept) != [], "nodes that are there have their place"
    UsageSeries.objects.create(cluster=cluster, kind="workload", key="a", place=kept.get(), seen_at=T0)
    Node.objects.all().delete()
    rollup.run(T0)
    assert UsagePlace.objects.exists(), "its history has a price"
    UsageSeries.objects.all().delete()
    rollup.run(T0)
    assert not UsagePlace.objects.exists()

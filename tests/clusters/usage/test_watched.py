"""Samples as the real watcher writes them, and a roll-up that is killed as a process."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from apps.clusters import services
from apps.clusters.models import Cluster
from apps.clusters.usage import partitions, rollup, sampling
from apps.clusters.usage.levels import LEVELS, MINUTE, RAW, Level
from apps.clusters.usage.models import Usage15s, UsageSeries
from apps.core.access import Principal
from controlplane.embedded.fleet import BASE_DIR
from tests import factories
from tests.clusters.conftest import eventually
from tests.clusters.fakeapi import FakeApi, node, pod
from tests.clusters.watching import Watching
from tests.concurrent import meanwhile

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def watching(api: FakeApi, admin: Principal, sent: object, run_route: None) -> Iterator[Watching]:
    api.put("nodes", node("n1", gpu="2"))
    api.put("pods", pod("p1", run="7"))
    services.register(principal=admin, name="fake", kubeconfig_text=api.kubeconfig)
    started = Watching()
    yield started
    started.stop()


def sampled(kind: str, **figures: object) -> bool:
    series = UsageSeries.objects.filter(kind=kind).values("pk")
    return Usage15s.objects.filter(series_id__in=series, **figures).exists()


def test_a_cluster_without_metrics_server_is_sampled_by_what_is_asked_for(api: FakeApi, watching: Watching) -> None:
    eventually(lambda: sampled("pod", asked_cpu_m=500, used_cpu_m=None), "what the pod asks for")
    assert sampled("workload", asked_gpu=1) and sampled("cluster", room_gpu=2)


def test_what_metrics_server_measures_is_sampled(api: FakeApi, watching: Watching) -> None:
    usage = {"cpu": "250m", "memory": "512Mi"}
    api.usage = {
        "nodes": [{"metadata": {"name": "n1"}, "usage": usage}],
        "pods": [{"metadata": {"name": "p1", "namespace": "flotilla-demo"}, "containers": [{"usage": usage}]}],
    }
    # The first 15 s may have been sampled before the figures were there; the next have them.
    eventually(lambda: sampled("pod", used_cpu_m=250), "the pod's use", seconds=40)
    assert sampled("node", used_cpu_m=250, room_cpu_m=4000)


def test_while_a_cluster_does_not_answer_nothing_is_sampled(api: FakeApi, watching: Watching) -> None:
    eventually(lambda: sampled("cluster"), "the first sample")
    api.answer_nothing = True
    eventually(lambda: Cluster.objects.get().state == "Unreachable", "the outage is seen")
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {', '.join(level.table for level in LEVELS)}")
    probes = api.count("GET /version")
    eventually(lambda: api.count("GET /version") > probes + 5, "several more rounds")
    assert not Usage15s.objects.exists(), "a gap stays a gap"


def contents(level: Level) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {level.table} ORDER BY series_id, at")
        return cursor.fetchall()


def test_a_process_that_is_killed_in_a_roll_up_loses_nothing_and_holds_no_lock() -> None:
    cluster = factories.cluster("eu", nodes=5)
    now = partitions.clock()
    for minute in range(100):
        sampling.record(cluster.pk, [], [], at=now - timedelta(minutes=100 - minute))
    code = (
        "import django, os, signal; django.setup()\n"
        "from apps.clusters.usage import rollup\n"
        "whole, calls = rollup._statement, []\n"
        "def statement(lower, upper):\n"
        "    calls.append(upper)\n"
        "    if len(calls) == 3: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return whole(lower, upper)\n"
        "rollup._statement = statement\n"
        "rollup.run()\n"
    )
    name = connection.settings_dict["NAME"]
    url = os.environ["DATABASE_URL"].rsplit("/", 1)[0] + f"/{name}"
    environment = os.environ | {"DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "controlplane.settings"}
    killed = subprocess.run([sys.executable, "-c", code], cwd=BASE_DIR, env=environment, timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL
    part = len(contents(MINUTE))
    assert 0 < part < 98 * 6, "it was killed half way"

    end = partitions.clock()
    # Postgres frees the lock when it sees that the process's connection is closed.
    eventually(lambda: rollup.run(end) or len(contents(MINUTE)) >= 98 * 6, "the next run finishes the work")
    finished = {level: contents(level) for level in LEVELS[1:]}
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {', '.join(level.table for level in LEVELS[1:])}")
    rollup.run(end)
    assert {level: contents(level) for level in LEVELS[1:]} == finished


def test_who_waits_for_another_that_makes_the_same_partition_makes_none() -> None:
    start = datetime(2031, 1, 1, tzinfo=UTC)

    def ensure() -> None:
        partitions.ensure(RAW, start, start + RAW.span)

    assert meanwhile(ensure, ensure) is None
    [made] = [each for each in partitions.existing(RAW) if each.start >= start]
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE {made.table}")

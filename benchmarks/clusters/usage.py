"""Usage history of 50 clusters with 10 nodes, 200 managed pods and 20 namespaces each: sampling, roll-ups, reading.

A Postgres of its own, with fsync as in production. The tables hold real rounds of samples; the past is filled in: hours
and days of the whole fleet, the finer levels of one cluster (2 %), because 90 days of ten
minutes are 160 million rows.
"""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime, timedelta
from multiprocessing import get_context
from random import Random
from typing import Any

from benchmarks.figures import Figure, percentile

CLUSTERS, NODES, PODS, NAMESPACES = 50, 10, 200, 20
ROUNDS = 48
READS = 30
GIB = 1024**3


def run() -> Iterator[Figure]:
    """In a process of its own: Django can be set up for one database only."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        yield from process.submit(_measure).result()


def _measure() -> list[Figure]:
    from tests.plugin import Services

    services = Services()
    try:
        os.environ.update(services.environment())
        os.environ["DJANGO_SETTINGS_MODULE"] = "controlplane.settings"
        _make_database(services.database_url)
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0)
        return list(_figures())
    finally:
        services.close()


def _make_database(url: str) -> None:
    import psycopg

    server, _, name = url.rpartition("/")
    with psycopg.connect(f"{server}/postgres", autocommit=True) as link:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            link.execute(f"ALTER SYSTEM SET {setting} = on")
        link.execute("SELECT pg_reload_conf()")
        link.execute(f'CREATE DATABASE "{name}"')


def _figures() -> Iterator[Figure]:
    from apps.clusters.usage import partitions
    from apps.clusters.usage.levels import DAY, HOUR, MINUTE, RAW, TEN, floor
    from tests.clusters import usage_history

    _fleet()
    now = partitions.clock()
    # The rounds end just after a full hour, so that one roll-up of them closes a minute, ten minutes and the hour.
    end = floor(now, HOUR.step)
    yield from _sampling(end - (ROUNDS - 2) * RAW.step)
    yield from _sizes()
    first = [cluster.pk for cluster in _clusters()[:1]]
    started = time.perf_counter()
    filled = {
        **usage_history.fill(now=now, spans={RAW: RAW.kept, MINUTE: MINUTE.kept, TEN: TEN.kept}, clusters=first),
        **usage_history.fill(now=now, spans={HOUR: timedelta(days=31), DAY: DAY.kept}),
    }
    _sql("ANALYZE")
    yield Figure("usage_rows_filled", sum(filled.values()), "rows", beside=filled | {"s": _since(started)})
    yield from _reading()


def _fleet() -> None:
    from django.utils import timezone

    from apps.clusters.models import Cluster, Node, Pod
    from apps.core.models import Project
    from tests import factories

    random, now = Random(7), timezone.now()
    projects = Project.objects.bulk_create(Project(name=f"team-{number}") for number in range(NAMESPACES))
    # As old as their history: usage from before a project is not shown as its own.
    Project.objects.update(created_at=now - timedelta(days=100))
    nodes, pods = [], []
    for number in range(CLUSTERS):
        cluster = factories.cluster(f"cluster-{number:02}", nodes=0, has_metrics=True)
        nodes += [
            Node(
                cluster=cluster, uid=factories.uid(), name=f"node-{place}", observed_at=now, used_cpu_m=9000,
                labels={"pool": "gpu" if place < 2 else "cpu", "kubernetes.io/hostname": f"node-{place}"},
                allocatable_cpu_m=64_000, allocatable_memory_b=256 * GIB, used_memory_b=64 * GIB,
            )
            for place in range(NODES)
        ]  # fmt: skip
        for index in range(PODS):
            project = projects[index % NAMESPACES]
            pods.append(
                Pod(
                    cluster=cluster, uid=factories.uid(), namespace=f"flotilla-{project.name}", name=f"pod-{index}",
                    project=project.name, deployment=f"model-{index % 2}", node_name=f"node-{index % NODES}",
                    phase="Running", requests_cpu_m=1000, requests_memory_b=4 * GIB, observed_at=now,
                    used_cpu_m=random.randint(50, 900), used_memory_b=random.randint(1, 4) * GIB,
                )
            )  # fmt: skip
    Node.objects.bulk_create(nodes, batch_size=1000)
    Pod.objects.bulk_create(pods, batch_size=1000)
    assert Cluster.objects.count() == CLUSTERS
    _sql("ANALYZE")


def _sampling(start: datetime) -> Iterator[Figure]:
    """Rounds of the whole fleet one after another, on one connection, with a roll-up after each minute."""
    from django.db import transaction

    from apps.clusters.usage import partitions, rollup, sampling
    from apps.clusters.usage.levels import RAW

    partitions.ensure_ahead(start)
    measured = [(cluster.pk, *_metrics(cluster)) for cluster in _clusters()]
    rounds, clusters, rollups, rows = [], [], [], 0
    for number in range(ROUNDS):
        at = start + number * RAW.step
        begun = time.perf_counter()
        rows = 0
        for pk, nodes, pods in measured:
            before = time.perf_counter()
            with transaction.atomic():
                rows += sampling.record(pk, nodes, pods, at=at)
            clusters.append(_since(before) * 1000)
        rounds.append(_since(begun))
        if number % 4 == 3:
            before = time.perf_counter()
            rollup.run(at + timedelta(seconds=46))
            rollups.append(_since(before))
    beside = {"rows": rows, "p95_s": round(percentile(rounds, 95), 2), "first_s": round(rounds[0], 2)}
    yield Figure("usage_sample_round_of_50_clusters_p50", percentile(rounds, 50), "s", 3, beside=beside)
    yield Figure("usage_sample_of_one_cluster_p95", percentile(clusters, 95), "ms", 100)
    longest = {"longest_s": round(max(rollups), 2), "longest": "a minute that also closes ten minutes and an hour"}
    yield Figure("usage_rollup_of_a_minute_p50", percentile(rollups, 50), "s", 10, beside=longest)


def _sizes() -> Iterator[Figure]:
    from apps.clusters.usage.levels import MINUTE, RAW, TEN

    row_bytes = {}
    for level in (RAW, MINUTE):
        size, rows = _sql(
            "SELECT sum(pg_total_relation_size(inhrelid)), (SELECT count(*) FROM "
            f"{level.table}) FROM pg_inherits WHERE inhparent = '{level.table}'::regclass"
        )
        row_bytes[level] = float(size) / rows
    [series] = _sql("SELECT count(*) FROM clusters_usageseries")
    yield Figure("usage_bytes_of_a_sample", row_bytes[RAW], "B", beside={"with": "its indexes"})
    whole = {
        level.table: level.kept / level.step * series * row_bytes[RAW if level is RAW else MINUTE] / GIB
        for level in (RAW, MINUTE, TEN)
    }
    beside = {"bytes_of_a_rolled_row": round(row_bytes[MINUTE], 1), "series": series}
    beside |= {table: round(size, 2) for table, size in whole.items()}
    yield Figure("usage_of_90_days_computed", sum(whole.values()), "GiB", beside=beside)


def _reading() -> Iterator[Figure]:
    """Whole requests through Django, without the network."""
    from django.test import Client

    from apps.core.models import Membership, Project, User

    root = User.objects.create(username="root", is_superuser=True, is_staff=True)
    member = User.objects.create(username="ada")
    Membership.objects.create(project=Project.objects.get(name="team-0"), user=member)
    cluster, pod = "/clusters/cluster-00", "/clusters/cluster-00/pods/flotilla-team-0/pod-0"
    pages = {
        # The cost of any request here, with nothing of usage in it.
        "usage_floor_another_endpoint": "/api/v1/projects",
        **{
            f"usage_page_{by}_{period}": f"/usage/?by={by}&period={period}"
            for by in ("project", "deployment")
            for period in ("24h", "7d", "30d")
        },
        "usage_rest_deployment_30d": "/api/v1/usage?by=deployment&period=30d",
        **{f"usage_cluster_card_{span}": f"{cluster}/usage/?span={span}" for span in ("1h", "24h", "30d")},
        "usage_node_card_30d": f"{cluster}/nodes/node-0/usage/?span=30d",
        "usage_pod_card_24h": f"{pod}/usage/?span=24h",
        "usage_namespaces_card": f"{cluster}/namespaces/",
    }
    for user in (root, member):
        client = Client(headers={"host": "127.0.0.1"})
        client.force_login(user)
        for name, path in pages.items():
            if user is member and "page" not in name:
                continue
            times = [_timed(client, path) for _ in range(READS)]
            suffix = "_p95" if user is root else "_of_one_project_p95"
            wall, cpu = [time[0] for time in times[1:]], [time[1] for time in times[1:]]
            beside = {"p50_ms": round(percentile(wall, 50), 1), "of_it_our_cpu_ms": round(percentile(cpu, 50), 1)}
            yield Figure(name + suffix, percentile(wall, 95), "ms", 100, beside=beside)


def _timed(client: Any, path: str) -> tuple[float, float]:
    """Milliseconds of a request by the clock, which a busy machine stretches, and of this process's CPU."""
    started, worked = time.perf_counter(), time.process_time()
    answer = client.get(path)
    taken = _since(started) * 1000, (time.process_time() - worked) * 1000
    assert answer.status_code == 200, answer.status_code
    return taken


def _metrics(cluster: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    columns = {"cpu": "used_cpu_m", "memory": "used_memory_b"}

    def told(row: Any) -> dict[str, Any]:
        used = {name: getattr(row, column) for name, column in columns.items()}
        return {"name": row.name, "namespace": getattr(row, "namespace", ""), **used}

    return [told(row) for row in cluster.nodes.all()], [told(row) for row in cluster.pods.all()]


def _clusters() -> list[Any]:
    from apps.clusters.models import Cluster

    return list(Cluster.objects.order_by("pk"))


def _sql(statement: str) -> Any:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone() if cursor.description else None


def _since(started: float) -> float:
    return time.perf_counter() - started

"""Rows of many clusters in one transaction."""

from datetime import UTC, datetime
from typing import Any

import pytest

from apps.clusters import services
from apps.clusters.models import Cluster, KubeEvent, Node, Pod, Workload
from apps.clusters.observed import rows, store
from apps.clusters.observed.store import Batch
from apps.clusters.reconcile import Age, record_ages
from apps.clusters.watcher import lease
from apps.core.access import Principal
from tests.clusters import fakeapi
from tests.clusters.fakeapi import FakeApi

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 23, 14, tzinfo=UTC)


@pytest.fixture
def fencing(api: FakeApi, admin: Principal) -> dict[int, int]:
    """Three clusters whose leases are ours: {cluster: fencing number}."""
    for name in ("a", "b", "c"):
        services.register(principal=admin, name=name, kubeconfig_text=api.kubeconfig, again=True)
    return lease.acquire(list(Cluster.objects.values_list("pk", flat=True)), "w/m/1/1", 60.0)


def row(name: str, **labels: str) -> rows.Row:
    made = fakeapi.pod(name, **labels)
    made["metadata"] |= {"uid": f"uid-{name}", "resourceVersion": "1"}
    return rows.pod_row(made, NOW)


def test_clusters_are_written_together_and_kept_apart(fencing: dict[int, int]) -> None:
    first, second, third = sorted(fencing)
    batches = {
        first: (fencing[first], Batch(pods={"uid-p": row("p", run="1")})),
        second: (fencing[second], Batch(pods={"uid-p": row("p", run="2")}, present={"Pod": {"uid-p"}})),
        third: (fencing[third] - 1, Batch(pods={"uid-p": row("p", run="3")})),
    }
    written = store.write_many(batches)
    assert set(written) == {first, second}, "the third one's lease is not ours any more"
    assert {(pod.cluster_id, pod.run) for pod in Pod.objects.all()} == {(first, "1"), (second, "2")}
    assert [change.labels["flotilla.dev/run"] for change in written[second].changes] == ["2"]

    gone = store.write_many({second: (fencing[second], Batch(present={"Pod": set()}))})
    assert [change.deleted for change in gone[second].changes] == [True]
    assert set(Pod.objects.present().values_list("cluster_id", flat=True)) == {first}


def test_what_is_known_already_is_neither_written_nor_told(fencing: dict[int, int]) -> None:
    pk = min(fencing)
    batch = Batch(pods={"uid-p": row("p", run="1")})
    assert store.write(pk, fencing[pk], batch).anything
    again = store.write(pk, fencing[pk], batch)
    assert not again.anything and again.changes == []


def test_a_row_that_postgres_refuses_spares_the_other_clusters(fencing: dict[int, int]) -> None:
    first, second, _ = sorted(fencing)
    bad = row("bad") | {"created_at": "yesterday, perhaps"}
    batches = {
        first: (fencing[first], Batch(pods={"uid-bad": bad, "uid-good": row("good")})),
        second: (fencing[second], Batch(pods={"uid-p": row("p")})),
    }
    written = store.write_many(batches)
    assert set(Pod.objects.values_list("name", flat=True)) == {"good", "p"}
    assert [change.name for change in written[first].changes] == ["good"]


def test_events_find_their_project_in_their_own_cluster(fencing: dict[int, int]) -> None:
    first, second, _ = sorted(fencing)
    shared = row("p") | {"namespace": "team"}
    store.write(first, fencing[first], Batch(pods={"uid-p": shared}))
    about = {"metadata": {"name": "x", "namespace": "team", "uid": "uid-x"}}
    made = fakeapi.event("e", about=about)
    made["metadata"]["uid"] = "uid-e"
    batch = Batch(events={"uid-e": rows.event_row(made, NOW)})
    store.write_many(
        {pk: (fencing[pk], Batch(events={"uid-e": dict(batch.events["uid-e"])})) for pk in (first, second)}
    )
    assert set(KubeEvent.objects.values_list("cluster_id", "project")) == {(first, "demo"), (second, "")}


def test_workloads_of_a_kind_go_with_a_list_of_that_kind_only(fencing: dict[int, int]) -> None:
    pk = min(fencing)
    made = {kind: {**row(kind), "uid": kind} for kind in ("Job", "Service")}
    rows_by_kind = {
        kind: rows.workload_row(kind, {"metadata": {"uid": kind, "name": kind, "namespace": "n"}}, NOW) for kind in made
    }
    store.write(pk, fencing[pk], Batch(workloads=rows_by_kind))
    written = store.write(pk, fencing[pk], Batch(present={"Job": set()}))
    assert list(Workload.objects.values_list("kind", flat=True)) == ["Service"]
    assert [(change.kind, change.deleted) for change in written.changes] == [("Job", True)]
    store.write(pk, fencing[pk], Batch(deleted={"Service": {"Service"}}))
    assert not Workload.objects.exists()


def test_who_loses_an_autoscaler_of_others_is_told_of(fencing: dict[int, int]) -> None:
    pk = min(fencing)
    ours = {
        "app.kubernetes.io/managed-by": "flotilla",
        "app.kubernetes.io/part-of": "demo",
        "flotilla.dev/deployment": "d",
    }

    def made(kind: str, name: str, labels: dict[str, str], spec: dict[str, Any]) -> dict[str, Any]:
        return rows.workload_row(
            kind, {"metadata": {"uid": name, "name": name, "namespace": "n", "labels": labels}, "spec": spec}, NOW
        )

    batch = {
        "d-r1": made("Deployment", "d-r1", ours, {}),
        "others": made("Deployment", "others", {}, {}),
        "h": made("HorizontalPodAutoscaler", "h", {}, {"scaleTargetRef": {"kind": "Deployment", "name": "d-r1"}}),
        "o": made("HorizontalPodAutoscaler", "o", {}, {"scaleTargetRef": {"kind": "Deployment", "name": "others"}}),
    }
    store.write(pk, fencing[pk], Batch(workloads=batch))
    written = store.write(pk, fencing[pk], Batch(present={"HorizontalPodAutoscaler": set()}))
    assert [(each.kind, each.name) for each in written.changes if each.labels] == [("Deployment", "d-r1")]
    assert written.changes[-1].labels == ours and not written.changes[-1].deleted


def test_nodes_that_are_deleted_are_gone(fencing: dict[int, int]) -> None:
    pk, other, _ = sorted(fencing)
    made = fakeapi.node("n")
    made["metadata"]["uid"] = "u"
    for cluster in (pk, other):
        store.write(cluster, fencing[cluster], Batch(nodes={"u": rows.node_row(made, NOW)}))
    assert store.write(pk, fencing[pk], Batch(deleted={"Node": {"u"}})).anything
    assert list(Node.objects.values_list("cluster_id", flat=True)) == [other]


def test_ages_are_stored_of_clusters_that_are_ours(fencing: dict[int, int]) -> None:
    first, second, _ = sorted(fencing)
    streams = {"Pod": {"at": NOW.isoformat(), "error": ""}}
    record_ages([Age(first, fencing[first], NOW, NOW, streams), Age(second, fencing[second] - 1, NOW, NOW, streams)])
    ours, lost = Cluster.objects.get(pk=first), Cluster.objects.get(pk=second)
    assert (ours.last_seen_at, ours.synced_at, ours.streams) == (NOW, NOW, streams)
    assert (lost.last_seen_at, lost.synced_at, lost.streams) == (None, None, {})
    record_ages([Age(first, fencing[first], None, None, {})])
    ours.refresh_from_db()
    assert (ours.last_seen_at, ours.synced_at) == (NOW, NOW), "what is not known now does not make it older"

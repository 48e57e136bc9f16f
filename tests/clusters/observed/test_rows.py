import importlib
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection

from apps.clusters.models import Node, Pod
from apps.clusters.observed import rows
from apps.clusters.quantities import gpus, resources
from tests import factories
from tests.clusters import fakeapi

NOW = datetime(2026, 11, 23, 14, tzinfo=UTC)
GIB = 1024**3


def asks(restart_policy: str = "", limits: dict[str, str] | None = None, **requests: str) -> dict[str, Any]:
    container: dict[str, Any] = {
        "resources": {"requests": {k.replace("gpu", "nvidia.com/gpu"): v for k, v in requests.items()}}
    }
    if limits:
        container["resources"]["limits"] = limits
    return container | ({"restartPolicy": restart_policy} if restart_policy else {})


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ({"containers": [asks(cpu="500m", memory="1Gi"), asks(cpu="1", gpu="2")]}, (1500, GIB, 2)),
        ({"containers": [asks(cpu="1")], "initContainers": [asks(cpu="3", memory="1Gi")]}, (3000, GIB, 0)),
        ({"containers": [asks(cpu="1")], "initContainers": [asks("Always", cpu="1")]}, (2000, 0, 0)),
        # An init container runs beside the sidecars before it, not beside those after it.
        ({"containers": [asks(cpu="1")], "initContainers": [asks("Always", cpu="1"), asks(cpu="3")]}, (4000, 0, 0)),
        ({"containers": [asks(cpu="1")], "initContainers": [asks(cpu="3"), asks("Always", cpu="1")]}, (3000, 0, 0)),
        ({"containers": [asks(cpu="1")], "overhead": {"cpu": "250m"}}, (1250, 0, 0)),
        # The pod as a whole: of cpu and memory only.
        (
            {
                "containers": [asks(cpu="1", memory="1Gi", gpu="1")],
                "resources": {"requests": {"cpu": "3"}},
                "overhead": {"cpu": "250m"},
            },
            (3250, GIB, 1),
        ),
        ({"containers": [asks(limits={"cpu": "2", "nvidia.com/gpu": "1"})]}, (2000, 0, 1)),
        ({"containers": [asks(cpu="nonsense")]}, (0, 0, 0)),
        ({"containers": [asks(memory="99E")]}, (0, 2**63 - 1, 0)),
        ({}, (0, 0, 0)),
    ],
)
def test_requests_are_what_the_scheduler_reserves(spec: dict[str, Any], wanted: tuple[int, int, int]) -> None:
    requests = resources.pod_requests(spec)
    assert (requests["cpu"], requests["memory"], requests["gpu"]) == wanted


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ({"containers": [asks(gpu="2"), asks(gpu="1")]}, {"nvidia.com/gpu": 3}),
        ({"containers": [asks(limits={"amd.com/gpu": "1", "nvidia.com/mig-1g.5gb": "2"})]},
         {"amd.com/gpu": 1, "nvidia.com/mig-1g.5gb": 2}),
        ({"containers": [asks(gpu="1")], "initContainers": [asks(gpu="4")]}, {"nvidia.com/gpu": 4}),
        ({"containers": [asks(gpu="1")], "initContainers": [asks("Always", gpu="1")]}, {"nvidia.com/gpu": 2}),
        ({"containers": [asks()], "initContainers": [asks("Always", gpu="1"), asks(gpu="1")]}, {"nvidia.com/gpu": 2}),
        ({"containers": [asks(limits={"gpu.intel.com/i915": "1", "nvidia.com/gpu.shared": "3"})]},
         {"gpu.intel.com/i915": 1, "nvidia.com/gpu.shared": 3}),
        ({"containers": [asks(cpu="1", limits={"nvidia.com/gpu": "0", "example.com/nic": "1"})]}, {}),
    ],
)  # fmt: skip
def test_gpus_are_counted_by_kind(spec: dict[str, Any], wanted: dict[str, int]) -> None:
    assert resources.pod_gpus(spec) == wanted


def test_a_node_has_its_gpus_by_kind_and_its_capacity() -> None:
    node = fakeapi.node("n", gpu="8")
    node["status"]["allocatable"]["nvidia.com/mig-3g.20gb"] = "2"
    node["status"]["capacity"] = {"cpu": "5", "memory": "9Gi", "pods": "120", "nvidia.com/gpu": "8"}
    row = rows.node_row(node, NOW)
    assert row["allocatable_gpus"] == {"nvidia.com/gpu": 8, "nvidia.com/mig-3g.20gb": 2}
    assert row["capacity"] == {"cpu": 5000, "memory": 9 * GIB, "pods": 120, "gpus": {"nvidia.com/gpu": 8}}


@pytest.mark.parametrize(
    ("kind", "label"),
    [
        ("nvidia.com/gpu", "nvidia"),
        ("amd.com/gpu", "amd"),
        ("nvidia.com/mig-1g.5gb", "mig-1g.5gb"),
        ("nvidia.com/gpu.shared", "nvidia shared"),
        ("gpu.intel.com/i915", "intel i915"),
    ],
)
def test_kinds_of_gpus_are_called_as_people_do(kind: str, label: str) -> None:
    assert gpus.label(kind) == label


def test_labels_of_others_do_not_make_a_pod_ours() -> None:
    pod = fakeapi.pod("p", run="7", deployment="d", revision="2")
    ours = rows.pod_row(pod, NOW)
    assert (ours["project"], ours["run"], ours["deployment"], ours["revision"]) == ("demo", "7", "d", "2")
    pod["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "helm"
    assert {rows.pod_row(pod, NOW)[key] for key in ("project", "run", "deployment", "revision")} == {""}


def test_a_deleted_pod_is_not_ready_whatever_its_status_says() -> None:
    row = rows.pod_row(fakeapi.pod("p"), NOW, deleted=True)
    assert not row["ready"] and row["deleted_at"] == NOW.isoformat() and row["phase"] == "Running"


def test_texts_are_cut_to_their_columns() -> None:
    pod = fakeapi.pod("p" * 999)
    pod["status"] |= {"phase": "Failed", "reason": "R" * 500, "message": "m" * 99_999}
    row = rows.pod_row(pod, NOW)
    assert len(row["name"]) == 253 and len(row["reason"]) <= 100 and len(row["message"]) <= 4000


def test_an_ended_pod_says_when() -> None:
    pod = fakeapi.pod("p")
    times = ["2026-11-23T14:00:01Z", "2026-11-23T14:00:05Z"]
    ends = [{"state": {"terminated": {"exitCode": 0, "finishedAt": at}}} for at in times]
    pod["status"] = {"phase": "Succeeded", "containerStatuses": ends}
    assert rows.pod_row(pod, NOW)["ended_at"] == "2026-11-23T14:00:05+00:00"


def test_a_zero_time_is_kept_nowhere() -> None:
    zero, end = "1970-01-01T00:00:00Z", "2026-11-23T14:00:05Z"
    never = {"exitCode": 128, "reason": "StartError", "startedAt": zero, "finishedAt": end}
    pod, job = fakeapi.pod("p"), {"metadata": {"creationTimestamp": zero}, "status": {}}
    pod["metadata"]["creationTimestamp"] = zero
    pod["status"] = {
        "phase": "Failed", "startTime": zero, "conditions": [{"type": "Ready", "lastTransitionTime": zero}],
        "containerStatuses": [{"state": {"terminated": never}, "lastState": {"terminated": never}}],
    }  # fmt: skip
    job["status"] |= {"startTime": zero, "completionTime": zero, "conditions": [{"lastTransitionTime": zero}]}
    row = rows.pod_row(pod, NOW)
    assert row["ended_at"] == "2026-11-23T14:00:05+00:00"
    kept = row["status"]["containers"][0]["state"]["terminated"]
    assert kept == {"exitCode": 128, "reason": "StartError", "finishedAt": end}
    assert "1970" not in f"{row}{rows.workload_row('Job', job, NOW)}"


GPUS = [
    ({"nvidia.com/gpu": "8"}, 8),
    ({"amd.com/gpu": "2", "nvidia.com/gpu": "1", "gpu.intel.com/i915": "4", "example.com/gpus": "9"}, 7),
    ({"nvidia.com/gpu": "2", "nvidia.com/mig-1g.5gb": "14", "nvidia.com/gpu.shared": "8"}, 2),
    ({"nvidia.com/mig-1g.5gb": "7", "nvidia.com/mig-3g.20gb": "1"}, 0),
]


@pytest.mark.parametrize(("amounts", "whole"), GPUS)
def test_the_number_of_gpus_is_that_of_whole_ones_of_any_make(amounts: dict[str, str], whole: int) -> None:
    """Nodes are sorted, and the history and what a project costs are summed, by this number."""
    node = fakeapi.node("n")
    node["status"]["allocatable"] |= amounts
    assert rows.node_row(node, NOW)["allocatable_gpu"] == whole
    pod = fakeapi.pod("p")
    pod["spec"] |= {"containers": [asks(limits=amounts)], "overhead": {}}
    assert rows.pod_row(pod, NOW)["requests_gpu"] == whole


@pytest.mark.django_db
def test_rows_that_were_counted_with_their_slices_are_counted_anew() -> None:
    home = factories.cluster("home", nodes=len(GPUS))
    kinds = [resources.gpus(amounts) for amounts, _ in GPUS]
    nodes = list(Node.objects.filter(cluster=home).order_by("name"))
    for node, by_kind in zip(nodes, kinds, strict=True):
        Node.objects.filter(pk=node.pk).update(allocatable_gpus=by_kind, allocatable_gpu=sum(by_kind.values()))
        asked = {"requests_gpus": by_kind, "requests_gpu": sum(by_kind.values())}
        factories.pod(home, None, name=f"pod-of-{node.name}", **asked)
    migration = importlib.import_module("apps.clusters.migrations.0012_whole_gpus").Migration
    with connection.cursor() as cursor:
        for statement in migration.operations[0].sql:
            cursor.execute(statement)
    whole = [number for _, number in GPUS]
    assert list(Node.objects.filter(cluster=home).order_by("name").values_list("allocatable_gpu", flat=True)) == whole
    ours = Pod.objects.filter(cluster=home, name__startswith="pod-of-").order_by("name")
    assert list(ours.values_list("requests_gpu", flat=True)) == whole


def test_events_of_both_apis_are_read() -> None:
    old = rows.event_row(fakeapi.event("e", about=fakeapi.pod("p")), NOW)
    assert (old["count"], old["source"], old["involved_name"]) == (3, "kubelet", "p")
    new = {
        "metadata": {"name": "e", "uid": "u"},
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "n"},
        "eventTime": "2026-11-23T13:00:00.000000Z",
        "series": {"count": 9, "lastObservedTime": "2026-11-23T13:30:00.700000Z"},
        "reportingComponent": "scheduler",
    }
    row = rows.event_row(new, NOW)
    assert (row["count"], row["source"], row["last_at"]) == (9, "scheduler", "2026-11-23T13:30:00+00:00")
    assert rows.event_row({}, NOW)["first_at"] == NOW.isoformat()


@pytest.mark.parametrize(
    ("version", "order"), [("812", 812), ("", 0), (None, 0), ("v8", 0), ("٣", 0), ("9" * 18, 10**18 - 1), ("9" * 30, 0)]
)
def test_a_resource_version_is_a_number_or_tells_no_order(version: object, order: int) -> None:
    assert rows.event_row({"metadata": {"resourceVersion": version}}, NOW)["written"] == order


USAGE = {"cpu": "250m", "memory": "1Gi"}


def test_used_is_the_sum_of_containers_or_the_nodes_own() -> None:
    pod = rows.usage_row({"metadata": {"name": "p"}, "containers": [{"usage": USAGE}, {"usage": USAGE}]})
    assert (pod["cpu"], pod["memory"]) == (500, 2 * GIB)
    assert rows.usage_row({"metadata": {"name": "n"}, "usage": USAGE})["cpu"] == 250


@pytest.mark.parametrize(
    "metrics",
    [
        {},
        {"usage": None},
        {"usage": {"cpu": "1"}},
        {"containers": []},
        {"containers": [{"usage": USAGE}, {"name": "b"}]},
    ],
)
def test_what_was_not_measured_is_no_zero(metrics: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not measured"):
        rows.usage_row({"metadata": {"name": "x"}} | metrics)

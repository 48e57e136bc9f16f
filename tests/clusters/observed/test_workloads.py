"""Jobs, deployments, services and autoscalers: their health by tables, their rows, and the table they are kept in."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from apps.clusters import services
from apps.clusters.connect.permissions import NEEDED
from apps.clusters.models import Cluster, Workload
from apps.clusters.observed.enginehealth import inference_service_health
from apps.clusters.observed.health import autoscaler_health, deployment_health, job_health, service_health
from apps.clusters.observed.rows import WORKLOAD_KINDS, workload_row
from apps.clusters.watcher.kinds import KINDS
from apps.core.access import Principal
from tests.clusters.conftest import eventually
from tests.clusters.fakeapi import FakeApi, error_event, node, pod
from tests.clusters.watching import FAST, Watching

NOW = datetime(2026, 11, 23, 14, tzinfo=UTC)


def true(kind: str, reason: str = "", message: str = "", status: str = "True") -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason, "message": message}


@pytest.mark.parametrize(
    ("spec", "status", "wanted"),
    [
        ({}, {}, ("Progressing", "Starting")),
        ({"completions": 4}, {"active": 1, "succeeded": 2, "failed": 1}, ("Progressing", "Running")),
        ({"suspend": True}, {}, ("Suspended", "Suspended")),
        ({}, {"conditions": [true("Suspended")]}, ("Suspended", "Suspended")),
        # What is decided, and waits for the last pods to end.
        (
            {},
            {"conditions": [true("FailureTarget", "BackoffLimitExceeded")], "failed": 1},
            ("Degraded", "FailureTarget"),
        ),
        ({}, {"conditions": [true("SuccessCriteriaMet")]}, ("Progressing", "SuccessCriteriaMet")),
        (
            {},
            {"conditions": [true("FailureTarget"), true("Failed", "PodFailurePolicy")]},
            ("Degraded", "PodFailurePolicy"),
        ),
        ({}, {"conditions": [true("Complete")], "succeeded": 1}, ("Healthy", "Complete")),
        (
            {},
            {"conditions": [true("Failed", "BackoffLimitExceeded", "too often")]},
            ("Degraded", "BackoffLimitExceeded"),
        ),
        ({"suspend": True}, {"conditions": [true("Failed", "DeadlineExceeded")]}, ("Degraded", "DeadlineExceeded")),
    ],
)
def test_health_of_a_job(spec: dict[str, Any], status: dict[str, Any], wanted: tuple[str, str]) -> None:
    assert job_health({"spec": spec, "status": status})[:2] == wanted


def test_a_suspended_job_names_its_queue() -> None:
    job = {"metadata": {"labels": {"kueue.x-k8s.io/queue-name": "team-a"}}, "spec": {"suspend": True}}
    assert job_health(job).message == (
        "Waiting: its Job is suspended, and starts no pod until it is resumed. It is in queue team-a."
    )


def test_a_running_job_says_how_far_it_is() -> None:
    job = {"spec": {"completions": 4}, "status": {"active": 1, "succeeded": 2, "failed": 1}}
    assert job_health(job).message == "2 of 4 pods are done, 1 active; 1 failed."


ALL = {"replicas": 3, "updatedReplicas": 3, "readyReplicas": 3, "availableReplicas": 3, "observedGeneration": 2}


@pytest.mark.parametrize(
    ("spec", "status", "wanted"),
    [
        ({"replicas": 3}, ALL, ("Healthy", "Available")),
        ({"replicas": 0}, {"observedGeneration": 2}, ("Healthy", "Available")),
        ({"replicas": 3}, {**ALL, "observedGeneration": 1}, ("Progressing", "NotObserved")),
        ({"replicas": 3}, {**ALL, "updatedReplicas": 1}, ("Progressing", "Updating")),
        ({"replicas": 3}, {**ALL, "replicas": 4}, ("Progressing", "OldReplicasLeft")),
        ({"replicas": 3}, {**ALL, "availableReplicas": 2}, ("Progressing", "NotAvailable")),
        ({"replicas": 3, "paused": True}, ALL, ("Suspended", "DeploymentPaused")),
        (
            {"replicas": 3},
            {**ALL, "conditions": [true("Progressing", "ProgressDeadlineExceeded", status="False")]},
            ("Degraded", "ProgressDeadlineExceeded"),
        ),
        (
            {"replicas": 3},
            {**ALL, "conditions": [true("ReplicaFailure", "FailedCreate", "exceeded quota")]},
            ("Degraded", "FailedCreate"),
        ),
        (
            {"replicas": 3},
            {"conditions": [true("Progressing", "ReplicaSetCreateError", status="False")]},
            ("Degraded", "ReplicaSetCreateError"),
        ),
    ],
)
def test_health_of_a_deployment(spec: dict[str, Any], status: dict[str, Any], wanted: tuple[str, str]) -> None:
    assert deployment_health({"metadata": {"generation": 2}, "spec": spec, "status": status})[:2] == wanted


@pytest.mark.parametrize(
    ("spec", "status", "wanted"),
    [
        ({}, {}, ("Healthy", "ClusterIP")),
        ({"type": "NodePort"}, {}, ("Healthy", "NodePort")),
        ({"type": "LoadBalancer"}, {}, ("Progressing", "NoLoadBalancer")),
        ({"type": "LoadBalancer"}, {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}, ("Healthy", "LoadBalancer")),
    ],
)
def test_health_of_a_service(spec: dict[str, Any], status: dict[str, Any], wanted: tuple[str, str]) -> None:
    assert service_health({"spec": spec, "status": status})[:2] == wanted


SCALES = [true("AbleToScale"), true("ScalingActive")]


@pytest.mark.parametrize(
    ("status", "wanted"),
    [
        ({}, ("Progressing", "Starting")),
        ({"conditions": SCALES, "currentReplicas": 2, "desiredReplicas": 2}, ("Healthy", "ScalingActive")),
        ({"conditions": SCALES, "currentReplicas": 2, "desiredReplicas": 5}, ("Progressing", "Scaling")),
        ({"conditions": [true("AbleToScale", "FailedGetScale", status="False")]}, ("Degraded", "FailedGetScale")),
        (
            {"conditions": [true("ScalingActive", "FailedGetResourceMetric", status="False")]},
            ("Degraded", "FailedGetResourceMetric"),
        ),
        ({"conditions": [true("ScalingActive", "ScalingDisabled", status="False")]}, ("Suspended", "ScalingDisabled")),
        ({"conditions": [*SCALES, true("ScalingLimited", "TooManyReplicas")]}, ("Healthy", "TooManyReplicas")),
    ],
)
def test_health_of_an_autoscaler(status: dict[str, Any], wanted: tuple[str, str]) -> None:
    assert autoscaler_health({"status": status})[:2] == wanted


FAILED = {"reason": "NoSupportingRuntime", "message": "No runtime found to support specified framework/version"}


@pytest.mark.parametrize(
    ("status", "wanted"),
    [
        ({}, ("Progressing", "NotObserved", "KServe has not taken it up yet.")),
        ({"conditions": [true("Ready")]}, ("Healthy", "Ready", "KServe serves it.")),
        ({"conditions": [true("Ready", "New", "a", status="Unknown")]}, ("Progressing", "New", "a")),
        ({"conditions": [true("Ready", "Failed", "b", status="False")]}, ("Progressing", "Failed", "b")),
        (
            {"modelStatus": {"transitionStatus": "InvalidSpec", "lastFailureInfo": FAILED}},
            ("Degraded", FAILED["reason"], FAILED["message"]),
        ),
        (
            {"modelStatus": {"transitionStatus": "BlockedByFailedLoad"}, "conditions": [true("Ready", status="False")]},
            ("Degraded", "BlockedByFailedLoad", "KServe can't serve it as it is written."),
        ),
    ],
)  # fmt: skip
def test_health_of_an_inference_service(status: dict[str, Any], wanted: tuple[str, str, str]) -> None:
    assert inference_service_health({"status": status})[:3] == wanted


def made(name: str, spec: dict[str, Any], status: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {"metadata": {**pod(name, run="7")["metadata"], **metadata}, "spec": spec, "status": status}


AUTOSCALER = made(
    "h",
    {
        "minReplicas": 2,
        "maxReplicas": 9,
        "scaleTargetRef": {"kind": "Deployment", "name": "d"},
        "metrics": [
            {
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
            },
            {"type": "Pods", "pods": {"metric": {"name": "queue"}, "target": {"averageValue": "10"}}},
        ],
    },
    {
        "currentReplicas": 3,
        "desiredReplicas": 5,
        "conditions": SCALES,
        "currentMetrics": [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 95}}}],
    },
)


def test_the_row_of_an_autoscaler_has_its_bounds_and_metrics() -> None:
    row = workload_row("HorizontalPodAutoscaler", AUTOSCALER, NOW)
    assert (row["wanted"], row["ready"], row["project"], row["health"]) == (5, 3, "demo", "Progressing")
    details = row["status"]
    assert (details["min"], details["max"], details["target"]) == (2, 9, {"kind": "Deployment", "name": "d"})
    assert details["metrics"] == [
        {"name": "cpu", "target": "80%", "current": "95%"},
        {"name": "queue", "target": "10", "current": ""},
    ]


def test_the_row_of_a_service_has_its_ports_and_addresses() -> None:
    spec = {"type": "LoadBalancer", "clusterIP": "10.0.0.7", "ports": [{"port": 80, "targetPort": "http"}]}
    status = {"loadBalancer": {"ingress": [{"hostname": "lb.example.com"}]}}
    row = workload_row("Service", made("s", spec, status), NOW)
    assert row["wanted"] is None and row["status"]["cluster_ip"] == "10.0.0.7"
    assert row["status"]["addresses"] == ["lb.example.com"]
    assert row["status"]["ports"][0] == {
        "name": "", "port": 80, "target_port": "http", "protocol": "TCP", "node_port": None,
    }  # fmt: skip


def test_the_row_of_an_inference_service_says_what_serves_it() -> None:
    spec = {"predictor": {"minReplicas": 2, "model": {"modelFormat": {"name": "mlflow"}}}}
    status = {
        "clusterServingRuntimeName": "kserve-mlserver",
        "deploymentMode": "Standard",
        "conditions": [true("Ready")],
    }
    row = workload_row("InferenceService", made("i", spec, status), NOW)
    assert (row["wanted"], row["ready"], row["health"], row["project"]) == (2, None, "Healthy", "demo")
    details = row["status"]
    assert (details["runtime"], details["model_format"], details["mode"]) == ("kserve-mlserver", "mlflow", "Standard")
    assert workload_row("InferenceService", made("i", {}, {}), NOW)["wanted"] is None


@pytest.mark.parametrize(
    ("spec", "status", "health"),
    [
        ({}, {}, "Progressing"),
        ({}, {"conditions": [], "jobsStatus": [{"name": "node", "active": 1}]}, "Progressing"),
        ({"suspend": True}, {}, "Suspended"),
        ({}, {"conditions": [true("Complete")]}, "Healthy"),
        ({"suspend": True}, {"conditions": [true("Failed")]}, "Degraded"),
    ],
)
def test_the_row_of_a_train_job_says_how_it_goes_and_by_which_runtime(spec: Any, status: Any, health: str) -> None:
    asked = {"runtimeRef": {"name": "torch-distributed"}, "trainer": {"numNodes": 2}, **spec}
    row = workload_row("TrainJob", made("t", asked, status), NOW)
    assert (row["wanted"], row["ready"], row["health"]) == (2, None, health)
    assert row["status"]["runtime"] == "torch-distributed"


def test_the_rows_of_jobs_and_deployments_count_pods_and_name_their_owner() -> None:
    owner = {"ownerReferences": [{"kind": "CronJob", "name": "nightly", "controller": True}]}
    row = workload_row("Job", made("j", {"completions": 4}, {"succeeded": 1, "active": 2}, **owner), NOW)
    assert (row["wanted"], row["ready"], row["status"]["active"], row["owner_name"]) == (4, 1, 2, "nightly")
    template = {"spec": {"containers": [{"image": "a:1"}, {"image": "b:2"}]}}
    row = workload_row("Deployment", made("d", {"replicas": 3, "template": template}, {"readyReplicas": 2}), NOW)
    assert (row["wanted"], row["ready"], row["status"]["images"]) == (3, 2, ["a:1", "b:2"])


def test_what_is_watched_is_what_the_role_allows() -> None:
    allowed = {(needed.group, needed.resource): needed for needed in NEEDED}
    for watched in KINDS:
        needed = allowed[watched.api_version.rpartition("/")[0].partition("/")[0], f"{watched.kind.lower()}s"]
        assert {"list", "watch"} <= set(needed.verbs), watched.kind
        assert watched.optional or not needed.optional, watched.kind
    assert {watched.kind for watched in KINDS} >= WORKLOAD_KINDS


@pytest.fixture
def watching(api: FakeApi, admin: Principal, sent: object, run_route: None) -> Iterator[Watching]:
    api.put("nodes", node("n1"))
    services.register(principal=admin, name="fake", kubeconfig_text=api.kubeconfig)
    started = Watching(FAST)
    yield started
    started.stop()


@pytest.mark.django_db(transaction=True)
def test_workloads_come_change_and_go(
    api: FakeApi, watching: Watching, sent: tuple[list[tuple[str, int]], list[str]]
) -> None:
    api.put("jobs", made("j", {}, {"active": 1}))
    api.put("services", made("s", {"type": "ClusterIP"}, {}))
    api.put("horizontalpodautoscalers", AUTOSCALER)
    eventually(lambda: Workload.objects.count() == 3, "all are stored")
    eventually(lambda: ("wake", 7) in sent[0] and "run:7" in sent[1], "the run is woken and hinted")
    api.put("jobs", made("j", {}, {"succeeded": 1, "conditions": [true("Complete")]}))
    eventually(lambda: Workload.objects.filter(kind="Job", health="Healthy").exists(), "the job is complete")
    api.remove("services", "s")
    eventually(lambda: not Workload.objects.filter(kind="Service").exists(), "the service is gone")


@pytest.mark.django_db(transaction=True)
def test_an_autoscaler_is_hinted_and_wakes_nobody(
    api: FakeApi, watching: Watching, sent: tuple[list[tuple[str, int]], list[str]]
) -> None:
    api.put("horizontalpodautoscalers", AUTOSCALER)
    eventually(lambda: "run:7" in sent[1], "it is hinted")
    assert ("wake", 7) not in sent[0]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("code", "why"), [(404, "does not serve it"), (403, "may not read it")])
def test_a_cluster_without_autoscalers_is_as_well_as_ever(
    api: FakeApi, watching: Watching, code: int, why: str
) -> None:
    api.put("horizontalpodautoscalers", AUTOSCALER)
    eventually(lambda: Workload.objects.exists(), "it is stored while the kind is served")
    api.status_on_list["horizontalpodautoscalers"] = [code] * 1000
    api.send_raw("horizontalpodautoscalers", error_event(410, "Expired"))
    eventually(lambda: not Workload.objects.exists(), "what is not known any more is not shown")

    def synced() -> str:
        stored = {condition["type"]: condition for condition in Cluster.objects.get().conditions}
        return str(stored["Synced"]["message"]) if stored["Synced"]["status"] == "True" else ""

    eventually(lambda: f"HorizontalPodAutoscaler is not shown: the {'cluster' if code == 404 else 'credential'} {why}"
               in synced(), "it is said")  # fmt: skip
    assert Cluster.objects.get().state == "Healthy"
    api.status_on_list["horizontalpodautoscalers"] = []
    eventually(lambda: Workload.objects.exists(), "and asked for again")

"""The page of a pod and its log, through the door that people use."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.clusters import logs
from apps.clusters.models import Cluster, KubeEvent, Node, Pod
from apps.clusters.observed import rows
from apps.clusters.selectors.explain import explain_absent, explain_pods
from apps.clusters.selectors.visibility import Visibility
from apps.core.models import Membership, Project, User
from apps.experiments.models import Experiment
from tests import factories
from tests.clusters import fakeapi

pytestmark = pytest.mark.django_db

NOBODY = Visibility(False, frozenset())
EVERYTHING = Visibility(True, frozenset())
SHORT = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu. preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod."  # fmt: skip  # noqa: E501


@pytest.fixture
def project() -> Project:
    return Project.objects.create(name="demo")


@pytest.fixture
def cluster(project: Project) -> Cluster:
    made = factories.cluster("gke-eu", nodes=0)
    gpu_nodes(made, free=[2, 0])
    return made


@pytest.fixture
def viewer(client: Client, project: Project, viewer_user: User) -> Client:
    Membership.objects.create(project=project, user=viewer_user, role="viewer")
    client.force_login(viewer_user)
    return client


def gpu_nodes(cluster: Cluster, free: list[int]) -> None:
    """Nodes of eight GPUs of which `free` are free: others' pods hold the rest."""
    now = datetime.now(UTC)
    for number, room in enumerate(free, start=1):
        node = fakeapi.node(f"gpu-{number}", gpu="8", cpu="64", memory="256Gi")
        node["metadata"]["uid"] = f"{cluster.name}-gpu-{number}"
        Node.objects.create(cluster=cluster, **rows.node_row(node, now))
        factories.pod(cluster, None, node_name=f"gpu-{number}", requests_gpu=8 - room, requests_cpu_m=1000)


def add(
    cluster: Cluster, name: str, *, status: dict[str, Any], spec: dict[str, Any] | None = None, **labels: str
) -> Pod:
    """A pod as the watcher would store it."""
    pod = fakeapi.pod(name, node_name="gpu-1", **labels)
    pod["metadata"]["uid"] = f"uid-{name}"
    pod["spec"] |= spec
    pod["status"] = status
    return Pod.objects.create(cluster=cluster, **rows.pod_row(pod, datetime.now(UTC)))


def waits_for_gpus(cluster: Cluster, name: str = "run-9-abc", **labels: str) -> Pod:
    asked = {"name": "main", "resources": {"limits": {"nvidia.com/gpu": "4"}}}
    unscheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": SHORT}
    status = {"phase": "Pending", "conditions": [unscheduled]}
    return add(cluster, name, status=status, spec={"nodeName": None, "containers": [asked]}, **labels)


def ran_out_of_memory(cluster: Cluster, name: str = "train-x") -> Pod:
    asked = {"name": "main", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "2Gi"}}}
    times = {"startedAt": "2026-11-25T10:00:00Z", "finishedAt": "2026-11-25T10:02:00Z"}
    container = {
        "name": "main",
        "image": "team/train:3",
        "restartCount": 4,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s restarting failed container"}},
        "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137, **times}},
    }
    init = {"name": "setup", "image": "team/setup:1", "ready": True, "state": {"terminated": {"exitCode": 0, **times}}}
    status = {"phase": "Running", "containerStatuses": [container], "initContainerStatuses": [init]}
    return add(cluster, name, status=status, spec={"containers": [asked]})


def page_of(client: Client, pod: Pod, query: str = "") -> str:
    answer = client.get(f"/clusters/gke-eu/pods/{pod.namespace}/{pod.name}/{query}")
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def test_a_pod_that_waits_says_the_largest_gap_and_what_to_do(viewer: Client, cluster: Cluster) -> None:
    text = page_of(viewer, waits_for_gpus(cluster))
    assert "Waiting: no node has 4 free nvidia.com/gpu; the largest gap is 2 on gpu-1." in text
    assert "Ask for at most 2 nvidia.com/gpu, or wait until 2 more nvidia.com/gpu are free on gpu-1." in text
    assert "gpu-1 2 of 8, gpu-2 0 of 8" in text and "3 Insufficient nvidia.com/gpu" in text
    assert "/usage" in text, "its use over time comes by itself"


def test_who_ends_is_named_only_to_whom_may_know(cluster: Cluster, project: Project) -> None:
    pod = waits_for_gpus(cluster)
    secret = Project.objects.create(name="secret")
    factories.pod(
        cluster, secret, node_name="gpu-1", requests_gpu=0, owner_kind="Job", owner_name="run-77"
    )  # holds none: it frees nothing
    Pod.objects.filter(node_name="gpu-1", requests_gpu=6).update(
        project="secret", owner_kind="Job", owner_name="run-17"
    )
    assert "wait for run-17 to end" in explain_pods([pod], sight=EVERYTHING)[pod.uid].next_step
    assert "run-17" not in explain_pods([pod], sight=NOBODY)[pod.uid].next_step


def test_other_clusters_where_it_would_fit_are_named(viewer: Client, cluster: Cluster) -> None:
    gpu_nodes(factories.cluster("eks-us", nodes=0), free=[4])
    gpu_nodes(factories.cluster("full", nodes=0), free=[3, 3])
    gpu_nodes(factories.cluster("silent", nodes=0, state="Unreachable"), free=[8])
    gpu_nodes(cordoned := factories.cluster("cordoned", nodes=0), free=[8])
    cordoned.nodes.update(schedulable=False)
    gpu_nodes(tainted := factories.cluster("tainted", nodes=0), free=[8])
    tainted.nodes.update(taints=[{"key": "team", "value": "vision", "effect": "NoSchedule"}])
    text = page_of(viewer, waits_for_gpus(cluster))
    assert "It would fit on eks-us." in text


def test_other_clusters_are_named_to_a_pod_that_asks_for_no_gpu(cluster: Cluster) -> None:
    for name, cores in (("small", "2"), ("full", "8"), ("roomy", "8")):
        node = fakeapi.node("n1", cpu=cores, memory="64Gi")
        node["metadata"]["uid"] = f"{name}-n1"
        there = factories.cluster(name, nodes=0)
        Node.objects.create(cluster=there, **rows.node_row(node, datetime.now(UTC)))
        factories.pod(there, None, node_name="n1", requests_cpu_m=6000 if name == "full" else 1000)
    waits = waits_for_gpus(cluster)
    Pod.objects.filter(pk=waits.pk).update(requests_gpu=0, requests_gpus={}, requests_cpu_m=4000)
    waits.refresh_from_db()
    facts = explain_pods([waits], sight=NOBODY, elsewhere=True)[waits.uid]
    assert "It would fit on roomy." in facts.next_step


def test_labels_that_a_pod_demands_are_looked_for_on_other_clusters(cluster: Cluster) -> None:
    for name, zone in (("eks-a", "a"), ("eks-b", "b")):
        gpu_nodes(there := factories.cluster(name, nodes=0), free=[8])
        there.nodes.update(labels={"zone": zone})
    waits = waits_for_gpus(cluster)
    Pod.objects.filter(pk=waits.pk).update(status=waits.status | {"node_selector": {"zone": "b"}})
    waits.refresh_from_db()
    assert "It would fit on eks-b." in explain_pods([waits], elsewhere=True)[waits.uid].next_step


def test_a_node_that_is_gone_or_silent_is_named(cluster: Cluster) -> None:
    def sentence(node: str) -> str:
        pod = factories.pod(cluster, None, node_name=node, health="Unknown", ready=False)
        return explain_pods([pod])[pod.uid].sentence

    since = (timezone.now() - timedelta(minutes=7)).isoformat()
    silent = [{"type": "Ready", "status": "Unknown", "last_transition_time": since}]
    Node.objects.filter(name="gpu-2").update(ready=False, reason="NodeStatusUnknown", conditions=silent)
    assert sentence("gpu-2") == "Not heard of: node gpu-2 stopped answering 7 min ago."
    assert sentence("gpu-9") == "Not heard of: node gpu-9 no longer exists."
    Node.objects.all().delete()
    assert "no longer exists" not in sentence("gpu-9"), "nodes that can't be listed are not gone"


@pytest.mark.parametrize("part", ["", "?part=facts"])
def test_a_node_that_is_gone_is_named_and_no_link(
    viewer: Client, cluster: Cluster, project: Project, part: str
) -> None:
    pod = factories.pod(cluster, project, node_name="gpu-1")
    link = '<a href="/clusters/gke-eu/nodes/gpu-1/">gpu-1</a>'
    assert link in page_of(viewer, pod, part)
    Node.objects.filter(name="gpu-1").delete()
    page = page_of(viewer, pod, part)
    assert "gpu-1" in page and link not in page


def test_out_of_memory_is_said_as_such_with_the_limit(viewer: Client, cluster: Cluster) -> None:
    text = page_of(viewer, ran_out_of_memory(cluster))
    assert "Container main ran out of memory: it used more than its limit of 2 GiB (exit code 137)." in text
    assert "Ask for more memory" in text
    containers = page_of(viewer, Pod.objects.get(name="train-x"), "?part=containers")
    assert "OOMKilled" in containers and "exit code 137 (SIGKILL)" in containers and ">2 min<" in containers
    assert "setup" in containers and ">init<" in containers and "Completed" in containers
    for amount in ("2Gi", "1Gi"):
        assert f"{amount} <span" in containers


@pytest.mark.parametrize("part", ["verdict", "why", "facts", "containers", "events", "conditions"])
def test_each_part_is_a_fragment(viewer: Client, cluster: Cluster, part: str) -> None:
    text = page_of(viewer, ran_out_of_memory(cluster), f"?part={part}")
    assert f'id="{part}"' in text and "<html" not in text


@pytest.mark.parametrize(
    "odd",
    [
        {"name": {"a": 1}},
        {"state": {"running": "x"}},
        {"state": {"running": {"startedAt": 7}}, "lastState": "x", "restartCount": 0},
        {"state": {"waiting": {"reason": ["y"], "message": "m" * 100_000}}},
    ],
)
def test_a_status_that_makes_no_sense_breaks_no_page(viewer: Client, cluster: Cluster, odd: dict[str, Any]) -> None:
    container = {"name": "main", "image": "i", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
    pod = add(cluster, "odd", status={"phase": "Running", "containerStatuses": [container | odd]}, spec={})
    assert len(page_of(viewer, pod)) < 60_000
    Cluster.objects.update(state="Unreachable")
    assert viewer.get(f"/clusters/gke-eu/pods/{pod.namespace}/odd/log/").status_code == 200


def test_a_healthy_pod_has_no_why(viewer: Client, cluster: Cluster, project: Project) -> None:
    pod = factories.pod(cluster, project, node_name="gpu-1", reason="Running", message="All containers are ready.")
    text = page_of(viewer, pod)
    assert 'aria-label="Why" hidden' in text and "All containers are ready." in text


def test_a_runs_pod_leads_to_its_run(viewer: Client, cluster: Cluster, project: Project) -> None:
    run = factories.run(Experiment.objects.create(project=project, name="digits"), name="trial-a")
    text = page_of(viewer, waits_for_gpus(cluster, run=str(run.pk)))
    assert f"/p/demo/runs/{run.uid}/" in text and "trial-a" in text


def test_a_job_without_a_pod_says_which_quota_refuses_it(cluster: Cluster) -> None:
    message = (
        'Error creating: pods "run-9-x" is forbidden: exceeded quota: team, requested: requests.nvidia.com/gpu=4, '
        "used: requests.nvidia.com/gpu=6, limited: requests.nvidia.com/gpu=8"
    )
    factories_event(cluster, "Job", "run-9", message)
    factories_event(cluster, "ReplicaSet", "digits-r2-7d9f8c6b5", message)
    job, revision = (cluster.pk, "flotilla-demo", "run-9"), (cluster.pk, "flotilla-demo", "digits-r2")
    assert "quota team allows 8 nvidia.com/gpu" in explain_absent([job], "Job")[job].sentence
    assert "quota team" in explain_absent([revision], "ReplicaSet", prefix=True)[revision].sentence
    longer = (cluster.pk, "flotilla-demo", "digits")
    assert explain_absent([longer], "ReplicaSet", prefix=True) == {}, "digits-r2-… is of digits-r2, not of digits"
    assert explain_absent([revision], "Job") == {} and explain_absent([], "Job") == {}
    KubeEvent.objects.update(last_at=timezone.now() - timedelta(hours=1))
    assert explain_absent([job], "Job") == {}, "an old refusal is no longer why"


def factories_event(cluster: Cluster, kind: str, name: str, message: str) -> None:
    now = timezone.now()
    KubeEvent.objects.create(
        cluster=cluster, uid=factories.uid(), namespace="flotilla-demo", involved_kind=kind, involved_name=name,
        type="Warning", reason="FailedCreate", message=message, first_at=now, last_at=now,
    )  # fmt: skip


def test_many_pods_cost_as_many_queries_as_few(cluster: Cluster) -> None:
    gpu_nodes(factories.cluster("eks-us", nodes=0), free=[4])

    def cost(pods: list[Pod]) -> int:
        with CaptureQueriesContext(connection) as queries:
            assert len(explain_pods(pods, sight=NOBODY, elsewhere=True)) == len(pods)
        return len(queries)

    few = cost([waits_for_gpus(cluster)])
    pods = [waits_for_gpus(cluster, f"run-{number}") for number in range(20)]
    light = list(Pod.objects.filter(pk__in=[pod.pk for pod in pods]).defer("status"))
    assert cost(pods) == few <= 8
    assert cost(light) == few + 1, "rows without their status are completed by one query"
    ready = factories.pod(cluster, None)
    with CaptureQueriesContext(connection) as queries:
        assert explain_pods([ready]) == {}
    assert len(queries) == 1


def test_the_clusters_page_says_why_its_pods_wait(viewer: Client, cluster: Cluster, project: Project) -> None:
    waits_for_gpus(cluster)
    ran_out_of_memory(cluster)
    factories.pod(cluster, None, name="of-others", node_name="", phase="Pending", ready=False, health="Progressing")
    text = " ".join(viewer.get("/clusters/gke-eu/?part=whys").content.decode().split())
    assert "/pods/flotilla-demo/run-9-abc/" in text and "the largest gap is 2 on gpu-1" in text
    assert "Container main ran out of memory" in text and "of-others" not in text


T = "2026-11-25T10:00:0"


@pytest.mark.parametrize(
    ("after", "seen", "left"),
    [
        (f"{T}1.5Z", 1, ["b", "c", "d", "e"]),
        (f"{T}1.500000000Z", 2, ["c", "d", "e"]),
        (f"{T}1.5Z", 9, ["d", "e"]),
        (f"{T}2Z", 1, ["e"]),
        (f"{T}3.000000001Z", 1, []),
    ],
)
def test_lines_of_the_same_time_come_once(after: str, seen: int, left: list[str]) -> None:
    lines = [f"{T}1.5Z a", f"{T}1.5Z b", f"{T}1.500000000Z c", f"{T}2Z d", f"{T}3.000000001Z e"]
    assert [line.partition(" ")[2] for line in logs.unseen(lines, after, seen)] == left


def test_what_an_address_says_is_taken_only_when_it_makes_sense() -> None:
    assert logs.query_of({"after": "yesterday", "seen": "-1", "since": "99", "previous": "yes"}) == logs.LogQuery()
    asked = logs.query_of({"after": f"{T}1Z", "seen": "3", "since": "300", "previous": "1", "container": "a"})
    assert asked == logs.LogQuery("a", True, "300", f"{T}1Z", 3)


def test_the_log_of_a_cluster_that_cant_be_asked_is_a_sentence_not_an_error(viewer: Client, cluster: Cluster) -> None:
    pod = ran_out_of_memory(cluster)
    heard = timezone.now() - timedelta(days=1)
    Cluster.objects.update(state="Unreachable", message="No answer within 5 s.", last_seen_at=heard, synced_at=heard)
    answer = viewer.get(f"/clusters/gke-eu/pods/{pod.namespace}/{pod.name}/log/")
    assert answer.status_code == 200 and answer.content == b""
    since = f"{heard.day} {heard:%b %H:%M} UTC"
    assert unquote(answer["X-Log-Note"]) == f"Cluster gke-eu has not answered since {since}: No answer within 5 s"
    assert unquote(answer["X-Log-Kept"]).startswith("Flotilla keeps no copy of this log")
    assert answer["X-Log-Containers"] == "setup,main" and answer["X-Log-Restarted"] == "1"
    Cluster.objects.update(state="Healthy")
    answer = viewer.get(f"/clusters/gke-eu/pods/{pod.namespace}/{pod.name}/log/?container=setup")
    assert answer.status_code == 200 and "can't be read" in unquote(answer["X-Log-Note"]), "its certificate is none"
    assert answer["X-Log-Container"] == "setup" and "X-Log-Restarted" not in answer


def test_a_container_s_name_that_is_none_breaks_no_header(viewer: Client, cluster: Cluster) -> None:
    pod = ran_out_of_memory(cluster)
    pod.status["containers"].append({"name": "x\r\nSet-Cookie: a=b", "state": {}})
    pod.save()
    heard = timezone.now() - timedelta(days=1)
    Cluster.objects.update(state="Unreachable", message="No answer within 5 s.", last_seen_at=heard, synced_at=heard)
    answer = viewer.get(f"/clusters/gke-eu/pods/{pod.namespace}/{pod.name}/log/")
    assert answer.status_code == 200 and answer["X-Log-Containers"] == "setup,main"

"""What is said about a pod or node, for every way in which one can be."""

from datetime import UTC, datetime
from typing import Any

import pytest

from apps.clusters.models import Pod
from apps.clusters.observed.health import node_health
from apps.clusters.observed.podhealth import is_ready, lasting, pod_health
from apps.clusters.observed.rows import pod_row
from apps.clusters.selectors.explain import pod_facts
from apps.clusters.why import ClusterFacts, explain
from apps.clusters.why.facts import NodeFacts
from apps.core.states import Health

NOW = datetime(2026, 11, 23, 14, tzinfo=UTC)


def pod(phase: str = "Running", *, deleting: bool = False, ready: bool | None = None, **status: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"metadata": {"name": "p"}, "status": {"phase": phase, **status}}
    if deleting:
        made["metadata"]["deletionTimestamp"] = "2026-11-23T14:00:00Z"
    if ready is not None:
        made["status"].setdefault("conditions", []).append({"type": "Ready", "status": str(ready)})
    return made


def container(
    state: dict[str, Any], *, last: dict[str, Any] | None = None, restarts: int = 0, name: str = "main"
) -> Any:
    last_state = {"terminated": last} if last else {}
    return {"name": name, "state": state, "lastState": last_state, "restartCount": restarts}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


def ended(code: int, reason: str = "", message: str = "") -> dict[str, Any]:
    return {"exitCode": code, "reason": reason, "message": message}


UNSCHEDULABLE = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
}
GATED = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "message": "Scheduling is gated"}
OOM = ended(137, "OOMKilled")
KILLED = ended(137, "Error")
NOT_MADE = ended(137, "ContainerStatusUnknown", "The container could not be located when the pod was terminated")
PREEMPTED = {
    "type": "DisruptionTarget",
    "status": "True",
    "reason": "PreemptionByScheduler",
    "message": "default-scheduler: preempting to accommodate a higher priority pod",
}

NO_MEMORY = (
    "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: "
    "unable to start container process: container init was OOM-killed (memory limit too low?): unknown"
)

NO_COMMAND = 'exec: "trian.py": executable file not found in $PATH: unknown'
STAMPED = "2026-11-23 11:59:00,123 ERROR no such model"
ON_N1 = {"spec": {"nodeName": "n1"}}

CASES = [
    (
        "a memory limit too low to start with, ended",
        pod("Failed", containerStatuses=[container({"terminated": ended(128, "StartError", NO_MEMORY)})]),
        Health.DEGRADED, "StartError",
        "Can't start: container main has a memory limit that is too low to start with.", 128,
    ),
    (
        "a memory limit too low to start with, tried again",
        pod("Pending", containerStatuses=[container(waiting("RunContainerError", NO_MEMORY))]),
        Health.DEGRADED, "RunContainerError",
        "Can't start: container main has a memory limit that is too low to start", None,
    ),
    (
        "a memory limit too low to start with, again and again",
        pod(containerStatuses=[
            container(waiting("CrashLoopBackOff", "back-off"), last=ended(128, "StartError", NO_MEMORY), restarts=2)
        ]),
        Health.DEGRADED, "CrashLoopBackOff", "start with. Restarted 2 times; it waits for the next try.", 128,
    ),
    ("running and ready", pod(ready=True), Health.HEALTHY, "Running", "ready", None),
    (
        "running, probe not passed", pod(ready=False, containerStatuses=[container({"running": {}})]),
        Health.PROGRESSING, "NotReady", "Started, but not ready yet: container main has not passed its readiness", None,
    ),
    (
        "running, and slow to start",
        pod(ready=False, containerStatuses=[container({"running": {}}) | {"started": False}]),
        Health.PROGRESSING, "NotReady", "container main has not passed its startup probe.", None,
    ),
    (
        "one container has done its work",
        pod(ready=False, containerStatuses=[container({"running": {}}) | {"ready": True},
                                            container({"terminated": ended(0, "Completed")}, name="load")]),
        Health.PROGRESSING, "NotReady", "Not ready: container load has ended.", None,
    ),
    (
        "a sidecar is not ready, and an init container has done its work",
        pod(ready=False, containerStatuses=[container({"running": {}}) | {"ready": True}],
            initContainerStatuses=[container({"terminated": ended(0, "Completed")}, name="fetch"),
                                   container({"running": {}}, name="proxy")])
        | {"spec": {"initContainers": [{"name": "fetch"}, {"name": "proxy", "restartPolicy": "Always"}]}},
        Health.PROGRESSING, "NotReady", "ready yet: container proxy has not passed its readiness probe.", None,
    ),
    (
        "a readiness gate that nobody has met",
        pod(ready=False, containerStatuses=[container({"running": {}}) | {"ready": True}])
        | {"spec": {"readinessGates": [{"conditionType": "lb/ready"}]}},
        Health.PROGRESSING, "NotReady", "Not ready: the readiness gate lb/ready is not met.", None,
    ),
    (
        "its node no longer reports",
        pod(ready=False, containerStatuses=[container({"running": {}}) | {"ready": True}]),
        Health.PROGRESSING, "NotReady", "Not ready, though its containers are: its node may no longer report.", None,
    ),
    ("no container has reported", pod(ready=False), Health.PROGRESSING, "NotReady", "has reported yet", None),
    (
        "ready after a restart says why",
        pod(ready=True, containerStatuses=[container({"running": {}}, last=OOM, restarts=2)]),
        Health.HEALTHY, "Running", "than its limit (exit code 137). Restarted 2 times.", None,
    ),
    (
        "not ready after a crash says why",
        pod(ready=False, containerStatuses=[container({"running": {}}, last=ended(1, "Error"), restarts=1)]),
        Health.PROGRESSING, "NotReady", "exit code 1", None,
    ),
    ("unschedulable", pod("Pending", conditions=[UNSCHEDULABLE]),
     Health.PROGRESSING, "Unschedulable", "nvidia.com/gpu", None),
    ("gated", pod("Pending", conditions=[GATED]), Health.SUSPENDED, "SchedulingGated", "gates are still closed", None),
    (
        "gated by name",
        pod("Pending", conditions=[GATED]) | {"spec": {"schedulingGates": [{"name": "quota/approved"}]}},
        Health.SUSPENDED, "SchedulingGated", "Waiting: its scheduling gate quota/approved is still closed", None,
    ),
    ("no node yet", pod("Pending"), Health.PROGRESSING, "Pending", "the scheduler has not looked at it yet.", None),
    (
        "being made",
        pod("Pending", containerStatuses=[container(waiting("ContainerCreating"))]) | {"spec": {"nodeName": "n1"}},
        Health.PROGRESSING, "ContainerCreating", "Starting: its containers are being made on n1.", None,
    ),
    (
        "image can't be pulled",
        pod("Pending", containerStatuses=[container(waiting("ImagePullBackOff", "Back-off pulling image x"))]),
        Health.DEGRADED, "ImagePullBackOff", "Back-off pulling image x", None,
    ),
    (
        "an init container's image can't be pulled",
        pod("Pending", initContainerStatuses=[container(waiting("ErrImagePull", "not found"), name="init")],
            containerStatuses=[container(waiting("PodInitializing"))]),
        Health.DEGRADED, "ErrImagePull", "image of container init can't be pulled; the registry does not", None,
    ),
    (
        "one container waits for a moment, the other for ever",
        pod(containerStatuses=[container(waiting("ContainerCreating"), name="a"),
                               container(waiting("CreateContainerConfigError", "no secret x"), name="b")]),
        Health.DEGRADED, "CreateContainerConfigError", "no secret x", None,
    ),
    (
        "crash loop",
        pod(containerStatuses=[container(waiting("CrashLoopBackOff"), last=ended(3, "Error"), restarts=4)]),
        Health.DEGRADED, "CrashLoopBackOff", "exit code 3. Restarted 4 times; it waits for the next try.", 3,
    ),
    (
        "crash loop out of memory is called so",
        pod(containerStatuses=[container(waiting("CrashLoopBackOff"), last=OOM, restarts=4)]),
        Health.DEGRADED, "OOMKilled", "main ran out of memory: it used more than its limit (exit code 137).", 137,
    ),
    (
        "crash loop of a container that ends well",
        pod(containerStatuses=[container(waiting("CrashLoopBackOff"), last=ended(0, "Completed"), restarts=4)]),
        Health.DEGRADED, "CrashLoopBackOff", "exit code 0", 0,
    ),
    ("crash loop without a last state", pod(containerStatuses=[container(waiting("CrashLoopBackOff"))]),
     Health.DEGRADED, "CrashLoopBackOff", "keeps ending", None),
    (
        "one container has just failed",
        pod(ready=False, containerStatuses=[container({"terminated": ended(2, "Error")}), container({"running": {}})]),
        Health.DEGRADED, "Error", "exit code 2", 2,
    ),
    ("succeeded", pod("Succeeded"), Health.HEALTHY, "Completed", "exit code 0", 0),
    (
        "deleted before it ran, of which a kubelet says that it succeeded",
        pod("Succeeded", containerStatuses=[container(waiting("ImagePullBackOff", "Back-off pulling image"))]),
        Health.DEGRADED, "NeverRan", "It was ended before any of its containers ran.", None,
    ),
    (
        "deleted before it ran",
        pod("Failed", containerStatuses=[container({"terminated": NOT_MADE})],
            initContainerStatuses=[container({"terminated": ended(0, "Completed")}, name="fetch")]),
        Health.DEGRADED, "NeverRan", "It was ended before any of its containers ran.", None,
    ),
    (
        "one of two had ended well when it was deleted",
        pod("Succeeded", containerStatuses=[container({"terminated": ended(0, "Completed")}),
                                            container({"terminated": ended(3, "Error")}, name="side")]),
        Health.DEGRADED, "Error", "Container side ended with exit code 3.", 3,
    ),
    (
        "its node lost it",
        pod("Failed", containerStatuses=[container({"terminated": ended(137, "ContainerStatusUnknown", "The container "
            "could not be located when the pod was deleted.  The container used to be Running")})]),
        Health.DEGRADED, "ContainerStatusUnknown", "how it ended is not known", 137,
    ),
    (
        "failed with an exit code",
        pod("Failed", containerStatuses=[container({"terminated": ended(1, "Error", "ValueError: lr")})]),
        Health.DEGRADED, "Error", "exit code 1. Its last words: “ValueError: lr”", 1,
    ),
    (
        "failed by a signal",
        pod("Failed", containerStatuses=[container({"terminated": ended(139, "Error")})]),
        Health.DEGRADED, "Error", "Container main was killed by SIGSEGV (exit code 139).", 139,
    ),
    (
        "failed out of memory, and not because of the sidecar that ended with it",
        pod("Failed", containerStatuses=[container({"terminated": ended(1, "Error")}, name="side"),
                                         container({"terminated": OOM})]),
        Health.DEGRADED, "OOMKilled", "Container main ran out of memory", 137,
    ),
    (
        "its node was shut down",
        pod("Failed", reason="Terminated", message="Pod was terminated in response to imminent node shutdown.",
            containerStatuses=[container({"terminated": ended(143, "Error")})]) | {"spec": {"nodeName": "n1"}},
        Health.DEGRADED, "Terminated", "Stopped: its node n1 was shut down.", 143,
    ),
    (
        "a sidecar that was stopped after the main container",
        pod("Failed", containerStatuses=[container({"terminated": ended(1, "Error")})],
            initContainerStatuses=[container({"terminated": ended(143, "Error")}, name="proxy")]),
        Health.DEGRADED, "Error", "Container main", 1,
    ),
    ("evicted", pod("Failed", reason="Evicted", message="The node was low on memory."),
     Health.DEGRADED, "Evicted", "low on memory", None),
    (
        "deadline exceeded",
        pod("Failed", reason="DeadlineExceeded", message="Pod was active on the node longer than the deadline",
            containerStatuses=[container({"terminated": ended(137, "Error")})]),
        Health.DEGRADED, "DeadlineExceeded", "longer than", 137,
    ),
    (
        "preempted", pod("Failed", conditions=[PREEMPTED], containerStatuses=[container({"terminated": KILLED})]),
        Health.DEGRADED, "PreemptionByScheduler", "Preempted: it had to make room for a pod of higher priority.", 137,
    ),
    (
        "evicted by the kubelet, whose own word says more",
        pod("Failed", reason="Evicted", message="The node was low on memory.", conditions=[PREEMPTED]),
        Health.DEGRADED, "Evicted", "low on memory", None,
    ),
    (
        "preempted after it had ended well", pod("Succeeded", conditions=[PREEMPTED]),
        Health.HEALTHY, "Completed", "exit code 0", 0,
    ),
    ("chosen to be preempted, and not deleted yet", pod(ready=True, conditions=[PREEMPTED]),
     Health.PROGRESSING, "PreemptionByScheduler", "Preempted: it had to make room for a pod of higher priority.", None),
    ("preempted before it had a node", pod("Pending", conditions=[UNSCHEDULABLE, PREEMPTED]),
     Health.PROGRESSING, "PreemptionByScheduler", "Preempted: it had to make room for a pod of higher priority.", None),
    ("nobody preempts it any more", pod(ready=True, conditions=[PREEMPTED | {"status": "False"}]),
     Health.HEALTHY, "Running", "All containers are ready.", None),
    (
        "a sidecar that ends again and again",
        pod(ready=False, containerStatuses=[container({"running": {}}) | {"ready": True}],
            initContainerStatuses=[
                container(waiting("CrashLoopBackOff"), last=ended(3, "Error"), restarts=5, name="flaky")
            ])
        | {"spec": {"initContainers": [{"name": "flaky", "restartPolicy": "Always"}]}},
        Health.DEGRADED, "CrashLoopBackOff",
        "Sidecar flaky ended with exit code 3. Restarted 5 times; it waits for the next try.", None,
    ),
    ("being preempted", pod(deleting=True, ready=True, conditions=[PREEMPTED]),
     Health.PROGRESSING, "PreemptionByScheduler", "Preempted: it had to make room for a pod of higher priority.", None),
    (
        "being deleted, and its container has ended already",
        pod(deleting=True, containerStatuses=[container({"terminated": KILLED})]),
        Health.PROGRESSING, "Terminating", "deleted", 137,
    ),
    (
        "its command is not in the image, and it is tried again and again",
        pod(containerStatuses=[container(waiting("CrashLoopBackOff"), last=ended(127, "Error"), restarts=3)]),
        Health.DEGRADED, "CrashLoopBackOff", "exit code 127; the command was not found. Restarted 3 times;", 127,
    ),
    (
        "an init container that fails again and again",
        pod("Pending", initContainerStatuses=[
                container(waiting("CrashLoopBackOff"), last=ended(1, "Error", STAMPED), restarts=3, name="fetch-model")
            ], containerStatuses=[container(waiting("PodInitializing"))]),
        Health.DEGRADED, "CrashLoopBackOff",
        "Init container fetch-model ended with exit code 1. Restarted 3 times; it waits for the next try. "
        "Its last words: “no such model”", 1,
    ),
    (
        "a command that can't be executed",
        pod("Failed", containerStatuses=[container({"terminated": ended(128, "StartError", NO_COMMAND)})]),
        Health.DEGRADED, "StartError", "Can't start: the command trian.py is not in the image of container main.", 128,
    ),
    (
        "a Secret that is not there",
        pod("Pending", containerStatuses=[container(waiting("CreateContainerConfigError", 'secret "hf" not found'))]),
        Health.DEGRADED, "CreateContainerConfigError", "Can't start: Secret hf does not exist.", None,
    ),
    (
        "a key that a Secret lacks",
        pod("Pending", containerStatuses=[
            container(waiting("CreateContainerConfigError", "couldn't find key token in Secret demo/hf"))
        ]),
        Health.DEGRADED, "CreateContainerConfigError", "Can't start: Secret hf has no key token.", None,
    ),
    (
        "drained",
        pod("Failed", conditions=[PREEMPTED | {"reason": "EvictionByEvictionAPI"}],
            containerStatuses=[container({"terminated": KILLED})]) | ON_N1,
        Health.DEGRADED, "EvictionByEvictionAPI", "Evicted from n1: somebody drained the node, or asked for it.", 137,
    ),
    (
        "its node is gone",
        pod("Failed", conditions=[PREEMPTED | {"reason": "DeletionByPodGC"}]) | ON_N1,
        Health.DEGRADED, "DeletionByPodGC", "Removed from n1: the node no longer exists.", None,
    ),
    (
        "refused by its node", pod("Failed", reason="OutOfcpu", message="Node didn't have enough resource") | ON_N1,
        Health.DEGRADED, "OutOfcpu", "n1 refused it: it has not enough cpu left.", None,
    ),
    ("failed without a word", pod("Failed"), Health.DEGRADED, "Failed", "Kubernetes gives no reason.", None),
    ("terminating though running", pod(deleting=True, ready=True), Health.PROGRESSING, "Terminating", "deleted", None),
    ("on a lost node", pod(deleting=True, reason="NodeLost") | ON_N1,
     Health.UNKNOWN, "NodeLost", "Being deleted, but node n1 stopped answering, so nothing confirms that", None),
    ("unknown phase", pod("Unknown"), Health.UNKNOWN, "Unknown", "does not report", None),
    ("nothing at all", {}, Health.UNKNOWN, "Unknown", "does not report", None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("pod", "health", "reason", "part", "code"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_a_pod(pod: dict[str, Any], health: Health, reason: str, part: str, code: int | None) -> None:
    verdict = pod_health(pod)
    assert (verdict.health, verdict.reason, verdict.exit_code) == (health, reason, code)
    assert part in verdict.message


@pytest.mark.parametrize("pod", [case[1] for case in CASES], ids=[case[0] for case in CASES])
def test_the_message_is_the_sentence_of_the_pods_page(pod: dict[str, Any]) -> None:
    row = Pod(**pod_row({**pod, "metadata": pod.get("metadata") or {"name": "p"}}, NOW))
    why = explain(pod_facts(row), ClusterFacts("c", (NodeFacts("n1"),)), NOW)
    if row.reason == "Unschedulable":
        # The scheduler's own words, which people search for: the page reckons with the rooms of the nodes.
        assert why is not None and why.evidence[0].text == row.message
    elif why is None:
        assert row.health == Health.HEALTHY
    else:
        assert row.message == why.quoted


@pytest.mark.parametrize(
    "pod", [case[1] for case in CASES if case[1].get("status", {}).get("phase") in {"Succeeded", "Failed"}]
)
def test_how_a_pod_ended_is_the_same_while_somebody_deletes_it(pod: dict[str, Any]) -> None:
    deleting = {**pod, "metadata": {**pod["metadata"], "deletionTimestamp": "2026-11-23T14:00:00Z"}}
    assert pod_health(deleting) == pod_health(pod)


@pytest.mark.parametrize("pod", [case[1] for case in CASES], ids=[case[0] for case in CASES])
def test_of_a_pod_that_is_gone_nothing_is_said_that_was_only_so_for_a_moment(pod: dict[str, Any]) -> None:
    row = Pod(**pod_row({**pod, "metadata": pod.get("metadata") or {"name": "p"}}, NOW, deleted=True))
    row.deleted_at = NOW
    why = explain(pod_facts(row), ClusterFacts("c", (NodeFacts("n1"),)), NOW)
    assert lasting(pod_facts(row)) == (why.quoted if why is not None else "")
    if pod.get("status", {}).get("phase") not in {"Succeeded", "Failed"}:
        assert "deleted" not in row.message and lasting(pod_facts(row)) in ("", row.message)


def test_a_pod_that_is_being_deleted_takes_no_traffic() -> None:
    assert is_ready(pod(ready=True))
    assert not is_ready(pod(ready=True, deleting=True))
    assert not is_ready(pod())


def node(*conditions: tuple[str, str], unschedulable: bool = False) -> dict[str, Any]:
    reported = [{"type": kind, "status": status, "reason": f"Because{kind}"} for kind, status in conditions]
    return {"spec": {"unschedulable": unschedulable}, "status": {"conditions": reported}}


@pytest.mark.parametrize(
    ("node", "health", "reason"),
    [
        (node(("Ready", "True")), Health.HEALTHY, "Ready"),
        (node(("Ready", "True"), ("MemoryPressure", "False")), Health.HEALTHY, "Ready"),
        (node(("Ready", "True"), ("DiskPressure", "True")), Health.DEGRADED, "DiskPressure"),
        (node(("Ready", "False")), Health.DEGRADED, "BecauseReady"),
        (node(("Ready", "Unknown")), Health.UNKNOWN, "BecauseReady"),
        (node(), Health.UNKNOWN, "NoReport"),
        (node(("Ready", "True"), unschedulable=True), Health.SUSPENDED, "Cordoned"),
    ],
)
def test_a_node(node: dict[str, Any], health: Health, reason: str) -> None:
    verdict = node_health(node)
    assert (verdict.health, verdict.reason) == (health, reason)

"""Nodes that fall silent, come back, are cordoned or short of something, and what becomes of their pods.

https://kubernetes.io/docs/concepts/architecture/nodes/#condition
https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/#taint-based-evictions
https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/
"""

from typing import Any

import pytest

from localcluster.controllers.nodelifecycle import taints_of
from localcluster.errors import StatusError
from localcluster.kubelet.hollow import RUN_SECONDS
from localcluster.taints import NO_EXECUTE, NO_SCHEDULE
from tests.localcluster.nodes import Side, scenario

Object = dict[str, Any]
NODE = "local-cpu-1"


def _node(side: Side, name: str = NODE) -> Object:
    return side.registry.get("nodes", name)


def _condition(obj: Object, kind: str) -> Object:
    return next((each for each in obj["status"]["conditions"] if each["type"] == kind), {})


def _taints(side: Side) -> set[tuple[str, str]]:
    return {(each["key"], each["effect"]) for each in _node(side)["spec"].get("taints") or ()}


def _run(side: Side, name: str, seconds: int | None = None, **spec: Any) -> None:
    tolerations = []
    if seconds is not None:
        key = "node.kubernetes.io/unreachable"
        tolerations = [{"key": key, "operator": "Exists", "effect": NO_EXECUTE, "tolerationSeconds": seconds}]
    spec = {"nodeName": NODE, "restartPolicy": "Always", "tolerations": tolerations, **spec}
    side.run(name, "sleep", "60", spec=spec)


PODS = ("patient", "hasty")
UNREACHABLE = "node.kubernetes.io/unreachable"


@pytest.mark.parametrize("hollow", [True, False])
def test_a_silent_node_becomes_unknown_and_its_pods_are_evicted(hollow: bool) -> None:
    """After the grace period: Ready is Unknown, two taints; pods go when their tolerationSeconds are over."""

    async def story(side: Side) -> None:
        _run(side, "patient")
        _run(side, "hasty", 1)
        await side.until(lambda: all(_condition(side.pod(name), "Ready")["status"] == "True" for name in PODS))
        # DefaultTolerationSeconds: "adds a default toleration ... of 5 minutes" where the pod has none.
        assert {"key": UNREACHABLE, "operator": "Exists", "effect": NO_EXECUTE, "tolerationSeconds": 300} in side.pod(
            "patient"
        )["spec"]["tolerations"]
        side.nodes.fail(NODE)
        await side.until(lambda: _condition(_node(side), "Ready")["status"] == "Unknown")
        ready = _condition(_node(side), "Ready")
        assert (ready["reason"], ready["message"]) == (
            "NodeStatusUnknown",
            "Kubelet stopped posting node status.",
        )
        await side.until(lambda: _taints(side) == {(UNREACHABLE, NO_SCHEDULE), (UNREACHABLE, NO_EXECUTE)})
        await side.until(lambda: all(_condition(side.pod(name), "Ready")["status"] == "False" for name in PODS))
        assert "NodeNotReady" in side.reasons(NODE)
        await side.until(lambda: side.pod("hasty")["metadata"].get("deletionTimestamp"))
        # Nobody can confirm the deletion, and the phase stays what it was (Airflow #17693).
        assert _condition(side.pod("hasty"), "DisruptionTarget")["reason"] == "DeletionByTaintManager"
        assert side.phase("hasty") == "Running"
        assert "TaintManagerEviction" in side.reasons("hasty")
        assert not side.pod("patient")["metadata"].get("deletionTimestamp")
        side.nodes.recover(NODE)
        await side.until(lambda: not side.exists("pods", "hasty"))
        await side.until(lambda: _condition(side.pod("patient"), "Ready")["status"] == "True")
        assert _condition(_node(side), "Ready")["reason"] == "KubeletReady"
        await side.until(lambda: not _taints(side))

    scenario(story, hollow=hollow)


@pytest.mark.parametrize("hollow", [True, False])
def test_a_job_that_may_not_retry_fails_with_its_node(hollow: bool) -> None:
    """No second pod may begin while the first may still run: it would log to the same run twice.

    The job has failed once the pod is gone: "Delaying marking the Job as finished, because there are still terminating
    pod(s)" (job_controller.go, enactJobFinished).
    """

    async def story(side: Side) -> None:
        container = {"name": "main", "image": "busybox", "command": ["sleep", "60"]}
        toleration = {"key": UNREACHABLE, "operator": "Exists", "effect": NO_EXECUTE, "tolerationSeconds": 0}
        pod_spec = {"restartPolicy": "Never", "containers": [container], "tolerations": [toleration]}
        pod_spec["terminationGracePeriodSeconds"] = 1
        template = {"metadata": {"annotations": {RUN_SECONDS: "60"}}, "spec": pod_spec}
        spec = {"backoffLimit": 0, "template": template}
        side.registry.create("jobs", {"metadata": {"name": "work"}, "spec": spec}, namespace="default")
        (pod,) = await side.until(lambda: side.pods("job-name=work"))
        node = await side.until(lambda: side.pod(pod["metadata"]["name"])["spec"].get("nodeName"))
        await side.until(lambda: side.phase(pod["metadata"]["name"]) == "Running")
        side.nodes.fail(node)
        await side.until(lambda: _condition(_job(side), "FailureTarget").get("reason") == "BackoffLimitExceeded")
        status = _job(side)["status"]
        assert (status["failed"], status["active"], status["terminating"]) == (1, 0, 1)
        assert [each["metadata"]["uid"] for each in side.pods("job-name=work")] == [pod["metadata"]["uid"]]
        assert not _condition(_job(side), "Failed")
        side.nodes.recover(node)
        await side.until(lambda: _condition(_job(side), "Failed"))
        assert not side.pods("job-name=work")

    scenario(story, hollow=hollow)


def _job(side: Side) -> Object:
    return side.registry.get("jobs", "work", "default")


def test_new_pods_avoid_a_lost_node() -> None:
    async def story(side: Side) -> None:
        for name in (NODE, "local-cpu-2", "local-gpu-1"):
            side.nodes.fail(name)
        await side.until(lambda: all(each["spec"].get("taints") for each in side.registry.list("nodes")))
        side.run("later", "true")
        await side.until(lambda: "FailedScheduling" in side.reasons("later"))
        assert _condition(side.pod("later"), "PodScheduled")["message"] == (
            "0/3 nodes are available: 3 node(s) had untolerated taint {node.kubernetes.io/unreachable: }. "
            "preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
        )
        side.nodes.recover("local-cpu-2")
        await side.until(lambda: side.pod("later")["spec"].get("nodeName") == "local-cpu-2")

    scenario(story, hollow=True)


def test_a_short_silence_harms_nobody() -> None:
    async def story(side: Side) -> None:
        side.nodes.fail(NODE)
        side.nodes.recover(NODE)
        side.run("after", spec={"nodeName": NODE, "restartPolicy": "Always"})
        await side.until(lambda: side.phase("after") == "Running")
        assert _condition(_node(side), "Ready")["status"] == "True"
        with pytest.raises(StatusError) as error:
            side.nodes.fail("nowhere")
        assert error.value.code == 404

    scenario(story, hollow=True)


def test_pods_under_a_new_no_execute_taint_go() -> None:
    """ "Pods that do not tolerate the taint are evicted immediately", those that tolerate it stay."""

    async def story(side: Side) -> None:
        _run(side, "goes")
        _run(side, "stays", tolerations=[{"key": "maintenance", "operator": "Exists"}])
        await side.until(lambda: side.phase("goes") == side.phase("stays") == "Running")
        taint = {"key": "maintenance", "effect": NO_EXECUTE}
        side.registry.mutate("nodes", NODE, None, lambda node: node["spec"].update(taints=[taint]))
        await side.until(lambda: not side.exists("pods", "goes"))
        assert not side.pod("stays")["metadata"].get("deletionTimestamp")

    scenario(story, hollow=True)


def test_a_cordoned_node_takes_no_pods_until_it_is_uncordoned() -> None:
    async def story(side: Side) -> None:
        side.registry.mutate("nodes", NODE, None, lambda node: node["spec"].update(unschedulable=True))
        await side.until(lambda: _taints(side) == {("node.kubernetes.io/unschedulable", NO_SCHEDULE)})
        side.run("waits", spec={"nodeSelector": {"kubernetes.io/hostname": NODE}})
        await side.until(lambda: "FailedScheduling" in side.reasons("waits"))
        message = _condition(side.pod("waits"), "PodScheduled")["message"]
        assert "1 node(s) were unschedulable" in message
        assert "2 node(s) didn't match Pod's node affinity/selector" in message
        side.registry.mutate("nodes", NODE, None, lambda node: node["spec"].pop("unschedulable"))
        await side.until(lambda: side.pod("waits")["spec"].get("nodeName") == NODE)
        assert not _taints(side)

    scenario(story, hollow=True)


def test_a_resource_that_others_advertise_stays() -> None:
    """https://kubernetes.io/docs/tasks/administer-cluster/extended-resource-node/"""
    slices = "nvidia.com/mig-1g.5gb"

    async def story(side: Side) -> None:
        def advertise(node: Object) -> None:
            for kind in ("capacity", "allocatable"):
                node["status"][kind] = {**node["status"][kind], slices: "7", "nvidia.com/gpu": "99", "cpu": "99"}

        side.registry.mutate("nodes", "local-gpu-1", None, advertise, subresource="status")
        # A heartbeat.
        side.nodes.set_pressure("local-gpu-1", "DiskPressure", on=True)
        for kind in ("capacity", "allocatable"):
            amounts = _node(side, "local-gpu-1")["status"][kind]
            assert (amounts[slices], amounts["nvidia.com/gpu"], amounts["cpu"]) == ("7", "2", "8")
        side.nodes.register()
        assert slices not in _node(side, "local-gpu-1")["status"]["allocatable"], "a kubelet that starts begins anew"

    scenario(story)


def test_pressure_keeps_new_pods_away() -> None:
    """ "The control plane also adds node.kubernetes.io/memory-pressure" (taint nodes by condition)."""

    async def story(side: Side) -> None:
        _run(side, "old")
        await side.until(lambda: side.phase("old") == "Running")
        side.nodes.set_pressure(NODE, "MemoryPressure", on=True)
        assert _condition(_node(side), "MemoryPressure")["reason"] == "KubeletHasInsufficientMemory"
        await side.until(lambda: _taints(side) == {("node.kubernetes.io/memory-pressure", NO_SCHEDULE)})
        assert side.phase("old") == "Running"
        side.nodes.set_pressure(NODE, "MemoryPressure", on=False)
        await side.until(lambda: not _taints(side))
        assert _condition(_node(side), "MemoryPressure")["reason"] == "KubeletHasSufficientMemory"

    scenario(story, hollow=True)


@pytest.mark.parametrize("hollow", [True, False])
def test_the_kubelet_evicts(hollow: bool) -> None:
    """ "the kubelet sets the PodPhase for the selected pods to Failed, and terminates the Pod"."""
    message = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 52Mi."

    async def story(side: Side) -> None:
        _run(side, "victim")
        await side.until(lambda: side.phase("victim") == "Running")
        side.kubelet.evict("default", "victim", message)
        await side.until(lambda: side.phase("victim") == "Failed")
        status = side.pod("victim")["status"]
        assert (status["reason"], status["message"]) == ("Evicted", message)
        assert _condition(side.pod("victim"), "DisruptionTarget")["reason"] == "TerminationByKubelet"
        assert "terminated" in side.state("victim")
        (event,) = [each for each in side.events("victim") if each["reason"] == "Evicted"]
        assert (event["type"], event["message"], event["source"]["component"]) == ("Warning", message, "kubelet")
        with pytest.raises(StatusError) as error:
            side.kubelet.evict("default", "nobody", message)
        assert error.value.code == 404

    scenario(story, hollow=hollow)


def test_what_taints_follow_from_conditions() -> None:
    """https://kubernetes.io/docs/reference/labels-annotations-taints/: one taint for each condition."""
    own = {"key": "dedicated", "value": "ml", "effect": NO_SCHEDULE}
    conditions = [
        {"type": "Ready", "status": "False"},
        {"type": "MemoryPressure", "status": "Unknown"},
        {"type": "DiskPressure", "status": "True"},
        {"type": "PIDPressure", "status": "True"},
    ]
    node = {"spec": {"taints": [own], "unschedulable": True}, "status": {"conditions": conditions}}
    made = taints_of(node, "2026-01-01T00:00:00Z")
    assert made[0] == own
    assert [(each["key"].removeprefix("node.kubernetes.io/"), each["effect"]) for each in made[1:]] == [
        ("unschedulable", NO_SCHEDULE),
        ("not-ready", NO_SCHEDULE),
        ("not-ready", NO_EXECUTE),
        ("disk-pressure", NO_SCHEDULE),
        ("pid-pressure", NO_SCHEDULE),
    ]
    again = taints_of({**node, "spec": {**node["spec"], "taints": made}}, "2027-01-01T00:00:00Z")
    assert again == made

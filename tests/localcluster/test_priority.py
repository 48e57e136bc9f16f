"""Priorities of pods: https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/"""

from typing import Any

from tests.localcluster.nodes import Side, pod, scenario
from tests.localcluster.served import Served
from tests.localcluster.served import pod as small

CLASSES = "/apis/scheduling.k8s.io/v1/priorityclasses"
PODS = "/api/v1/namespaces/default/pods"


def _class(name: str, value: int, **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "value": value, **more}


def _pod(name: str, **spec: Any) -> dict[str, Any]:
    made = small(name)
    made["spec"].update(spec)
    return made


def test_a_pod_gets_the_value_of_its_class(api: Served) -> None:
    """ "uses the priorityClassName field and populates the integer value of the priority"."""
    assert api.post(CLASSES, _class("high", 1000, preemptionPolicy="Never")).status == 201
    made = api.post(PODS, _pod("a", priorityClassName="high")).json["spec"]
    assert (made["priority"], made["preemptionPolicy"]) == (1000, "Never")
    # "the priority of Pods with no priorityClassName is zero"
    assert api.post(PODS, _pod("b")).json["spec"]["priority"] == 0
    # "If the priority class is not found, the Pod is rejected."
    refused = api.post(PODS, _pod("c", priorityClassName="none"))
    assert refused.status == 403
    assert refused.json["message"] == 'pods "c" is forbidden: no PriorityClass with name none was found'
    assert api.post(PODS, _pod("d", priority=7)).status == 403


def test_a_global_default(api: Served) -> None:
    """ "should be used for Pods without a priorityClassName"."""
    assert api.post(CLASSES, _class("usual", 10, globalDefault=True)).status == 201
    made = api.post(PODS, _pod("a")).json["spec"]
    assert (made["priority"], made["priorityClassName"]) == (10, "usual")
    # Of several, "the smallest value of such global default PriorityClasses will be used as the default priority".
    for name, value in (("above", 20), ("lower", 5), ("zzz", 7)):
        assert api.post(CLASSES, _class(name, value, globalDefault=True)).status == 201
    assert api.post(PODS, _pod("b")).json["spec"]["priorityClassName"] == "lower"


def test_a_class_without_a_value_is_worth_nothing(api: Served) -> None:
    """And, above all, lets pods be made."""
    assert api.post(CLASSES, {"metadata": {"name": "odd"}, "globalDefault": True}).status == 201
    assert api.post(PODS, _pod("a")).json["spec"]["priority"] == 0


def test_the_system_has_classes_of_its_own(api: Served) -> None:
    values = {each["metadata"]["name"]: each["value"] for each in api.get(CLASSES).json["items"]}
    assert values == {"system-cluster-critical": 2000000000, "system-node-critical": 2000001000}


def test_the_highest_priority_is_scheduled_first() -> None:
    """ "the scheduler orders pending Pods by their priority"."""

    async def story(side: Side) -> None:
        side.registry.create("priorityclasses", _class("high", 1000))
        gpus: dict[str, Any] = {"resources": {"limits": {"nvidia.com/gpu": "2"}}}
        forever = {"restartPolicy": "Always"}
        side.registry.create("pods", pod("holder", **gpus, spec=forever), namespace="default")
        await side.until(lambda: side.phase("holder") == "Running")
        side.registry.create("pods", pod("early", **gpus, spec=forever), namespace="default")
        urgent = {**forever, "priorityClassName": "high"}
        side.registry.create("pods", pod("late", **gpus, spec=urgent), namespace="default")
        await side.until(lambda: "FailedScheduling" in side.reasons("early") + side.reasons("late"))
        side.registry.delete("pods", "holder", "default", grace_seconds=0)
        await side.until(lambda: side.phase("late") == "Running")
        assert not side.pod("early")["spec"].get("nodeName")

    scenario(story, hollow=True)

"""HorizontalPodAutoscalers at work on hollow pods: scale, status, conditions, events.

https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale-walkthrough/
"""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from localcluster.controllers.autoscaler import Autoscalers
from localcluster.kubelet.pretended import USE_CPU, USE_MEMORY
from localcluster.resources import BY_PLURAL
from localcluster.tables import table
from tests.localcluster.nodes import Side, scenario

Object = dict[str, Any]
CPU = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}


def _deployment(side: Side, replicas: int, **annotations: str) -> None:
    container = {"name": "main", "image": "busybox", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}
    template = {"metadata": {"labels": {"app": "web"}, "annotations": annotations}, "spec": {"containers": [container]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    side.registry.create("deployments", {"metadata": {"name": "web"}, "spec": spec}, namespace="default")


def _autoscale(side: Side, *metrics: Object, target: str = "web", least: int = 1, most: int = 10, **spec: Any) -> None:
    spec |= {"minReplicas": least, "maxReplicas": most, "metrics": [*metrics]}
    spec["scaleTargetRef"] = {"apiVersion": "apps/v1", "kind": "Deployment", "name": target}
    side.registry.create("horizontalpodautoscalers", {"metadata": {"name": "web"}, "spec": spec}, namespace="default")


def _replicas(side: Side) -> int:
    return int(side.registry.get("deployments", "web", "default")["spec"]["replicas"])


def _status(side: Side) -> Object:
    status: Object = side.registry.get("horizontalpodautoscalers", "web", "default")["status"]
    return status


def _condition(side: Side, kind: str) -> tuple[str, str]:
    condition = next(each for each in _status(side)["conditions"] if each["type"] == kind)
    return condition["status"], condition["reason"]


async def _running(side: Side, count: int) -> None:
    def done() -> bool:
        return sum(pod.get("status", {}).get("phase") == "Running" for pod in side.pods("app=web")) == count

    await side.until(done)


def _use(side: Side, cpu: str) -> None:
    for pod in side.pods("app=web"):
        name = pod["metadata"]["name"]
        side.registry.mutate("pods", name, "default", lambda obj: obj["metadata"].update(annotations={USE_CPU: cpu}))


def _quick(story: Callable[[Side], Coroutine[Any, Any, None]]) -> None:
    """With a round every 50 ms."""

    async def quicker(side: Side) -> None:
        autoscalers = next(part for part in side.parts if isinstance(part, Autoscalers))
        autoscalers.period = 0.05
        await story(side)

    scenario(quicker, hollow=True)


def test_it_scales_up_and_down_again() -> None:
    async def story(side: Side) -> None:
        _deployment(side, 2, **{USE_CPU: "1"})
        await _running(side, 2)
        at_once = {"policies": [{"type": "Pods", "value": 50, "periodSeconds": 1}]}
        _autoscale(side, CPU, behavior={"scaleUp": at_once, "scaleDown": {"stabilizationWindowSeconds": 0}})
        await side.until(lambda: _replicas(side) >= 4)
        # New pods use as much: it goes on, in steps, to the maximum.
        await side.until(lambda: _replicas(side) == 10)
        await side.until(lambda: _condition(side, "ScalingLimited") == ("True", "TooManyReplicas"))
        assert _condition(side, "ScalingActive") == ("True", "ValidMetricFound")
        rescales = [each["message"] for each in side.events("web") if each["reason"] == "SuccessfulRescale"]
        assert "New size: 4; reason: cpu resource utilization (percentage of request) above target" in rescales
        assert side.registry.get("deployments", "web", "default")["metadata"]["managedFields"][-1]["manager"] == (
            "kube-controller-manager"
        )
        await _running(side, 10)
        _use(side, "50m")
        await side.until(lambda: _replicas(side) == 1)
        await side.until(lambda: _condition(side, "ScalingLimited") == ("False", "DesiredWithinRange"))
        messages = [each["message"] for each in side.events("web") if each["reason"] == "SuccessfulRescale"]
        assert "New size: 1; reason: All metrics below target" in messages

    _quick(story)


def test_nothing_goes_down_at_once() -> None:
    """The replicas that an autoscaler finds are its first recommendation (recordInitialRecommendation): so the way down
    begins 300 s later, after a restart of the controller as well."""

    async def story(side: Side) -> None:
        _deployment(side, 4, **{USE_CPU: "50m"})
        await _running(side, 4)
        _autoscale(side, CPU)
        await side.until(lambda: _condition(side, "AbleToScale") == ("True", "ScaleDownStabilized"))
        assert _replicas(side) == 4
        assert "SuccessfulRescale" not in side.reasons("web")

    _quick(story)


def test_status_and_columns() -> None:
    async def story(side: Side) -> None:
        _deployment(side, 2, **{USE_CPU: "500m", USE_MEMORY: "256Mi"})
        await _running(side, 2)
        memory = {"name": "memory", "target": {"type": "AverageValue", "averageValue": "300Mi"}}
        _autoscale(side, CPU, {"type": "Resource", "resource": memory}, least=2)
        await side.until(lambda: len(_status(side).get("currentMetrics") or ()) == 2)
        assert _status(side)["currentMetrics"] == [
            {
                "type": "Resource",
                "resource": {"name": "cpu", "current": {"averageUtilization": 50, "averageValue": "500m"}},
            },
            {"type": "Resource", "resource": {"name": "memory", "current": {"averageValue": str(256 * 1024**2)}}},
        ]
        assert (_status(side)["currentReplicas"], _status(side)["desiredReplicas"]) == (2, 2)
        assert _condition(side, "AbleToScale") == ("True", "ReadyForNewScale")
        autoscaler = side.registry.get("horizontalpodautoscalers", "web", "default")
        shown = table(BY_PLURAL["horizontalpodautoscalers"], [autoscaler], {})
        assert [each["name"] for each in shown["columnDefinitions"]] == [
            *("Name", "Reference", "Targets", "MinPods", "MaxPods", "Replicas", "Age")
        ]
        assert shown["rows"][0]["cells"][:6] == [
            "web",
            "Deployment/web",
            "cpu: 50%/50%, memory: 268435456/300Mi",
            "2",
            10,
            2,
        ]

    _quick(story)


@pytest.mark.parametrize(
    ("most", "least", "replicas", "reason"),
    [
        (2, 1, 2, "New size: 2; reason: Current number of replicas above Spec.MaxReplicas"),
        (9, 6, 6, "New size: 6; reason: Current number of replicas below Spec.MinReplicas"),
    ],
)
def test_bounds_hold_whatever_the_metrics_say(most: int, least: int, replicas: int, reason: str) -> None:
    async def story(side: Side) -> None:
        _deployment(side, 4, **{USE_CPU: "500m"})
        _autoscale(side, CPU, least=least, most=most)
        await side.until(lambda: _replicas(side) == replicas)
        await side.until(lambda: reason in [each["message"] for each in side.events("web")])

    _quick(story)


def test_what_cannot_be_reckoned_is_said_and_scales_nothing() -> None:
    async def story(side: Side) -> None:
        _autoscale(side, CPU)
        await side.until(lambda: _condition(side, "AbleToScale") == ("False", "FailedGetScale"))
        _deployment(side, 2)
        # A pod without a request: "CPU utilization for the Pod will not be defined" and no action is taken.
        side.registry.mutate(
            "deployments",
            "web",
            "default",
            lambda obj: obj["spec"]["template"]["spec"]["containers"][0].update(resources={}),
        )
        await side.until(lambda: _condition(side, "ScalingActive") == ("False", "FailedGetResourceMetric"))
        await side.until(lambda: "missing request for cpu in container main" in _message(side, "ScalingActive"))
        assert "FailedComputeMetricsReplicas" in side.reasons("web")
        assert _replicas(side) == 2

    _quick(story)


def _message(side: Side, kind: str) -> str:
    return str(next(each["message"] for each in _status(side)["conditions"] if each["type"] == kind))


def test_zero_replicas_switch_it_off() -> None:
    """Implicit maintenance-mode deactivation: replicas 0 and minReplicas above 0 stop the adjusting."""

    async def story(side: Side) -> None:
        _deployment(side, 0)
        _autoscale(side, CPU)
        await side.until(lambda: _condition(side, "ScalingActive") == ("False", "ScalingDisabled"))
        assert _replicas(side) == 0

    _quick(story)

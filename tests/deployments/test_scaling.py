"""The policy of an autoscaler: what may be asked for, and the object that is made of it."""

from typing import Any

import pytest

from apps.core.errors import Invalid
from apps.deployments.manifests import Identity
from apps.deployments.scaling.manifest import asked_for, autoscaler
from apps.deployments.scaling.policy import parse_autoscaling, stored_policy
from apps.deployments.scaling.telling import told

APP = Identity("demo", "digits", "flotilla-demo")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"max": 4}, {"min": 1, "max": 4, "cpu_percent": 80, "scale_down_stabilization_seconds": 300}),
        (
            {"min": 2, "max": 2, "memory_percent": 70, "scale_down_stabilization_seconds": 0},
            {"min": 2, "max": 2, "memory_percent": 70, "scale_down_stabilization_seconds": 0},
        ),
        (
            {"min": None, "max": 9, "cpu_percent": 50, "requests_per_replica": 20},
            {
                "min": 1, "max": 9, "cpu_percent": 50, "requests_per_replica": 20,
                "requests_metric": "http_requests_per_second", "scale_down_stabilization_seconds": 300,
            },
        ),
        (
            {"max": 9, "requests_per_replica": 5, "requests_metric": "rps"},
            {
                "min": 1, "max": 9, "requests_per_replica": 5, "requests_metric": "rps",
                "scale_down_stabilization_seconds": 300,
            },
        ),
    ],
)  # fmt: skip
def test_a_policy_says_what_is_scaled_by(asked: dict[str, Any], said: dict[str, Any]) -> None:
    policy = parse_autoscaling(asked)
    assert policy.to_json() == said
    assert parse_autoscaling(policy.to_json()) == policy
    assert policy.needs == (("Custom metrics",) if "requests_per_replica" in said else ())


@pytest.mark.parametrize(
    ("asked", "field", "words"),
    [
        ([], "autoscaling", "is an object"),
        ({}, "autoscaling.max", "How many replicas at most?"),
        ({"max": 0}, "autoscaling.max", "from 1 to 1000"),
        ({"max": 1001}, "autoscaling.max", "from 1 to 1000"),
        ({"max": "4"}, "autoscaling.max", "whole number"),
        ({"min": 0, "max": 4}, "autoscaling.min", "can't scale to zero"),
        ({"min": 5, "max": 4}, "autoscaling.max", "max is 4, and autoscaling.min is 5"),
        ({"max": 4, "cpu_percent": 0}, "autoscaling.cpu_percent", "from 1 to 100"),
        ({"max": 4, "memory_percent": 101}, "autoscaling.memory_percent", "from 1 to 100"),
        ({"max": 4, "requests_per_replica": 0}, "autoscaling.requests_per_replica", "whole number"),
        ({"max": 4, "requests_metric": "a b"}, "autoscaling.requests_metric", "no name of a metric"),
        ({"max": 4, "scale_down_stabilization_seconds": 3601},
         "autoscaling.scale_down_stabilization_seconds", "from 0 to 3600"),
        ({"max": 4, "replicas": 3}, "autoscaling.replicas", "nothing that Flotilla knows"),
    ],
)  # fmt: skip
def test_a_policy_that_can_t_be_is_refused_with_its_field(asked: Any, field: str, words: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_autoscaling(asked)
    assert refused.value.field == field
    assert words in refused.value.sentence


def test_no_policy_is_none() -> None:
    assert stored_policy({}) is None and stored_policy(None) is None


def test_the_autoscaler_of_a_revision() -> None:
    policy = parse_autoscaling({"min": 2, "max": 8, "cpu_percent": 70, "memory_percent": 80})
    assert autoscaler(APP, 3, policy, policy.bounds, holds=False) == {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "digits", "namespace": "flotilla-demo", "labels": APP.labels()},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "digits-r3"},
            "minReplicas": 2,
            "maxReplicas": 8,
            "metrics": [
                {"type": "Resource", "resource": {
                    "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}},
                {"type": "Resource", "resource": {
                    "name": "memory", "target": {"type": "Utilization", "averageUtilization": 80}}},
            ],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 300}},
        },
    }  # fmt: skip


def test_while_it_holds_it_takes_nothing_away_and_scales_by_requests_where_asked() -> None:
    policy = parse_autoscaling({"min": 2, "max": 8, "requests_per_replica": 20, "requests_metric": "rps"})
    spec = autoscaler(APP, 4, policy, policy.bounds, holds=True)["spec"]
    assert (spec["minReplicas"], spec["behavior"]) == (1, {"scaleDown": {"selectPolicy": "Disabled"}})
    assert spec["metrics"] == [
        {"type": "Pods", "pods": {"metric": {"name": "rps"}, "target": {"type": "AverageValue", "averageValue": "20"}}}
    ]


def test_another_digest_is_asked_for_wherever_the_object_differs() -> None:
    policy, other = parse_autoscaling({"max": 8}), parse_autoscaling({"max": 9})
    asked = [
        asked_for(APP, revision, each, each.bounds, holds=holds)
        for revision in (1, 2) for each in (policy, other) for holds in (False, True)
    ]  # fmt: skip
    assert len(set(asked)) == len(asked)


def status(
    current: int, desired: int, cpu: str = "", *, limited: str = "", able: str = "ReadyForNewScale", **more: Any
) -> dict[str, Any]:
    """As the watcher stores an autoscaler from 1 to 8 for a CPU of 70 %."""
    conditions = [
        {"type": "AbleToScale", "status": "True", "reason": able, "message": ""},
        {"type": "ScalingActive", "status": "True", "reason": "ValidMetricFound", "message": ""},
        {"type": "ScalingLimited", "status": str(bool(limited)), "reason": limited, "message": ""},
    ]
    metrics = [{"name": "cpu", "target": "70%", "current": cpu}]
    return {
        "min": 1, "max": 8, "current": current, "desired": desired, "metrics": metrics, "conditions": conditions
    } | more  # fmt: skip


def failing(kind: str, reason: str, message: str) -> dict[str, Any]:
    return status(2, 0, conditions=[{"type": kind, "status": "False", "reason": reason, "message": message}])


@pytest.mark.parametrize(
    ("said", "state", "desired", "why"),
    [
        (status(3, 4, "82%"), "Progressing", 4, "CPU 82 % of 70 %: scaling up to 4."),
        (status(4, 2, "20%"), "Progressing", 2, "CPU 20 % of 70 %: scaling down to 2."),
        (status(3, 3, "68%"), "Healthy", 3, "CPU 68 % of 70 %: 3 are right."),
        (status(1, 1, "68%"), "Healthy", 1, "CPU 68 % of 70 %: 1 is right."),
        (status(8, 8, "160%", limited="TooManyReplicas"), "Warning", 8,
         "CPU 160 % of 70 %: at its maximum of 8, and more are wanted."),
        (status(1, 1, "2%", limited="TooFewReplicas"), "Healthy", 1, "CPU 2 % of 70 %: at its minimum of 1."),
        (status(1, 1, "2%", able="ScaleDownStabilized"), "Healthy", 1, "CPU 2 % of 70 %: at its minimum of 1."),
        (status(4, 4, "9%", able="ScaleDownStabilized"), "Healthy", 4,
         "CPU 9 % of 70 %: fewer are enough, and replicas go when that has lasted for 5 min."),
        (status(3, 3), "Healthy", 3, "3 are right."),
        (status(3, 4, metrics=[
            {"name": "cpu", "target": "70%", "current": "35%"},
            {"name": "rps", "target": "10", "current": "12500m"},
            {"name": "gone", "target": "", "current": "odd"},
        ]), "Progressing", 4, "rps 12.5 of 10: scaling up to 4."),
        (None, "Progressing", None, "Its autoscaler is not seen on the cluster yet."),
        ({"min": 1, "max": 8}, "Progressing", None, "It has not looked at its metrics yet."),
        (failing("AbleToScale", "FailedGetScale", "the HPA controller was unable to get the target's current scale: "
                 'deployments.apps "digits-r3" not found'),
         "Degraded", 0, 'It can\'t scale: deployments.apps "digits-r3" not found.'),
        (failing("ScalingActive", "ScalingDisabled", "zero"), "Suspended", 0, "There is no replica to measure"),
        (failing("ScalingActive", "FailedGetPodsMetric", "x"), "Degraded", None,
         "No metrics: the cluster does not know http_requests_per_second of these replicas."),
        (failing("ScalingActive", "FailedGetResourceMetric",
                 "the HPA was unable to compute the replica count: no metrics returned"),
         "Degraded", None, "No metrics yet: no metrics returned. They come within a minute or so"),
    ],
)  # fmt: skip
def test_the_autoscaler_says_how_many_and_why(
    said: dict[str, Any] | None, state: str, desired: int | None, why: str
) -> None:
    words = told(said, parse_autoscaling({"max": 8}), has_metrics=True, rolls=False)
    assert (words.state, words.desired) == (state, desired)
    assert words.why.startswith(why)


def test_without_a_metrics_server_the_next_step_is_named_and_a_rollout_only_adds() -> None:
    policy = parse_autoscaling({"max": 8})
    bare = told(failing("ScalingActive", "FailedGetResourceMetric", "x"), policy, has_metrics=False, rolls=False)
    assert bare.why == "No metrics: the cluster has no metrics-server. Install one; nothing is scaled until then."
    rolling = told(status(3, 3, "9%"), policy, has_metrics=True, rolls=True)
    assert rolling.why == "CPU 9 % of 70 %: 3 are right. It only adds while the rollout is under way."
    for least, does in ((3, "at its minimum of 3"), (2, "fewer are enough")):
        policy = parse_autoscaling({"min": least, "max": 8})
        idle = told(status(3, 3, "9%", able="ScaleDownStabilized"), policy, has_metrics=True, rolls=True)
        assert idle.why == f"CPU 9 % of 70 %: {does}. It only adds while the rollout is under way."

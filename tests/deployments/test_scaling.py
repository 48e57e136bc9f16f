"""The policy of an autoscaler: what may be asked for, and the object that is made of it."""

from typing import Any

import pytest

from apps.core.errors import Invalid
from apps.deployments.manifests import Identity
from apps.deployments.scaling.manifest import asked_for, autoscaler
from apps.deployments.scaling.policy import parse_autoscaling, stored_policy

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

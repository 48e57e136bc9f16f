"""What the API server refuses of nodes, affinities, budgets and autoscalers, so that no controller stumbles over it.

The words are compared with pkg/apis/{core,policy,autoscaling}/validation of Kubernetes.
"""

from typing import Any

import pytest

from tests.localcluster.served import Served, pod

Object = dict[str, Any]
NODES = "/api/v1/nodes"
PODS = "/api/v1/namespaces/default/pods"
BUDGETS = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
SCALERS = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"


def _refused(api: Served, path: str, obj: Object) -> dict[str, str]:
    reply = api.post(path, obj)
    assert reply.status == 422, reply.body
    return {each["field"]: each["message"] for each in reply.json["details"]["causes"]}


def _affine(expression: Object) -> Object:
    made = pod("a")
    terms = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    made["spec"]["affinity"] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
    return made


@pytest.mark.parametrize(
    ("expression", "field", "said"),
    [
        ({"key": "a"}, "operator", 'Invalid value: "": not a valid selector operator'),
        ({"key": "a", "operator": "In"}, "values", "must be specified when `operator` is 'In' or 'NotIn'"),
        ({"key": "a", "operator": "Gt", "values": []}, "values", "single value when `operator` is 'Lt' or 'Gt'"),
        ({"key": "a", "operator": "Exists", "values": ["b"]}, "values", "may not be specified when"),
        ({"operator": "Exists"}, "key", "Required value"),
    ],
)
def test_affinities(api: Served, expression: Object, field: str, said: str) -> None:
    at = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0]"
    assert said in _refused(api, PODS, _affine(expression))[f"{at}.matchExpressions[0].{field}"]


def test_nodes(api: Served) -> None:
    taints = [{"effect": "NoSchedule"}, {"key": "a", "effect": "Never"}, {"key": "b", "effect": "NoExecute"}]
    taints[2]["timeAdded"] = "lately"
    status = {"allocatable": {"cpu": "much"}}
    refusals = _refused(api, NODES, {"metadata": {"name": "n"}, "spec": {"taints": taints}, "status": status})
    assert refusals.keys() == {
        *("spec.taints[0].key", "spec.taints[1].effect", "spec.taints[2].timeAdded", "status.allocatable[cpu]")
    }
    assert api.post(NODES, {"metadata": {"name": "n"}}).status == 201


@pytest.mark.parametrize(
    ("spec", "field", "said"),
    [
        ({"minAvailable": 1, "maxUnavailable": 1}, "spec", "minAvailable and maxUnavailable cannot be both set"),
        ({"minAvailable": "half"}, "spec.minAvailable", "a valid percent string must be a numeric string"),
        ({"maxUnavailable": "101%"}, "spec.maxUnavailable", "must not be greater than 100%"),
        ({"maxUnavailable": -1}, "spec.maxUnavailable", "must be greater than or equal to 0"),
        ({"unhealthyPodEvictionPolicy": "Maybe"}, "spec.unhealthyPodEvictionPolicy", '"AlwaysAllow"'),
        (
            {"selector": {"matchExpressions": [{"key": "a", "operator": "Like"}]}},
            "spec.selector.matchExpressions[0].operator",
            "not a valid selector operator",
        ),
    ],
)
def test_budgets(api: Served, spec: Object, field: str, said: str) -> None:
    assert said in _refused(api, BUDGETS, {"metadata": {"name": "b"}, "spec": spec})[field]


def test_a_budget_that_says_nothing(api: Served) -> None:
    assert api.post(BUDGETS, {"metadata": {"name": "b"}}).status == 201


def _scaler(**spec: Any) -> Object:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    return {"metadata": {"name": "h"}, "spec": {"maxReplicas": 3, "scaleTargetRef": target, **spec}}


def _of_cpu(**target: Any) -> list[Object]:
    return [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", **target}}}]


@pytest.mark.parametrize(
    ("spec", "field", "said"),
    [
        ({"scaleTargetRef": None}, "scaleTargetRef.kind", "Required value"),
        ({"maxReplicas": 0}, "maxReplicas", "must be greater than 0"),
        ({"minReplicas": 5}, "maxReplicas", "must be greater than or equal to `minReplicas`"),
        ({"minReplicas": 0}, "minReplicas", "must be greater than or equal to 1"),
        (
            {"metrics": _of_cpu()},
            "metrics[0].resource.target.averageUtilization",
            "must set either a target raw value or a target utilization",
        ),
        (
            {"metrics": _of_cpu(averageUtilization=0)},
            "metrics[0].resource.target.averageUtilization",
            "must be greater than 0",
        ),
        ({"metrics": [{"type": "Resource"}]}, "metrics[0].resource", "must populate information for the given metric"),
        ({"metrics": [{"type": "Magic"}]}, "metrics[0].type", "Unsupported value"),
        (
            {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 3601}}},
            "behavior.scaleDown.stabilizationWindowSeconds",
            "3600",
        ),
        ({"behavior": {"scaleUp": {"policies": []}}}, "behavior.scaleUp.policies", "must specify at least one Policy"),
        (
            {"behavior": {"scaleUp": {"policies": [{"type": "Pods", "value": 0, "periodSeconds": 15}]}}},
            "behavior.scaleUp.policies[0].value",
            "must be greater than zero",
        ),
        (
            {"behavior": {"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 1801}]}}},
            "behavior.scaleUp.policies[0].periodSeconds",
            "1800",
        ),
    ],
)
def test_autoscalers(api: Served, spec: Object, field: str, said: str) -> None:
    assert said in _refused(api, SCALERS, _scaler(**spec))[f"spec.{field}"]


def test_an_autoscaler_as_most_are(api: Served) -> None:
    reply = api.post(SCALERS, _scaler(metrics=_of_cpu(averageUtilization=50)))
    assert reply.status == 201, reply.body

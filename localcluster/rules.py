"""The API server's rules on kinds that decide where pods go, how many there are and which may go: nodes, priorities,
budgets, autoscalers. Pure.

The words are those of pkg/apis/*/validation in Kubernetes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from localcluster.causes import Cause, amounts, not_allowed, quantity, required, share, unsupported, wrong
from localcluster.meta import parse_time
from localcluster.policyrules import selector

Obj = dict[str, Any]

_LONGEST_WINDOW, _LONGEST_PERIOD = 3600, 1800  # seconds
_SOURCES = {
    "ContainerResource": "containerResource",
    "External": "external",
    "Object": "object",
    "Pods": "pods",
    "Resource": "resource",
}


ACCESS_MODES = ("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod")


def _one_of(field: str, value: Any, known: tuple[str, ...]) -> Iterator[Cause]:
    if not value:
        yield required(field)
    elif value not in known:
        yield unsupported(field, value, known)


def placement(spec: Obj, field: str) -> Iterator[Cause]:
    """Rules on the fields of a PodSpec that decide where the pod goes."""
    yield from amounts(spec.get("overhead"), f"{field}.overhead")
    at = f"{field}.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    node_selector = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if node_selector is None:
        return
    if not node_selector.get("nodeSelectorTerms"):
        yield required(f"{at}.nodeSelectorTerms", "must have at least one node selector term")
    for number, term in enumerate(node_selector.get("nodeSelectorTerms") or ()):
        for kind in ("matchExpressions", "matchFields"):
            for position, expression in enumerate(term.get(kind) or ()):
                yield from _expression(expression, f"{at}.nodeSelectorTerms[{number}].{kind}[{position}]")


def _expression(expression: Obj, field: str) -> Iterator[Cause]:
    operator, values = expression.get("operator"), expression.get("values") or ()
    if not expression.get("key"):
        yield required(f"{field}.key")
    if operator in ("In", "NotIn"):
        if not values:
            yield required(f"{field}.values", "must be specified when `operator` is 'In' or 'NotIn'")
    elif operator in ("Gt", "Lt"):
        if len(values) != 1:
            yield required(f"{field}.values", "must be specified single value when `operator` is 'Lt' or 'Gt'")
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            yield not_allowed(f"{field}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
    else:
        yield wrong(f"{field}.operator", operator or "", "not a valid selector operator")


def node(obj: Obj) -> Iterator[Cause]:
    """Rules on Nodes."""
    for position, taint in enumerate(obj["spec"].get("taints") or ()):
        at = f"spec.taints[{position}]"
        if not taint.get("key"):
            yield required(f"{at}.key")
        yield from _one_of(f"{at}.effect", taint.get("effect"), ("NoSchedule", "PreferNoSchedule", "NoExecute"))
        try:
            parse_time(taint.get("timeAdded") or "2000-01-01T00:00:00Z")
        except ValueError:
            yield wrong(f"{at}.timeAdded", taint["timeAdded"], "must be a time as in RFC 3339")
    for kind in ("capacity", "allocatable"):
        yield from amounts((obj.get("status") or {}).get(kind), f"status.{kind}")


def budget(obj: Obj) -> Iterator[Cause]:
    """Rules on PodDisruptionBudgets."""
    spec = obj["spec"]
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        yield wrong("spec", "", "minAvailable and maxUnavailable cannot be both set")
    for name in ("minAvailable", "maxUnavailable"):
        yield from share(spec.get(name), f"spec.{name}", up_to_all=True)
    if policy := spec.get("unhealthyPodEvictionPolicy"):
        yield from _one_of("spec.unhealthyPodEvictionPolicy", policy, ("AlwaysAllow", "IfHealthyBudget"))
    yield from selector(spec.get("selector"), "spec.selector")


def claim(obj: Obj) -> Iterator[Cause]:
    """Rules on PersistentVolumeClaims."""
    modes = obj["spec"].get("accessModes") or ()
    if not modes:
        yield required("spec.accessModes", "at least 1 access mode is required")
    for position, mode in enumerate(modes):
        yield from _one_of(f"spec.accessModes[{position}]", mode, ACCESS_MODES)
    if not ((obj["spec"].get("resources") or {}).get("requests") or {}).get("storage"):
        yield required("spec.resources[storage]")


def autoscaler(obj: Obj) -> Iterator[Cause]:
    """Rules on HorizontalPodAutoscalers."""
    spec = obj["spec"]
    target = spec.get("scaleTargetRef") or {}
    for name in ("kind", "name"):
        if not target.get(name):
            yield required(f"spec.scaleTargetRef.{name}")
    least, most = spec.get("minReplicas"), spec.get("maxReplicas") or 0
    least = 1 if least is None else least
    if least < 1:
        yield wrong("spec.minReplicas", least, "must be greater than or equal to 1")
    if most < 1:
        yield wrong("spec.maxReplicas", most, "must be greater than 0")
    elif most < least:
        yield wrong("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`")
    for position, metric in enumerate(spec["metrics"]):
        yield from _metric(metric, f"spec.metrics[{position}]")
    for way in ("scaleUp", "scaleDown"):
        yield from _way(((spec.get("behavior") or {}).get(way)) or {}, f"spec.behavior.{way}")


def _metric(metric: Obj, field: str) -> Iterator[Cause]:
    kind = metric.get("type") or ""
    yield from _one_of(f"{field}.type", kind, tuple(_SOURCES))
    at, source = f"{field}.{_SOURCES.get(kind, '')}", metric.get(_SOURCES.get(kind, ""))
    if kind not in _SOURCES:
        return
    if not source:
        yield required(at, "must populate information for the given metric source")
        return
    if kind not in ("Resource", "ContainerResource"):
        return  # there are no such metrics here, which the autoscaler's status tells
    if not source.get("name"):
        yield required(f"{at}.name", "must specify a resource name")
    if kind == "ContainerResource" and not source.get("container"):
        yield required(f"{at}.container", "must specify a container")
    target = source.get("target") or {}
    yield from _one_of(f"{at}.target.type", target.get("type"), ("Utilization", "Value", "AverageValue"))
    utilization, average = target.get("averageUtilization"), target.get("averageValue")
    if utilization is None and average is None:
        yield required(f"{at}.target.averageUtilization", "must set either a target raw value or a target utilization")
    elif utilization is not None and average is not None:
        why = "may not set both a target raw value and a target utilization"
        yield not_allowed(f"{at}.target.averageValue", why)
    elif utilization is not None and utilization < 1:
        yield wrong(f"{at}.target.averageUtilization", utilization, "must be greater than 0")
    elif average is not None:
        yield from quantity(average, f"{at}.target.averageValue")


def _way(rules: Obj, field: str) -> Iterator[Cause]:
    """One direction of `spec.behavior`."""
    window, policies = rules.get("stabilizationWindowSeconds"), rules.get("policies")
    if window is not None and not 0 <= window <= _LONGEST_WINDOW:
        why = f"must be between 0 and {_LONGEST_WINDOW}"
        yield wrong(f"{field}.stabilizationWindowSeconds", window, why)
    if policies is not None and not policies:
        yield required(f"{field}.policies", "must specify at least one Policy")
    if selected := rules.get("selectPolicy"):
        yield from _one_of(f"{field}.selectPolicy", selected, ("Disabled", "Max", "Min"))
    if rules.get("tolerance") is not None:
        yield from quantity(rules["tolerance"], f"{field}.tolerance")
    for position, policy in enumerate(policies or ()):
        at = f"{field}.policies[{position}]"
        yield from _one_of(f"{at}.type", policy.get("type"), ("Percent", "Pods"))
        if (policy.get("value") or 0) < 1:
            yield wrong(f"{at}.value", policy.get("value") or 0, "must be greater than zero")
        if not 0 < (policy.get("periodSeconds") or 0) <= _LONGEST_PERIOD:
            period = policy.get("periodSeconds") or 0
            yield wrong(f"{at}.periodSeconds", period, f"must be between 1 and {_LONGEST_PERIOD}")

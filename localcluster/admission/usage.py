"""The amounts that one object counts for in quotas, and the choice of the quotas that it falls under. Pure.

https://kubernetes.io/docs/concepts/policy/resource-quotas/
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from functools import partial
from typing import Any

from kubevalues.quantities import parse
from localcluster.fit import together
from localcluster.strategies import qos_class

Obj = dict[str, Any]
Amounts = dict[str, Decimal]

_ONE = Decimal(1)
#: Kinds that have a name of their own in quotas, besides ``count/<resource>``.
_COUNTED = frozenset({"configmaps", "secrets", "services", "resourcequotas"})
#: The resources that a pod must state when a quota limits them.
_STATED = ("cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory")


def counter_of(key: str, plural: str, group: str) -> str:
    """``count/deployments.apps`` and the like."""
    return f"count/{plural}.{group}" if group else f"count/{key}"


def usage_of(key: str, plural: str, group: str, obj: Obj) -> Amounts:
    """The amounts that an object uses up, by the names that quotas have for them."""
    used: Amounts = {counter_of(key, plural, group): _ONE}
    if key == "pods":
        used.update(_of_pod(obj))
    elif key in _COUNTED:
        used[key] = _ONE
        if key == "services":
            type_ = obj["spec"].get("type")
            ports = Decimal(len(obj["spec"].get("ports") or ()))
            if type_ == "LoadBalancer":
                used["services.loadbalancers"] = _ONE
            if type_ in ("LoadBalancer", "NodePort"):
                used["services.nodeports"] = ports
    return used


def _of_pod(pod: Obj) -> Amounts:
    if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return {}  # a finished pod holds nothing any more
    used: Amounts = {"pods": _ONE}
    for field in ("requests", "limits"):
        for name, value in together(pod["spec"], partial(_stated, field=field)).items():
            used[f"{field}.{name}"] = value
            if field == "requests":
                used[name] = value
    return used


def _stated(container: Mapping[str, Any], field: str) -> Amounts:
    return {name: parse(value) for name, value in ((container.get("resources") or {}).get(field) or {}).items()}


def missing_of(pod: Obj, hard: Obj) -> str:
    """The resources that a quota requires the containers to state and that they lack, as a message; '' when none."""
    missing = []
    for name in sorted(set(hard).intersection(_STATED)):
        field, _, resource = name.rpartition(".")
        lacking = [
            container.get("name", "")
            for container in (*(pod["spec"].get("containers") or ()), *(pod["spec"].get("initContainers") or ()))
            if resource not in ((container.get("resources") or {}).get(field or "requests") or {})
        ]
        if lacking:
            missing.append(f"{name} for: {','.join(lacking)}")
    return f"must specify {'; '.join(missing)}" if missing else ""


def in_scope(quota: Obj, key: str, obj: Obj) -> bool:
    """Does a quota with scopes concern the object? Only pods have any.

    https://kubernetes.io/docs/concepts/policy/resource-quotas/#quota-scopes
    """
    spec = quota.get("spec") or {}
    scopes = [{"scopeName": name, "operator": "Exists"} for name in spec.get("scopes") or ()]
    scopes += (spec.get("scopeSelector") or {}).get("matchExpressions") or ()
    if not scopes:
        return True
    return key == "pods" and all(_has_scope(obj["spec"], each) for each in scopes)


def _has_scope(spec: Obj, requirement: Obj) -> bool:
    scope = requirement.get("scopeName")
    if scope in ("Terminating", "NotTerminating"):
        limited = spec.get("activeDeadlineSeconds") is not None
        return limited is (scope == "Terminating")
    if scope in ("BestEffort", "NotBestEffort"):
        effort = qos_class(spec) == "BestEffort"
        return effort is (scope == "BestEffort")
    if scope != "PriorityClass":
        return False
    name, values = spec.get("priorityClassName"), requirement.get("values") or ()
    match requirement.get("operator"):
        case "In":
            return name in values
        case "NotIn":
            return name not in values
        case "DoesNotExist":
            return not name
    return bool(name)

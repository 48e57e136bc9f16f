"""The API server's rules on quotas, limit ranges, roles and bindings, whose breach is a 422. Pure.

An object that a real server could not read must not be stored: each later request, or the next start, would fail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from localcluster.causes import Cause, amounts, required, unsupported, wrong

Obj = dict[str, Any]

_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")


def selector(label_selector: Any, field: str) -> Iterator[Cause]:
    """https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#resources-that-support-set-based-requirements"""
    for position, expression in enumerate((label_selector or {}).get("matchExpressions") or ()):
        at, operator = f"{field}.matchExpressions[{position}]", expression.get("operator")
        if not expression.get("key"):
            yield required(f"{at}.key")
        if operator not in _OPERATORS:
            yield wrong(f"{at}.operator", operator or "", "not a valid selector operator")
        elif operator in ("In", "NotIn") and not expression.get("values"):
            yield required(f"{at}.values", "must be specified when `operator` is 'In' or 'NotIn'")


def _quota(quota: Obj) -> Iterator[Cause]:
    yield from amounts((quota.get("spec") or {}).get("hard"), "spec.hard")


def _limit_range(limit_range: Obj) -> Iterator[Cause]:
    for position, item in enumerate((limit_range.get("spec") or {}).get("limits") or ()):
        if not item.get("type"):
            yield required(f"spec.limits[{position}].type")
        for field in ("min", "max", "default", "defaultRequest", "maxLimitRequestRatio"):
            yield from amounts(item.get(field), f"spec.limits[{position}].{field}")


def _rules(role: Obj, *, cluster: bool) -> Iterator[Cause]:
    """https://kubernetes.io/docs/reference/access-authn-authz/rbac/#role-and-clusterrole"""
    for position, rule in enumerate(role.get("rules") or ()):
        at, urls = f"rules[{position}]", rule.get("nonResourceURLs")
        if not rule.get("verbs"):
            yield required(f"{at}.verbs", "verbs must contain at least one value")
        if urls:
            if not cluster:
                yield wrong(f"{at}.nonResourceURLs", urls, "namespaced rules cannot apply to non-resource URLs")
            if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
                why = "rules cannot apply to both regular resources and non-resource URLs"
                yield wrong(f"{at}.nonResourceURLs", urls, why)
            continue
        if not rule.get("apiGroups"):
            yield required(f"{at}.apiGroups", "resource rules must supply at least one api group")
        if not rule.get("resources"):
            yield required(f"{at}.resources", "resource rules must supply at least one resource")


def _role(role: Obj) -> Iterator[Cause]:
    yield from _rules(role, cluster=False)


def _cluster_role(role: Obj) -> Iterator[Cause]:
    yield from _rules(role, cluster=True)
    for position, label_selector in enumerate((role.get("aggregationRule") or {}).get("clusterRoleSelectors") or ()):
        yield from selector(label_selector, f"aggregationRule.clusterRoleSelectors[{position}]")


def _bound(binding: Obj, kinds: tuple[str, ...]) -> Iterator[Cause]:
    role = binding.get("roleRef") or {}
    if role.get("kind") not in kinds:
        yield unsupported("roleRef.kind", role.get("kind") or "", kinds)
    if not role.get("name"):
        yield required("roleRef.name")
    for position, subject in enumerate(binding.get("subjects") or ()):
        known = ("ServiceAccount", "User", "Group")
        if subject.get("kind") not in known:
            yield unsupported(f"subjects[{position}].kind", subject.get("kind") or "", known)
        if not subject.get("name"):
            yield required(f"subjects[{position}].name")


def _binding(binding: Obj) -> Iterator[Cause]:
    yield from _bound(binding, ("Role", "ClusterRole"))


def _cluster_binding(binding: Obj) -> Iterator[Cause]:
    yield from _bound(binding, ("ClusterRole",))


RULES: dict[str, Callable[[Obj], Iterator[Cause]]] = {
    "resourcequotas": _quota,
    "limitranges": _limit_range,
    "roles": _role,
    "clusterroles": _cluster_role,
    "rolebindings": _binding,
    "clusterrolebindings": _cluster_binding,
}

"""LimitRange: defaults, minimum, maximum and ratio of what containers and pods ask for. Pure.

https://kubernetes.io/docs/concepts/policy/limit-range/
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from kubevalues.quantities import canonical, parse

Obj = dict[str, Any]

_ANNOTATION = "kubernetes.io/limit-ranger"


def complete(limit_range: Obj) -> None:
    """The defaults of a LimitRange itself, in place: limits from the maximum, requests from limits or the minimum."""
    for item in (limit_range.get("spec") or {}).get("limits") or ():
        if item.get("type") != "Container":
            continue
        default = {**(item.get("max") or {}), **(item.get("default") or {})}
        request = {**(item.get("min") or {}), **default, **(item.get("defaultRequest") or {})}
        if default:
            item["default"] = default
        if request:
            item["defaultRequest"] = request


def _items(limit_range: Obj, type_: str) -> list[Obj]:
    return [each for each in (limit_range.get("spec") or {}).get("limits") or () if each.get("type") == type_]


def _containers(pod: Obj) -> Iterator[tuple[str, Obj]]:
    for field, word in (("containers", "container"), ("initContainers", "init container")):
        for container in pod["spec"].get(field) or ():
            yield word, container


def fill_defaults(pod: Obj, limit_range: Obj) -> None:
    """Give containers the requests and limits that they don't state, in place; an annotation names them."""
    changes = []
    for item in _items(limit_range, "Container"):
        for word, container in _containers(pod):
            resources = container["resources"] = dict(container.get("resources") or {})
            for field, source in (("requests", "defaultRequest"), ("limits", "default")):
                have = resources.get(field) or {}
                added = {name: value for name, value in (item.get(source) or {}).items() if name not in have}
                if added:
                    resources[field] = {**have, **added}
                    kind = field.removesuffix("s")
                    changes.append(f"{', '.join(sorted(added))} {kind} for {word} {container.get('name')}")
    if changes:
        metadata = pod["metadata"]
        before = (metadata.get("annotations") or {}).get(_ANNOTATION)
        annotation = f"LimitRanger plugin set: {'; '.join(changes)}"
        metadata["annotations"] = {**(metadata.get("annotations") or {}), _ANNOTATION: before or annotation}


def violations(pod: Obj, limit_range: Obj) -> Iterator[str]:
    """The ways in which a pod breaks a limit range, in the words of a real API server."""
    for item in _items(limit_range, "Container"):
        for _, container in _containers(pod):
            resources = container.get("resources") or {}
            yield from _broken("Container", item, resources.get("requests") or {}, resources.get("limits") or {})
    for item in _items(limit_range, "Pod"):
        yield from _broken("Pod", item, _sum(pod, "requests"), _sum(pod, "limits"))


def _sum(pod: Obj, field: str) -> Obj:
    """The containers together; a resource that one of them leaves open is open for the pod."""
    amounts = [((each.get("resources") or {}).get(field) or {}) for each in pod["spec"].get("containers") or ()]
    names = set(amounts[0]).intersection(*amounts[1:]) if amounts else set()
    return {name: _text(sum((parse(each[name]) for each in amounts), Decimal(0)), amounts[0][name]) for name in names}


def _text(total: Decimal, like: Any) -> str:
    return canonical(total, like=str(like))


def _broken(type_: str, item: Obj, requests: Obj, limits: Obj) -> Iterator[str]:
    for name, least in (item.get("min") or {}).items():
        rule = f"minimum {name} usage per {type_} is {least}"
        if name not in requests:
            yield f"{rule}.  No request is specified"
        elif parse(requests[name]) < parse(least):
            yield f"{rule}, but request is {requests[name]}"
        elif name in limits and parse(limits[name]) < parse(least):
            yield f"{rule}, but limit is {limits[name]}"
    for name, most in (item.get("max") or {}).items():
        rule = f"maximum {name} usage per {type_} is {most}"
        if name not in limits:
            yield f"{rule}.  No limit is specified"
        elif parse(limits[name]) > parse(most):
            yield f"{rule}, but limit is {limits[name]}"
        elif name in requests and parse(requests[name]) > parse(most):
            yield f"{rule}, but request is {requests[name]}"
    for name, ratio in (item.get("maxLimitRequestRatio") or {}).items():
        rule = f"{name} max limit to request ratio per {type_} is {ratio}"
        if name not in requests or name not in limits or not parse(requests[name]):
            yield f"{rule}, but no request is specified or request is 0"
        elif (quotient := parse(limits[name]) / parse(requests[name])) > parse(ratio):
            yield f"{rule}, but provided ratio is {quotient:.6f}"

"""Label and field selectors.

https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors
https://kubernetes.io/docs/concepts/overview/working-with-objects/field-selectors/
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from localcluster.errors import bad_request
from localcluster.resources import Resource

Labels = Mapping[str, str]
Match = Callable[[Labels], bool]

_KEY = r"[A-Za-z0-9](?:[A-Za-z0-9._/-]*[A-Za-z0-9])?"
_VALUE = r"[A-Za-z0-9._-]*"
_SET = re.compile(rf"({_KEY})\s+(in|notin)\s*\(([^()]*)\)")
_EQUAL = re.compile(rf"({_KEY})\s*(==|=|!=)\s*({_VALUE})")
_EXISTS = re.compile(rf"(!?)\s*({_KEY})")


def _split(text: str) -> list[str]:
    """Split at the commas that are outside parentheses."""
    return [part.strip() for part in re.split(r",(?![^(]*\))", text) if part.strip()]


def _requirement(text: str) -> Match:
    if match := _SET.fullmatch(text):
        key, operator, inner = match.groups()
        values = frozenset(value.strip() for value in inner.split(","))
        if operator == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    if match := _EQUAL.fullmatch(text):
        key, operator, value = match.groups()
        if operator == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if match := _EXISTS.fullmatch(text):
        absent, key = match.groups()
        return (lambda labels: key not in labels) if absent else (lambda labels: key in labels)
    raise bad_request(f"unable to parse requirement: {text!r} is not a label selector")


@lru_cache(maxsize=1024)
def parse_labels(text: str) -> Match:
    """A predicate on labels from ``a=b,c!=d,e in (f,g),h,!i``. Raises StatusError 400."""
    requirements = [_requirement(part) for part in _split(text)]
    if len(requirements) == 1:
        return requirements[0]
    return lambda labels: all(requirement(labels) for requirement in requirements)


def _expression(expression: Mapping[str, Any]) -> Match:
    key, operator = expression["key"], expression["operator"]
    values = frozenset(expression.get("values") or ())
    match operator:
        case "In":
            return lambda labels: labels.get(key) in values
        case "NotIn":
            return lambda labels: labels.get(key) not in values
        case "Exists":
            return lambda labels: key in labels
        case "DoesNotExist":
            return lambda labels: key not in labels
    raise bad_request(f"{operator!r} is not a valid label selector operator")


def label_selector_matches(selector: Mapping[str, Any] | None, labels: Labels | None) -> bool:
    """Does a ``metav1.LabelSelector`` match? None selects nothing, an empty one everything."""
    if selector is None:
        return False
    have = labels or {}
    labels_needed = selector.get("matchLabels") or {}
    return all(have.get(key) == value for key, value in labels_needed.items()) and all(
        _expression(expression)(have) for expression in selector.get("matchExpressions") or ()
    )


def format_label_selector(selector: Mapping[str, Any] | None) -> str:
    """A ``metav1.LabelSelector`` as text, e.g. for ``status.selector`` of a Scale."""
    if selector is None:
        return "<none>"
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for expression in selector.get("matchExpressions") or ():
        key, values = expression["key"], ",".join(sorted(expression.get("values") or ()))
        parts.append(
            {
                "In": f"{key} in ({values})",
                "NotIn": f"{key} notin ({values})",
                "Exists": key,
                "DoesNotExist": f"!{key}",
            }[expression["operator"]]
        )
    return ",".join(parts) or "<none>"


# Fields that can be selected on, beyond metadata.name and metadata.namespace, which every kind has.
_FIELDS: dict[str, tuple[str, ...]] = {
    "pods": (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    ),
    "events": (
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ),
    "nodes": ("spec.unschedulable",),
    "namespaces": ("status.phase",),
    "secrets": ("type",),
    "jobs": ("status.successful",),
    "replicasets": ("status.replicas",),
    "services": ("spec.clusterIP", "spec.type"),
}


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def field_value(obj: Mapping[str, Any], resource: str, field: str) -> str:
    """The text that a field selector compares with; absent is ''."""
    if resource == "events" and field == "source":
        return _text((obj.get("source") or {}).get("component") or obj.get("reportingComponent"))
    if resource == "jobs" and field == "status.successful":
        return _text((obj.get("status") or {}).get("succeeded", 0))
    if field in {"spec.unschedulable", "spec.hostNetwork"}:
        return _text(bool((obj.get("spec") or {}).get(field.removeprefix("spec."))))
    value: Any = obj
    for part in field.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return _text(value)


@lru_cache(maxsize=1024)
def parse_fields(text: str, resource: Resource) -> Callable[[Mapping[str, Any]], bool]:
    """A predicate on objects from ``spec.nodeName=n1,status.phase!=Failed``. Raises StatusError 400."""
    known = ("metadata.name", "metadata.namespace", *_FIELDS.get(resource.key, ()), *resource.selectable)
    requirements: list[tuple[str, bool, str]] = []
    for part in _split(text):
        match = re.fullmatch(r"([^=!]+?)\s*(==|=|!=)\s*(.*)", part)
        if not match:
            raise bad_request(f"invalid field selector {part!r}; can't understand it")
        field, operator, value = match.groups()
        if field not in known:
            raise bad_request(
                f'Unable to find "{resource.api_version}, Resource={resource.plural}" that match '
                f'label selector "", field selector "{text}": field label not supported: {field}'
            )
        requirements.append((field, operator != "!=", value))
    key = resource.key
    return lambda obj: all((field_value(obj, key, field) == value) is equal for field, equal, value in requirements)

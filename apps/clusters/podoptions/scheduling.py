"""The nodes that a pod may go to: node selector, tolerations, affinity, in Kubernetes' own words. Pure.

Rules: pkg/apis/core/validation/validation.go of Kubernetes.
"""

import re
from collections.abc import Mapping
from typing import Any

from apps.clusters.podoptions.checks import choice, items, mapping, text, whole
from apps.core.errors import Invalid
from apps.core.text.names import is_label_key, is_label_value, is_subdomain

Object = Mapping[str, Any]

MOST_LABELS, MOST_TOLERATIONS, MOST_TERMS, MOST_EXPRESSIONS, MOST_VALUES = 50, 50, 20, 20, 100
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
NODE, PODS, NO_PODS = "nodeAffinity", "podAffinity", "podAntiAffinity"
_FOR_NODES = ("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt")
_FOR_PODS = ("In", "NotIn", "Exists", "DoesNotExist")
_YEAR = 366 * 24 * 3600
_KEY, _VALUE = "the name of a label", "the value of a label"


def parse_labels(value: Any, field: str) -> dict[str, str]:
    """Labels with their values: a node selector, or a selector's matchLabels."""
    if value is None:
        return {}
    if not isinstance(value, Mapping) or len(value) > MOST_LABELS:
        raise Invalid(f"{field} is an object of at most {MOST_LABELS} labels and their values.", field=field)
    for key, label in value.items():
        text(key, field, is_label_key, _KEY)
        text(label, f"{field}.{key}", is_label_value, _VALUE)
    return dict(value)


def parse_tolerations(value: Any, field: str) -> tuple[Object, ...]:
    """Tolerations; only what was given is kept."""
    numbered = enumerate(items(value, field, MOST_TOLERATIONS))
    return tuple(_toleration(item, f"{field}[{number}]") for number, item in numbered)


def _toleration(value: Any, field: str) -> Object:
    spec = mapping(value, field, ("key", "operator", "value", "effect", "tolerationSeconds"))
    toleration: dict[str, Any] = {}
    if spec.get("key"):
        toleration["key"] = text(spec["key"], f"{field}.key", is_label_key, "the name of a taint")
    operator = choice(spec.get("operator"), f"{field}.operator", ("Exists", "Equal"))
    if operator:
        toleration["operator"] = operator
    if spec.get("value") not in (None, ""):
        toleration["value"] = text(spec["value"], f"{field}.value", is_label_value, "the value of a taint")
    effect = choice(spec.get("effect"), f"{field}.effect", EFFECTS)
    if effect:
        toleration["effect"] = effect
    if spec.get("tolerationSeconds") is not None:
        toleration["tolerationSeconds"] = whole(spec["tolerationSeconds"], f"{field}.tolerationSeconds", 0, _YEAR)
        if effect != "NoExecute":
            raise Invalid("tolerationSeconds goes with the effect NoExecute alone.", field=f"{field}.tolerationSeconds")
    if "key" not in toleration and operator != "Exists":
        raise Invalid(
            "A toleration without a key tolerates everything: say so by operator Exists.", field=f"{field}.key"
        )
    if operator == "Exists" and "value" in toleration:
        raise Invalid("With operator Exists there is no value.", field=f"{field}.value")
    return toleration


def parse_affinity(value: Any, field: str) -> Object:
    """The whole object, checked to its leaves."""
    if value is None:
        return {}
    spec = mapping(value, field, (NODE, PODS, NO_PODS))
    affinity: dict[str, Any] = {}
    if spec.get(NODE):
        affinity[NODE] = _node_affinity(spec[NODE], f"{field}.{NODE}")
    for kind in (PODS, NO_PODS):
        if spec.get(kind):
            affinity[kind] = _pod_affinity(spec[kind], f"{field}.{kind}")
    return {kind: rules for kind, rules in affinity.items() if rules}


def _node_affinity(value: Any, field: str) -> Object:
    spec = mapping(value, field, (REQUIRED, PREFERRED))
    affinity: dict[str, Any] = {}
    if spec.get(REQUIRED) is not None:
        at = f"{field}.{REQUIRED}"
        terms = mapping(spec[REQUIRED], at, ("nodeSelectorTerms",)).get("nodeSelectorTerms")
        required = [
            _node_term(term, f"{at}.nodeSelectorTerms[{number}]")
            for number, term in enumerate(items(terms, f"{at}.nodeSelectorTerms", MOST_TERMS))
        ]
        if not required:
            raise Invalid("nodeSelectorTerms needs at least one term.", field=f"{at}.nodeSelectorTerms")
        affinity[REQUIRED] = {"nodeSelectorTerms": required}
    preferred = _weighted(spec.get(PREFERRED), f"{field}.{PREFERRED}", "preference", _node_term)
    return affinity | ({PREFERRED: preferred} if preferred else {})


def _pod_affinity(value: Any, field: str) -> Object:
    spec = mapping(value, field, (REQUIRED, PREFERRED))
    at = f"{field}.{REQUIRED}"
    required = [
        _pod_term(term, f"{at}[{number}]") for number, term in enumerate(items(spec.get(REQUIRED), at, MOST_TERMS))
    ]
    preferred = _weighted(spec.get(PREFERRED), f"{field}.{PREFERRED}", "podAffinityTerm", _pod_term)
    return ({REQUIRED: required} if required else {}) | ({PREFERRED: preferred} if preferred else {})


def _weighted(value: Any, field: str, name: str, term: Any) -> list[Object]:
    weighted: list[Object] = []
    for number, item in enumerate(items(value, field, MOST_TERMS)):
        at = f"{field}[{number}]"
        spec = mapping(item, at, ("weight", name))
        weight = whole(spec.get("weight"), f"{at}.weight", 1, 100)
        weighted.append({"weight": weight, name: term(spec.get(name), f"{at}.{name}")})
    return weighted


def _node_term(value: Any, field: str) -> Object:
    spec = mapping(value, field, ("matchExpressions", "matchFields"))
    labels = [_label_rule(rule, at, _FOR_NODES) for rule, at in _rules(spec, field, "matchExpressions")]
    fields = [_field_rule(rule, at) for rule, at in _rules(spec, field, "matchFields")]
    if not labels and not fields:
        raise Invalid("A term without matchExpressions or matchFields matches no node.", field=field)
    return ({"matchExpressions": labels} if labels else {}) | ({"matchFields": fields} if fields else {})


def _pod_term(value: Any, field: str) -> Object:
    spec = mapping(value, field, ("labelSelector", "topologyKey"))
    at = f"{field}.labelSelector"
    selector = mapping(spec.get("labelSelector"), at, ("matchLabels", "matchExpressions"))
    labels = parse_labels(selector.get("matchLabels"), f"{at}.matchLabels")
    rules = [_label_rule(rule, where, _FOR_PODS) for rule, where in _rules(selector, at, "matchExpressions")]
    if not labels and not rules:
        raise Invalid("Which pods? Give matchLabels or matchExpressions.", field=at)
    checked = ({"matchLabels": labels} if labels else {}) | ({"matchExpressions": rules} if rules else {})
    topology = text(spec.get("topologyKey"), f"{field}.topologyKey", is_label_key, "the name of a label of nodes")
    return {"labelSelector": checked, "topologyKey": topology}


def _rules(spec: Object, field: str, name: str) -> list[tuple[Any, str]]:
    rules = items(spec.get(name), f"{field}.{name}", MOST_EXPRESSIONS)
    return [(rule, f"{field}.{name}[{number}]") for number, rule in enumerate(rules)]


def _label_rule(value: Any, field: str, operators: tuple[str, ...]) -> Object:
    spec = mapping(value, field, ("key", "operator", "values"))
    key = text(spec.get("key"), f"{field}.key", is_label_key, _KEY)
    operator = _operator(spec, field, operators)
    at = f"{field}.values"
    labels = items(spec.get("values"), at, MOST_VALUES)
    if operator in ("Exists", "DoesNotExist"):
        if labels:
            raise Invalid(f"With operator {operator} there are no values.", field=at)
        return {"key": key, "operator": operator}
    if not labels:
        raise Invalid(f"Operator {operator} needs values.", field=at)
    if operator in ("Gt", "Lt"):
        values = [text(label, at, _is_integer, 'one whole number in quotes, such as "8"') for label in labels]
        if len(values) != 1:
            raise Invalid(f"Operator {operator} takes one value.", field=at)
    else:
        values = [text(label, at, is_label_value, "a list of values of a label") for label in labels]
    return {"key": key, "operator": operator, "values": values}


def _field_rule(value: Any, field: str) -> Object:
    """The only field that there is of nodes is their name: kubelet's own daemons use it."""
    spec = mapping(value, field, ("key", "operator", "values"))
    if spec.get("key") != "metadata.name":
        raise Invalid("matchFields knows metadata.name alone.", field=f"{field}.key")
    operator = _operator(spec, field, ("In", "NotIn"))
    values = items(spec.get("values"), f"{field}.values", MOST_VALUES)
    if len(values) != 1:
        raise Invalid("matchFields takes the name of one node.", field=f"{field}.values")
    return {
        "key": "metadata.name",
        "operator": operator,
        "values": [text(values[0], f"{field}.values", is_subdomain, "the name of a node")],
    }


def _operator(spec: Object, field: str, operators: tuple[str, ...]) -> str:
    operator = choice(spec.get("operator"), f"{field}.operator", operators)
    if not operator:
        raise Invalid(f"An expression needs an operator: {', '.join(operators)}.", field=f"{field}.operator")
    return operator


def _is_integer(value: str) -> bool:
    return bool(re.fullmatch(r"-?[0-9]{1,18}", value))

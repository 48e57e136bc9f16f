"""Which listeners of a Gateway a route attaches to, and why it doesn't. Pure.

https://gateway-api.sigs.k8s.io/reference/spec/#routestatus
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from localcluster.gateway.build import GROUP
from localcluster.gateway.conditions import condition
from localcluster.selectors import label_selector_matches

Obj = dict[str, Any]
Key = tuple[str, str]

#: The name under which this controller takes GatewayClasses and writes statuses.
CONTROLLER = "flotilla.dev/localcluster-gateway"
#: Filters that the proxy carries out, for all backends of a rule.
FILTERS = frozenset({"RequestHeaderModifier", "ResponseHeaderModifier", "RequestMirror"})


def parent_of(reference: Mapping[str, Any], namespace: str) -> Key | None:
    """The Gateway that a parentRef of a route in this namespace means; None when it means something else."""
    if (reference.get("group", GROUP), reference.get("kind", "Gateway")) != (GROUP, "Gateway"):
        return None
    return reference.get("namespace") or namespace, reference["name"]


def intersection(listener: str, hostnames: Iterable[str]) -> list[str]:
    """The hostnames of a route that a listener's lets in; "" and "*.example.com" stand for many."""
    if not listener:
        return list(hostnames) or [""]
    wanted = list(hostnames)
    if not wanted:
        return [listener]
    kept = []
    for each in wanted:
        if covers(listener, each):
            kept.append(each)
        elif covers(each, listener):
            kept.append(listener)
    return kept


def covers(pattern: str, hostname: str) -> bool:
    """Does "*.example.com", "a.example.com" or "" let in this hostname (or all that this pattern means)?"""
    if not pattern or pattern == hostname:
        return True
    return pattern.startswith("*.") and hostname.removeprefix("*").endswith(pattern[1:]) and hostname != pattern[2:]


@dataclass(frozen=True, slots=True)
class Attached:
    """A route at one listener, with the hostnames under which it is asked there."""

    port: int
    listener_hostname: str
    hostnames: tuple[str, ...]


def attach(
    route: Obj, reference: Mapping[str, Any], gateway: Obj, labels_of: Callable[[str], Mapping[str, str]]
) -> tuple[list[Attached], Obj]:
    """The listeners that a route attaches to by one of its parentRefs, and the condition Accepted.

    `labels_of` gives the labels of a namespace.
    """
    if unsupported := _unsupported(route):
        return [], condition("Accepted", False, "UnsupportedValue", unsupported)
    section, port = reference.get("sectionName"), reference.get("port")
    named = [
        each
        for each in gateway["spec"]["listeners"]
        if section in (None, each["name"]) and port in (None, each["port"]) and each["protocol"] == "HTTP"
    ]
    if not named:
        why = f"Gateway {gateway['metadata']['name']} has no HTTP listener of that sectionName and port"
        return [], condition("Accepted", False, "NoMatchingParent", why)
    allowed = [each for each in named if _allows(each, route, gateway, labels_of)]
    if not allowed:
        why = f"no listener takes an HTTPRoute of namespace {route['metadata']['namespace']}: see its allowedRoutes"
        return [], condition("Accepted", False, "NotAllowedByListeners", why)
    found = []
    for each in allowed:
        hostnames = intersection(each.get("hostname") or "", route["spec"].get("hostnames") or ())
        if hostnames:
            found.append(Attached(each["port"], each.get("hostname") or "", tuple(hostnames)))
    if not found:
        why = "no listener's hostname goes with one of the route's"
        return [], condition("Accepted", False, "NoMatchingListenerHostname", why)
    return found, condition("Accepted", True, message="Route is accepted")


def _unsupported(route: Obj) -> str:
    for rule in route["spec"].get("rules") or ():
        for each in rule.get("filters") or ():
            if each["type"] not in FILTERS:
                return f"filter {each['type']} is not supported here"
        if any(backend.get("filters") for backend in rule.get("backendRefs") or ()):
            return "filters of single backendRefs are not supported here"
    return ""


def _allows(listener: Obj, route: Obj, gateway: Obj, labels_of: Callable[[str], Mapping[str, str]]) -> bool:
    allowed = listener.get("allowedRoutes") or {}
    kinds = allowed.get("kinds") or []
    if kinds and not any(takes_http(each) for each in kinds):
        return False
    namespaces = allowed.get("namespaces") or {}
    origin = namespaces.get("from", "Same")
    if origin == "Selector":
        return label_selector_matches(namespaces.get("selector"), labels_of(route["metadata"]["namespace"]))
    return bool(origin == "All" or route["metadata"]["namespace"] == gateway["metadata"]["namespace"])


def takes_http(kind: Mapping[str, Any]) -> bool:
    """Is an entry of allowedRoutes.kinds that of HTTPRoutes?"""
    return (kind.get("group", GROUP), kind["kind"]) == (GROUP, "HTTPRoute")

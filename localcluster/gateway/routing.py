"""From HTTPRoutes to the rule that a request falls under, and to the backend that takes it. Pure.

https://gateway-api.sigs.k8s.io/reference/spec/#httprouterule tells the precedence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from localcluster.gateway.attach import Attached, covers
from localcluster.gateway.conditions import condition

Obj = dict[str, Any]
#: Gives the Service of a namespace and name, or None.
FindService = Callable[[str, str], Mapping[str, Any] | None]


@dataclass(frozen=True, slots=True)
class Backend:
    """A port of a Service with its weight, or (reason, message) of why there is none."""

    namespace: str
    service: str
    port_name: str
    weight: int = 1
    problem: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Mirror:
    """A backend that gets a copy of so many requests of a hundred."""

    backend: Backend
    percent: float


@dataclass(frozen=True, slots=True)
class Rule:
    """What becomes of a request that falls under a rule. Times are in seconds, None is no limit."""

    name: str
    backends: tuple[Backend, ...]
    mirrors: tuple[Mirror, ...] = ()
    request_headers: tuple[Obj, ...] = ()
    response_headers: tuple[Obj, ...] = ()
    timeout: float | None = None
    backend_timeout: float | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One match of one rule under one hostname, and its place among the others."""

    hostname: str
    match: Obj
    rule: Rule
    rank: tuple[Any, ...] = field(repr=False)


def backend_of(reference: Obj, namespace: str, find: FindService) -> Backend:
    """The backend that a backendRef of a route in this namespace means."""
    name, place = reference["name"], reference.get("namespace") or namespace
    weight = reference.get("weight", 1)

    def unusable(reason: str, message: str) -> Backend:
        return Backend(place, name, "", weight, (reason, message))

    if reference.get("group") or reference.get("kind", "Service") != "Service":
        return unusable("InvalidKind", f"backend {name}: only Services are supported here")
    if place != namespace:
        return unusable("RefNotPermitted", f"backend {place}/{name}: no ReferenceGrant allows this")
    service = find(place, name)
    if service is None:
        return unusable("BackendNotFound", f"Service {place}/{name} not found")
    for port in service["spec"].get("ports") or ():
        if port["port"] == reference["port"]:
            return Backend(place, name, port.get("name") or "", weight)
    return unusable("BackendNotFound", f"Service {place}/{name} has no port {reference['port']}")


def rules_of(route: Obj, find: FindService) -> list[Rule]:
    """The rules of a route, in order."""
    namespace, name = route["metadata"]["namespace"], route["metadata"]["name"]
    made = []
    for number, rule in enumerate(route["spec"].get("rules") or ()):
        filters = rule.get("filters") or ()
        timeouts = rule.get("timeouts") or {}
        made.append(
            Rule(
                f"{namespace}/{name}/{number}",
                tuple(backend_of(each, namespace, find) for each in rule.get("backendRefs") or ()),
                tuple(_mirror(each["requestMirror"], namespace, find) for each in filters if "requestMirror" in each),
                tuple(each["requestHeaderModifier"] for each in filters if "requestHeaderModifier" in each),
                tuple(each["responseHeaderModifier"] for each in filters if "responseHeaderModifier" in each),
                seconds(timeouts.get("request")),
                seconds(timeouts.get("backendRequest")),
            )
        )
    return made


def _mirror(mirror: Obj, namespace: str, find: FindService) -> Mirror:
    percent = float(mirror.get("percent", 100))
    if fraction := mirror.get("fraction"):
        percent = 100 * fraction["numerator"] / fraction.get("denominator", 100)
    return Mirror(backend_of(mirror["backendRef"], namespace, find), percent)


_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def seconds(duration: str | None) -> float | None:
    """A duration of the Gateway API ("1m30s"); None for none, and for zero, which is no limit."""
    pieces = re.findall(r"(\d+)(h|ms|m|s)", duration or "")
    return sum(int(number) * _UNITS[unit] for number, unit in pieces) or None


def resolved(rules: Iterable[Rule]) -> Obj:
    """The condition ResolvedRefs of a route with these rules."""
    backends = [each for rule in rules for each in (*rule.backends, *(mirror.backend for mirror in rule.mirrors))]
    problem = next((each.problem for each in backends if each.problem), None)
    if problem is None:
        return condition("ResolvedRefs", True, message="All references are resolved")
    return condition("ResolvedRefs", False, *problem)


_ANY_PATH = {"type": "PathPrefix", "value": "/"}


def entries(route: Obj, attached: Attached, rules: Sequence[Rule]) -> list[Entry]:
    """A route's matches at one listener."""
    metadata = route["metadata"]
    made = []
    for number, (stated, rule) in enumerate(zip(route["spec"].get("rules") or (), rules, strict=True)):
        for position, match in enumerate(stated.get("matches") or [{"path": _ANY_PATH}]):
            path = match.get("path") or _ANY_PATH
            last = (
                path["type"] != "Exact",
                -len(path["value"]),
                "method" not in match,
                -len(match.get("headers") or ()),
                -len(match.get("queryParams") or ()),
                metadata["creationTimestamp"],
                f"{metadata['namespace']}/{metadata['name']}",
                number,
                position,
            )
            made += [Entry(hostname, match, rule, (*_rank(hostname), *last)) for hostname in attached.hostnames]
    return made


def _rank(hostname: str) -> tuple[bool, int]:
    """Exact names go before patterns, long ones before short ones."""
    return hostname.startswith("*") or not hostname, -len(hostname)


@dataclass(frozen=True, slots=True)
class Asked:
    """What of a request rules look at; names of headers are small."""

    method: str
    host: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]


def rule_for(table: Iterable[Entry], asked: Asked) -> Rule | None:
    """The rule that a request falls under; `table` is in the order of the entries' ranks."""
    return next(
        (each.rule for each in table if covers(each.hostname, asked.host) and _matches(each.match, asked)), None
    )


def _matches(match: Obj, asked: Asked) -> bool:
    if "method" in match and match["method"] != asked.method:
        return False
    headers = all(_fits(each, asked.headers.get(each["name"].lower())) for each in match.get("headers") or ())
    query = all(_fits(each, asked.query.get(each["name"])) for each in match.get("queryParams") or ())
    return headers and query and _path_fits(match.get("path") or _ANY_PATH, asked.path)


def _fits(wanted: Obj, value: str | None) -> bool:
    if value is None:
        return False
    if wanted.get("type") == "RegularExpression":
        return _full_match(wanted["value"], value)
    return bool(wanted["value"] == value)


def _path_fits(wanted: Obj, path: str) -> bool:
    value = wanted["value"]
    if wanted["type"] == "Exact":
        return bool(path == value)
    if wanted["type"] == "RegularExpression":
        return _full_match(value, path)
    prefix = value.rstrip("/")
    return bool(path == prefix or path.startswith(f"{prefix}/"))


def _full_match(pattern: str, value: str) -> bool:
    try:
        return re.fullmatch(pattern, value) is not None
    except re.error:
        return False  # a pattern that can't be read matches nothing


class Shares:
    """Shares requests out over the backends of rules by their weights: of a hundred each gets exactly its share."""

    def __init__(self) -> None:
        self._credit: dict[str, dict[int, int]] = {}

    def choose(self, rule: Rule) -> Backend | None:
        """The backend of the rule's next request; None where no weight is above zero."""
        weighed = {number: each for number, each in enumerate(rule.backends) if each.weight > 0}
        if not weighed:
            return None
        before = self._credit.get(rule.name, {})
        # Smooth weighted round-robin: each gains its weight, the richest is taken and pays for all.
        credit = {number: before.get(number, 0) + each.weight for number, each in weighed.items()}
        chosen = max(weighed, key=lambda number: credit[number])
        credit[chosen] -= sum(each.weight for each in weighed.values())
        self._credit[rule.name] = credit
        return weighed[chosen]

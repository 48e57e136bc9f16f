"""The rules on Gateways and HTTPRoutes that their schemas can't say (in a real cluster these are CEL). Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from localcluster.causes import Cause, duplicate, required, wrong

Obj = dict[str, Any]

_GROUP = "gateway.networking.k8s.io"
_PATH = re.compile(r"(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})+")
_NOT_IN_A_PATH = ("//", "/./", "/../", "%2f", "%2F", "#")
_FIELD_OF_FILTER = {
    "RequestHeaderModifier": "requestHeaderModifier",
    "ResponseHeaderModifier": "responseHeaderModifier",
    "RequestMirror": "requestMirror",
    "RequestRedirect": "requestRedirect",
    "URLRewrite": "urlRewrite",
    "ExtensionRef": "extensionRef",
}
#: Filters that a rule may have several of.
_REPEATED = frozenset({"RequestMirror", "ExtensionRef"})


def _is_service(reference: Obj) -> bool:
    return not reference.get("group") and reference.get("kind", "Service") == "Service"


def _backend(reference: Obj, field: str) -> Iterator[Cause]:
    if _is_service(reference) and reference.get("port") is None:
        yield required(f"{field}.port", "must have port for Service reference")


def _filters(filters: list[Obj], field: str) -> Iterator[Cause]:
    counts = Counter(each["type"] for each in filters)
    for kind, number in counts.items():
        if number > 1 and kind not in _REPEATED:
            yield wrong(field, "array", f"{kind} filter cannot be repeated")
    if counts["RequestRedirect"] and counts["URLRewrite"]:
        yield wrong(field, "array", "may specify either RequestRedirect or URLRewrite, but not both")
    for position, each in enumerate(filters):
        at = f"{field}[{position}]"
        for kind, name in _FIELD_OF_FILTER.items():
            if (name in each) != (each["type"] == kind):
                need = "must be specified for" if each["type"] == kind else "must be nil if the type is not"
                yield wrong(at, "object", f"filter.{name} {need} {kind} filter.type")
        if mirror := each.get("requestMirror"):
            yield from _backend(mirror["backendRef"], f"{at}.requestMirror.backendRef")
            if "percent" in mirror and "fraction" in mirror:
                why = "only one of percent or fraction may be specified in HTTPRequestMirrorFilter"
                yield wrong(f"{at}.requestMirror", "object", why)
            fraction = mirror.get("fraction") or {}
            if fraction and fraction["numerator"] > fraction.get("denominator", 100):
                yield wrong(
                    f"{at}.requestMirror.fraction", "object", "numerator must be less than or equal to denominator"
                )


def _path(path: Obj, field: str) -> Iterator[Cause]:
    value = path.get("value", "/")
    if path.get("type") == "RegularExpression":
        return
    if not value.startswith("/"):
        yield wrong(
            field,
            "object",
            "value must be an absolute path and start with '/' when type one of ['Exact', 'PathPrefix']",
        )
    for piece in _NOT_IN_A_PATH:
        if piece in value:
            yield wrong(field, "object", f"must not contain '{piece}' when type one of ['Exact', 'PathPrefix']")
    for end in ("/..", "/."):
        if value.endswith(end):
            yield wrong(field, "object", f"must not end with '{end}' when type one of ['Exact', 'PathPrefix']")
    if not _PATH.fullmatch(value):
        yield wrong(field, "object", "must only contain valid characters for types ['Exact', 'PathPrefix']")


def _route(route: Obj) -> Iterator[Cause]:
    spec = route.get("spec") or {}
    names: Counter[str] = Counter()
    for number, rule in enumerate(spec.get("rules") or ()):
        at = f"spec.rules[{number}]"
        for position, match in enumerate(rule.get("matches") or ()):
            yield from _path(match.get("path") or {}, f"{at}.matches[{position}].path")
        yield from _filters(rule.get("filters") or [], f"{at}.filters")
        for position, backend in enumerate(rule.get("backendRefs") or ()):
            yield from _backend(backend, f"{at}.backendRefs[{position}]")
            yield from _filters(backend.get("filters") or [], f"{at}.backendRefs[{position}].filters")
        if rule.get("backendRefs") and any(each["type"] == "RequestRedirect" for each in rule.get("filters") or ()):
            yield wrong(at, "object", "RequestRedirect filter must not be used together with backendRefs")
        if name := rule.get("name"):
            names[name] += 1
            if names[name] > 1:
                yield duplicate(f"{at}.name", name)
    yield from _parents(spec.get("parentRefs") or [])


def _parents(references: list[Obj]) -> Iterator[Cause]:
    """Of two references to one parent each names another section."""
    sections: dict[tuple[Any, ...], list[str]] = {}
    for each in references:
        parent = tuple(each.get(name, "") for name in ("group", "kind", "namespace", "name"))
        sections.setdefault(parent, []).append(f"{each.get('sectionName', '')}:{each.get('port', '')}")
    for named in sections.values():
        if len(named) > 1 and ":" in named:
            why = "sectionName must be specified when parentRefs includes 2 or more references to the same parent"
            yield wrong("spec.parentRefs", "array", why)
        elif len(set(named)) < len(named):
            why = "sectionName must be unique when parentRefs includes 2 or more references to the same parent"
            yield wrong("spec.parentRefs", "array", why)


def _gateway(gateway: Obj) -> Iterator[Cause]:
    listeners = (gateway.get("spec") or {}).get("listeners") or []
    names, places = Counter[str](), Counter[tuple[Any, ...]]()
    for position, each in enumerate(listeners):
        at, protocol = f"spec.listeners[{position}]", each["protocol"]
        if protocol in ("HTTP", "TCP", "UDP") and "tls" in each:
            yield wrong(at, "object", "tls must not be specified for protocols ['HTTP', 'TCP', 'UDP']")
        if protocol in ("TCP", "UDP") and each.get("hostname"):
            yield wrong(at, "object", "hostname must not be specified for protocols ['TCP', 'UDP']")
        names[each["name"]] += 1
        if names[each["name"]] > 1:
            yield duplicate(f"{at}.name", each["name"])
        place = (each["port"], protocol, each.get("hostname"))
        places[place] += 1
        if places[place] > 1:
            yield wrong(at, "object", "Combination of port, protocol and hostname must be unique for each listener")


#: By the names of the kinds' definitions; for objects that fit their schema.
RULES = {f"httproutes.{_GROUP}": _route, f"gateways.{_GROUP}": _gateway}

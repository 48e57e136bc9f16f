"""The HTTPRoute of a deployment: made, and read back from the cluster. Pure; tested by whole-object equality."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from apps.deployments.manifests import SERVICE_PORT, Identity, asked_of
from apps.deployments.rollout.gateway import Gateway
from apps.deployments.rollout.traffic import TO_SERVICE, Route
from apps.deployments.specs import digest_of

GROUP = "gateway.networking.k8s.io"
API_VERSION, KIND = f"{GROUP}/v1", "HTTPRoute"
WHOLE = 100


def http_route(identity: Identity, gateway: Gateway, hostname: str, route: Route) -> dict[str, Any]:
    """The HTTPRoute. All that the API server would fill in is stated, so that it is compared, too."""
    parent = {"group": GROUP, "kind": "Gateway", "namespace": gateway.namespace, "name": gateway.name}
    if gateway.section:
        parent["sectionName"] = gateway.section
    backends = [_backend(identity.service, 100 - route.weight)]
    rule: dict[str, Any] = {"matches": [{"path": {"type": "PathPrefix", "value": "/"}}]}
    if route.to is not None and route.mirror:
        rule["filters"] = [_mirror(identity.own_service(route.to), route.mirror)]
    if route.to is not None and route.weight:
        backends.append(_backend(identity.own_service(route.to), route.weight))
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": identity.deployment, "namespace": identity.namespace, "labels": identity.labels()},
        "spec": {
            "parentRefs": [parent],
            "hostnames": [hostname],
            "rules": [{**rule, "backendRefs": backends}],
        },
    }


def asked_for(identity: Identity, gateway: Gateway, hostname: str, route: Route) -> str:
    """The digest of what was asked, whatever today's code makes of it."""
    return asked_of(identity, 0, digest_of([gateway.to_json(), hostname, route.to_json()]))


def route_in(identity: Identity, live: Mapping[str, Any]) -> Route:
    """What an HTTPRoute on the cluster says, whoever wrote it last: weights in percent of their sum."""
    rules = (live.get("spec") or {}).get("rules") or ()
    weights: dict[int | None, int] = {}
    for backend in (backend for rule in rules for backend in rule.get("backendRefs") or ()):
        number = _owner(identity, backend)
        weights[number] = weights.get(number, 0) + int(backend.get("weight", 1))
    mirrors = _mirrors_in(identity, rules)
    named = [number for number in (*weights, *mirrors) if number is not None]
    if not named:
        return TO_SERVICE
    to, total = max(named, key=lambda number: (weights.get(number, 0), number)), sum(weights.values())
    return Route(to, round(100 * weights.get(to, 0) / total) if total else 0, mirrors.get(to, 0))


def _mirrors_in(identity: Identity, rules: Iterable[Mapping[str, Any]]) -> dict[int, int]:
    """Of how many percent of the requests revisions get copies; all of them where nothing is said."""
    mirrors: dict[int, int] = {}
    for each in (each for rule in rules for each in rule.get("filters") or () if each.get("requestMirror")):
        mirror, percent = each["requestMirror"], each["requestMirror"].get("percent", WHOLE)
        if fraction := mirror.get("fraction"):
            percent = round(100 * fraction["numerator"] / fraction.get("denominator", 100))
        if (number := _owner(identity, mirror.get("backendRef") or {})) is not None:
            mirrors[number] = int(percent)
    return mirrors


def _owner(identity: Identity, backend: Mapping[str, Any]) -> int | None:
    """The revision whose own Service a reference names; None of other Services."""
    match = re.fullmatch(rf"{re.escape(identity.deployment)}-r(\d+)", str(backend.get("name")))
    return int(match[1]) if match else None


def _mirror(service: str, percent: int) -> dict[str, Any]:
    """The filter. A share came with the Gateway API 1.3; what copies everything is said without one, as before."""
    share = {"percent": percent} if percent < WHOLE else {}
    reference = {"group": "", "kind": "Service", "name": service, "port": SERVICE_PORT}
    return {"type": "RequestMirror", "requestMirror": {"backendRef": reference, **share}}


def _backend(service: str, weight: int) -> dict[str, Any]:
    return {"group": "", "kind": "Service", "name": service, "port": SERVICE_PORT, "weight": weight}

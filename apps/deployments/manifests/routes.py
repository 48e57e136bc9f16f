"""The HTTPRoute of a deployment: made, and read back from the cluster. Pure; tested by whole-object equality."""

import re
from collections.abc import Mapping
from typing import Any

from apps.deployments.manifests import SERVICE_PORT, Identity, asked_of
from apps.deployments.rollout.gateway import Gateway
from apps.deployments.rollout.traffic import TO_SERVICE, Route
from apps.deployments.specs import digest_of

GROUP = "gateway.networking.k8s.io"
API_VERSION, KIND = f"{GROUP}/v1", "HTTPRoute"


def http_route(identity: Identity, gateway: Gateway, hostname: str, route: Route) -> dict[str, Any]:
    """The HTTPRoute. All that the API server would fill in is stated, so that it is compared, too."""
    parent = {"group": GROUP, "kind": "Gateway", "namespace": gateway.namespace, "name": gateway.name}
    if gateway.section:
        parent["sectionName"] = gateway.section
    backends = [_backend(identity.service, 100 - route.weight)]
    if route.to is not None:
        backends.append(_backend(identity.own_service(route.to), route.weight))
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": identity.deployment, "namespace": identity.namespace, "labels": identity.labels()},
        "spec": {
            "parentRefs": [parent],
            "hostnames": [hostname],
            "rules": [{"matches": [{"path": {"type": "PathPrefix", "value": "/"}}], "backendRefs": backends}],
        },
    }


def asked_for(identity: Identity, gateway: Gateway, hostname: str, route: Route) -> str:
    """The digest of what was asked, whatever today's code makes of it."""
    return asked_of(identity, 0, digest_of([gateway.to_json(), hostname, route.to_json()]))


def route_in(identity: Identity, live: Mapping[str, Any]) -> Route:
    """What an HTTPRoute on the cluster says, whoever wrote it last: weights in percent of their sum."""
    weights: dict[int | None, int] = {}
    own = re.compile(rf"{re.escape(identity.deployment)}-r(\d+)")
    for rule in (live.get("spec") or {}).get("rules") or ():
        for backend in rule.get("backendRefs") or ():
            match = own.fullmatch(str(backend.get("name")))
            number = int(match[1]) if match else None
            weights[number] = weights.get(number, 0) + int(backend.get("weight", 1))
    revisions = [number for number in weights if number is not None]
    if not revisions:
        return TO_SERVICE
    to, total = max(revisions, key=lambda number: (weights[number], number)), sum(weights.values())
    return Route(to, round(100 * weights[to] / total) if total else 0)


def _backend(service: str, weight: int) -> dict[str, Any]:
    return {"group": "", "kind": "Service", "name": service, "port": SERVICE_PORT, "weight": weight}

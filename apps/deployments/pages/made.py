"""What the controllers of a cluster have made, below what was applied: a Kubernetes Deployment's ReplicaSets with their
replicas, and a Service's EndpointSlices with their addresses."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from apps.clusters.models import Pod
from apps.clusters.observed.madehealth import health_of_set, health_of_slice, takes_requests
from apps.clusters.observed.values import moment
from apps.core.errors import Missing
from apps.core.models import Project
from apps.core.pages.base import PageRequest, page
from apps.core.states import Health
from apps.deployments import selectors
from apps.deployments.models import AppliedObject, Deployment
from apps.deployments.pages.links import pod_url
from apps.deployments.pages.resources import MOST_REPLICAS, Resource
from apps.deployments.selectors.resources import applied_objects
from apps.deployments.services.looking import shown
from apps.deployments.services.made import OF_SERVICE, Made, look_at_made

Object = Mapping[str, Any]


@page(part_of="deployments:resources")
@require_safe
def made(request: PageRequest, project: Project, name: str, target: str) -> HttpResponse:
    """The trees of one target as its cluster has them now; fetched when somebody unfolds them."""
    deployment = selectors.deployment(request.principal, name, project=project)
    place = next((each for each in deployment.places if each.target.name == target), None)
    if place is None:
        raise Missing(f"{name} is not placed on {target} any more.", hint="Load the page again.")
    applied = list(applied_objects(deployment).filter(placement=place).order_by("kind", "name"))
    pods = list(selectors.pods_of(deployment).filter(cluster=place.target.cluster, namespace=place.target.namespace))
    found = look_at_made(place, applied)
    nodes = trees_of_made(deployment, applied, found, pods)
    context = {"place": place, "found": found, "nodes": nodes, "at": timezone.now()}
    return render(request, "deployments/made.html", context)


def trees_of_made(
    deployment: Deployment, applied: Sequence[AppliedObject], found: Made, pods: Sequence[Pod]
) -> list[Resource]:
    """A tree for each Service and Kubernetes Deployment that something was made of, in this order."""
    urls = {pod.name: pod_url(deployment, pod) for pod in pods}
    by_owner: dict[str, list[Pod]] = {}
    for pod in pods:
        by_owner.setdefault(pod.owner_name if pod.owner_kind == "ReplicaSet" else "", []).append(pod)
    nodes = []
    for row in sorted(applied, key=lambda row: (row.kind != "Service", row.name)):
        below: list[Resource] = []
        if row.kind == "Service":
            below = [_slice(each, row, urls) for each in found.slices if _names(each, row.name)]
        elif row.kind == "Deployment":
            mine = [each for each in found.replica_sets if _owner(each) == ("Deployment", row.name)]
            mine.sort(key=lambda each: str(each["metadata"].get("creationTimestamp") or ""), reverse=True)
            below = [_replica_set(each, row, urls, by_owner) for each in mine]
        if below:
            nodes.append(Resource(f"made-{row.pk}", row.kind, row.name, _worst(below), below=below))
    return nodes


def _owner(obj: Object) -> tuple[str, str]:
    """Kind and name of the controller that made it."""
    owners = obj["metadata"].get("ownerReferences") or ()
    return next(((owner["kind"], owner["name"]) for owner in owners if owner.get("controller")), ("", ""))


def _names(endpoints: Object, service: str) -> bool:
    return (endpoints["metadata"].get("labels") or {}).get(OF_SERVICE) == service


def _worst(nodes: Sequence[Resource]) -> str:
    return max((Health(node.health) for node in nodes), key=lambda health: health.severity).value


def _replica_set(
    obj: Object, row: AppliedObject, urls: Mapping[str, str], by_owner: Mapping[str, Sequence[Pod]]
) -> Resource:
    name = obj["metadata"]["name"]
    pods = sorted(by_owner.get(name, ()), key=lambda pod: (-Health(pod.health).severity, pod.name))
    node = _node("ReplicaSet", "apps/v1", obj, row, *health_of_set(obj))
    node.hidden = max(0, len(pods) - MOST_REPLICAS)
    node.below = [
        Resource(
            f"made-pod-{pod.pk}",
            "Pod",
            pod.name,
            pod.health,
            "" if pod.health == Health.HEALTHY else pod.message or pod.reason,
            pod.created_at,
            urls.get(pod.name, ""),
        )
        for pod in pods[:MOST_REPLICAS]
    ]
    return node


def _slice(obj: Object, row: AppliedObject, urls: Mapping[str, str]) -> Resource:
    node = _node("EndpointSlice", "discovery.k8s.io/v1", obj, row, *health_of_slice(obj))
    addresses = [(each, address) for each in obj.get("endpoints") or () for address in each.get("addresses") or ()]
    told = [_address(node.key, each, address, urls) for each, address in addresses]
    told.sort(key=lambda each: (-Health(each.health).severity, each.said))
    node.below, node.hidden = told[:MOST_REPLICAS], max(0, len(told) - MOST_REPLICAS)
    return node


def _address(key: str, endpoint: Object, address: str, urls: Mapping[str, str]) -> Resource:
    goes = (endpoint.get("conditions") or {}).get("terminating") is True
    pod = str((endpoint.get("targetRef") or {}).get("name") or "")
    words = "ready" if takes_requests(endpoint) else "terminating: it finishes what it has" if goes else "not ready"
    on = f" on {endpoint['nodeName']}" if endpoint.get("nodeName") else ""
    health = Health.HEALTHY if takes_requests(endpoint) else Health.PROGRESSING if goes else Health.DEGRADED
    said = f"{words} · {pod}{on}" if pod else f"{words}{on}"
    return Resource(f"{key}-{address}", "Address", address, health, said, url=urls.get(pod, ""))


def _node(kind: str, version: str, obj: Object, row: AppliedObject, health: Health, said: str) -> Resource:
    metadata = obj["metadata"]
    # A list leaves out of what kind its items are.
    whole = {"apiVersion": version, "kind": kind, **obj}
    return Resource(
        key=f"made-{row.pk}-{metadata['name']}",
        kind=kind,
        name=metadata["name"],
        health=health,
        said=said,
        since=moment(metadata.get("creationTimestamp")),
        yaml=shown(whole, row.manifest).text,
    )

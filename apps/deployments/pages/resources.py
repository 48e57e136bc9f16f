"""The page with a deployment's Kubernetes objects as a tree: each with its health, its drift and its YAML.

It shows what was applied and what was observed, and asks a cluster only for the one object that somebody unfolds.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import yaml
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from apps.clusters.models import Pod, Workload
from apps.core.models import Project
from apps.core.pages.base import PageRequest, page, render_page
from apps.core.states import Health
from apps.core.text.numbers import whole
from apps.deployments import selectors
from apps.deployments.manifests import kserve
from apps.deployments.models import AppliedObject, Deployment, Placement
from apps.deployments.pages.links import pod_url
from apps.deployments.selectors.resources import Place, applied_object, applied_objects, observed_objects
from apps.deployments.services import identity_of
from apps.deployments.services.looking import as_yaml, look_at

# Replicas shown below a Kubernetes Deployment; the worst come first.
MOST_REPLICAS = 50
# As people look for them: the address, what is behind it, and what stands beside.
_ORDER = (
    *("Service", "HTTPRoute", kserve.KIND, "Deployment"),
    *("HorizontalPodAutoscaler", "ScaledObject", "PodDisruptionBudget"),
)


@dataclass
class Resource:
    """An object of the tree. `health` is a word with a look, `said` the sentence beside it."""

    key: str
    kind: str
    name: str
    health: str
    said: str = ""
    since: datetime | None = None
    url: str = ""
    yaml: str = ""
    pk: int | None = None
    edits: list[dict[str, str]] = field(default_factory=list)
    below: list["Resource"] = field(default_factory=list)
    hidden: int = 0


@dataclass(frozen=True)
class PlaceTree:
    """The objects on one target."""

    place: Placement
    resources: list[Resource]

    @property
    def edited(self) -> int:
        """How many of the objects have something else than was applied."""
        return sum(bool(resource.edits) for resource in self.resources)


@page
@require_safe
def resources(request: PageRequest, project: Project, name: str) -> HttpResponse:
    """The objects on every target."""
    deployment = selectors.deployment(request.principal, name, project=project)
    context = {
        "project": project,
        "deployment": deployment,
        "trees": trees_of(deployment),
        "topic": f"deployment:{deployment.pk}",
    }
    return render_page(request, "deployments/resources.html", context)


@page(part_of="deployments:resources")
@require_safe
def live(request: PageRequest, project: Project, name: str, pk: int) -> HttpResponse:
    """One object as its cluster has it now, beside what was applied; the tree fetches it when it is unfolded."""
    row = applied_object(selectors.deployment(request.principal, name, project=project), pk)
    context = {"row": row, "look": look_at(row), "applied": as_yaml(row.manifest), "at": timezone.now()}
    return render(request, "deployments/live.html", context)


def trees_of(deployment: Deployment) -> list[PlaceTree]:
    """The trees of all targets, in their order. A constant number of queries."""
    seen, pods = observed_objects(deployment), list(selectors.pods_of(deployment))
    kept: dict[int, list[AppliedObject]] = {}
    for row in applied_objects(deployment):
        kept.setdefault(row.placement_id, []).append(row)
    return [PlaceTree(place, _of_place(place, kept.get(place.pk, []), seen, pods)) for place in deployment.places]


def _of_place(
    place: Placement, kept: Iterable[AppliedObject], seen: dict[Place, Workload], pods: Iterable[Pod]
) -> list[Resource]:
    here = (place.target.cluster_id, place.target.namespace)
    made = [_resource(place, row, seen.get((*here, row.kind, row.name))) for row in kept]
    replicas = [pod for pod in pods if (pod.cluster_id, pod.namespace) == here]
    for resource in made:
        below = [pod for pod in replicas if _is_below(resource, pod)]
        if resource.kind == "Deployment":
            _hang(place.deployment, resource, below)
        elif resource.kind == kserve.KIND:
            predictor = seen.get((*here, "Deployment", f"{resource.name}{kserve.PREDICTOR}"))
            _hang(place.deployment, _made_by_kserve(place, resource, predictor), below)
    secret = identity_of(place).secret
    if place.token_id is not None:
        said = "The token that fetches the model. Its text is on the cluster alone."
        made.append(Resource(f"{place.pk}-secret", "Secret", secret, "Applied", said))
    if place.is_lost:
        for resource in made:
            _as_last_seen(resource)
    return sorted(made, key=_by_kind)


def _as_last_seen(resource: Resource) -> None:
    """Let an object of a target that can't be asked say how it was; what was applied is applied all the same."""
    if resource.health != "Applied":
        was = f"{resource.health} when last seen"
        resource.said = f"{was}: {resource.said}" if resource.said else f"{was}."
        resource.health = Health.UNKNOWN
    for below in resource.below:
        _as_last_seen(below)


def _resource(place: Placement, row: AppliedObject, seen: Workload | None) -> Resource:
    edits = [edit for edit in place.drift if edit["object"] == f"{row.kind} {row.name}"]
    resource = Resource(
        key=f"{place.pk}-{row.kind}-{row.name}".lower(),
        kind=row.kind,
        name=row.name,
        health=row.health or "Applied",
        said=row.message,
        since=row.applied_at,
        yaml=str(yaml.safe_dump(row.manifest, sort_keys=False)),
        pk=row.pk,
        edits=edits,
    )
    if seen is not None:
        resource.health, resource.said, resource.since = seen.health, seen.message, seen.created_at
    return resource


def _made_by_kserve(place: Placement, service: Resource, predictor: Workload | None) -> Resource:
    """Where the replicas of an InferenceService hang: the Kubernetes Deployment that KServe made of it, once there is
    one."""
    if predictor is None:
        return service
    made = Resource(
        key=f"{place.pk}-deployment-{predictor.name}",
        kind="Deployment",
        name=predictor.name,
        health=predictor.health,
        said=predictor.message,
        since=predictor.created_at,
    )
    service.below.append(made)
    return made


def _is_below(resource: Resource, pod: Pod) -> bool:
    return resource.name == f"{pod.deployment}-r{pod.revision}"


def _hang(deployment: Deployment, resource: Resource, pods: list[Pod]) -> None:
    """Replicas below their Kubernetes Deployment, those that need a look first."""
    pods.sort(key=lambda pod: (-Health(pod.health).severity, pod.name))
    resource.hidden = max(0, len(pods) - MOST_REPLICAS)
    resource.below = [
        Resource(
            key=f"pod-{pod.pk}",
            kind="Pod",
            name=pod.name,
            health=pod.health,
            said="" if pod.health == Health.HEALTHY else pod.message or pod.reason,
            since=pod.created_at,
            url=pod_url(deployment, pod),
        )
        for pod in pods[:MOST_REPLICAS]
    ]


def _by_kind(resource: Resource) -> tuple[int, Any]:
    """By kind; the newest revision first."""
    order = _ORDER.index(resource.kind) if resource.kind in _ORDER else len(_ORDER)
    number = whole(resource.name.rpartition("-r")[2])
    by_revision = resource.kind in ("Deployment", kserve.KIND)
    return order, -number if by_revision and number is not None else resource.name

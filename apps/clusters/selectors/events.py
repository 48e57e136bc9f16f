"""Events as a viewer may see them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db.models import Q, QuerySet

from apps.clusters.models import Cluster, KubeEvent, Node, Pod
from apps.clusters.visibility import Visibility, visibility_of
from apps.core.access import Principal


@dataclass(frozen=True)
class EventView:
    """An event as a viewer may see it: without `event` only its reason and time are shown."""

    reason: str
    type: str
    last_at: Any
    event: KubeEvent | None = None


def events_of(cluster: Cluster, *, warnings_only: bool = False) -> QuerySet[KubeEvent]:
    """Events, newest first."""
    found = KubeEvent.objects.filter(cluster=cluster).order_by("-last_at", "-id")
    return found.filter(type="Warning") if warnings_only else found


def events_of_pod(pod: Pod) -> QuerySet[KubeEvent]:
    """The events that speak of this very pod, newest first."""
    return events_of(pod.cluster).filter(namespace=pod.namespace, involved_name=pod.name, involved_uid=pod.uid)


def events_of_node(node: Node) -> QuerySet[KubeEvent]:
    """The events that speak of a node, newest first. A kubelet gives the node's name as its uid."""
    return events_of(node.cluster).filter(namespace__in=["", "default"], involved_kind="Node", involved_name=node.name)


def chosen(
    found: QuerySet[KubeEvent],
    principal: Principal,
    *,
    reason: str = "",
    kind: str = "",
    namespace: str = "",
    text: str = "",
) -> QuerySet[KubeEvent]:
    """Events by what they say. By kind, namespace and text only those are found that the caller may read."""
    if reason:
        found = found.filter(reason=reason)
    if not (kind or namespace or text):
        return found
    sight = visibility_of(principal)
    found = found if sight.everything else found.filter(_readable(sight))
    if kind:
        found = found.filter(involved_kind=kind)
    if namespace:
        found = found.filter(namespace=namespace)
    if text:
        found = found.filter(Q(involved_name__icontains=text) | Q(message__icontains=text))
    return found


def event_choices(cluster: Cluster, principal: Principal) -> dict[str, list[str]]:
    """The reasons of a cluster's events, and kinds and namespaces of those that the caller may read. Three queries."""
    found = KubeEvent.objects.filter(cluster=cluster).order_by()
    sight = visibility_of(principal)
    readable = found if sight.everything else found.filter(_readable(sight))
    return {
        "reasons": sorted(found.values_list("reason", flat=True).distinct()),
        "kinds": sorted(readable.values_list("involved_kind", flat=True).distinct()),
        "namespaces": sorted(filter(None, readable.values_list("namespace", flat=True).distinct())),
    }


def event_views(found: Iterable[KubeEvent], principal: Principal) -> list[EventView]:
    """Events as the caller may see them."""
    sight = visibility_of(principal)
    return [
        EventView(
            event.reason, event.type, event.last_at, event if sight.allows(event.project) or is_of_node(event) else None
        )
        for event in found
    ]


def is_of_node(event: KubeEvent) -> bool:
    """Whether an event speaks of a node: everyone who is signed in sees nodes with their conditions."""
    return event.involved_kind == "Node" and event.namespace in {"", "default"}


def _readable(sight: Visibility) -> Q:
    return Q(project__in=sight.projects) | Q(involved_kind="Node", namespace__in=["", "default"])

"""Events as a viewer may see them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, Max, Q, QuerySet

from apps.clusters.models import Cluster, KubeEvent, Node, Pod
from apps.clusters.selectors.visibility import Visibility
from apps.core.pages import nav


@dataclass(frozen=True)
class EventView:
    """An event as a viewer may see it: without `event` only its reason and time are shown."""

    reason: str
    type: str
    last_at: Any
    event: KubeEvent | None = None
    # The page of the involved object, "" where there is none.
    url: str = ""


@dataclass(frozen=True)
class HiddenEvents:
    """Events of one reason and type that the viewer may only count, and when the last of them was."""

    reason: str
    type: str
    count: int
    last_at: datetime


def events_of(cluster: Cluster, *, warnings_only: bool = False) -> QuerySet[KubeEvent]:
    """Events, newest first."""
    events = KubeEvent.objects.filter(cluster=cluster).order_by(*KubeEvent.NEWEST_FIRST)
    return events.filter(type="Warning") if warnings_only else events


def events_of_pod(pod: Pod) -> QuerySet[KubeEvent]:
    """The events that speak of this very pod, newest first."""
    return events_of(pod.cluster).filter(namespace=pod.namespace, involved_name=pod.name, involved_uid=pod.uid)


def events_of_node(node: Node) -> QuerySet[KubeEvent]:
    """The events that speak of a node, newest first. A kubelet gives the node's name as its uid."""
    return events_of(node.cluster).filter(namespace__in=["", "default"], involved_kind="Node", involved_name=node.name)


def readable(cluster: Cluster, sight: Visibility, *, warnings_only: bool = False) -> QuerySet[KubeEvent]:
    """The events that somebody with `sight` may read, newest first."""
    events = events_of(cluster, warnings_only=warnings_only)
    return events if sight.everything else events.filter(_readable(sight))


def hidden(cluster: Cluster, sight: Visibility, *, warnings_only: bool = False) -> list[HiddenEvents]:
    """The events that somebody with `sight` may not read, by reason, the newest first. One query, none for
    administrators."""
    if sight.everything:
        return []
    events = events_of(cluster, warnings_only=warnings_only).exclude(_readable(sight)).order_by()
    counted = events.values_list("reason", "type").annotate(Count("id"), last_at=Max("last_at"))
    return [HiddenEvents(*row) for row in counted.order_by("-last_at", "reason")]


def chosen(
    events: QuerySet[KubeEvent], *, reason: str = "", kind: str = "", namespace: str = "", text: str = ""
) -> QuerySet[KubeEvent]:
    """Events by what they say."""
    for column, value in (("reason", reason), ("involved_kind", kind), ("namespace", namespace)):
        events = events.filter(**{column: value}) if value else events
    return events.filter(Q(involved_name__icontains=text) | Q(message__icontains=text)) if text else events


def event_choices(events: QuerySet[KubeEvent]) -> dict[str, list[str]]:
    """The reasons, kinds and namespaces that occur in events. Three queries."""
    columns = {"reasons": "reason", "kinds": "involved_kind", "namespaces": "namespace"}
    plain = events.order_by()
    return {
        key: sorted(filter(None, plain.values_list(column, flat=True).distinct())) for key, column in columns.items()
    }


def event_views(events: Iterable[KubeEvent], sight: Visibility, cluster: str = "") -> list[EventView]:
    """Events as somebody with `sight` may see them; with links where the name of their `cluster` is given.

    An event outlives what it speaks of: it has a link only where that has a page. Two queries at most.
    """
    shown = list(events)
    told = {event.pk for event in shown if sight.allows(event.project) or is_of_node(event)}
    pages = _pages_of([event for event in shown if event.pk in told], sight, cluster) if cluster else {}
    return [
        EventView(event.reason, event.type, event.last_at, event, pages.get(event.pk, ""))
        if event.pk in told
        else EventView(event.reason, event.type, event.last_at)
        for event in shown
    ]


def _pages_of(events: Sequence[KubeEvent], sight: Visibility, cluster: str) -> dict[int, str]:
    """The page of the pod or node that an event speaks of, by the event's primary key."""
    pods = {event.pk: (event.namespace, event.involved_name) for event in events if event.involved_kind == "Pod"}
    nodes = {event.pk: event.involved_name for event in events if is_of_node(event)}
    there = set(_pods_with_page(cluster, set(pods.values()), sight)) if pods else set()
    named = Node.objects.filter(cluster__name=cluster, name__in=set(nodes.values()))
    known = set(named.values_list("name", flat=True)) if nodes else set()
    # A name that no cluster should have makes no link, and must not break the page.
    links = {pk: nav.link("clusters:pod", cluster, *place) for pk, place in pods.items() if place in there}
    return links | {pk: nav.link("clusters:node", cluster, name) for pk, name in nodes.items() if name in known}


def _pods_with_page(cluster: str, places: set[tuple[str, str]], sight: Visibility) -> Iterable[tuple[str, str]]:
    rows = Pod.objects.filter(
        cluster__name=cluster,
        namespace__in={namespace for namespace, _ in places},
        name__in={name for _, name in places},
    )
    rows = rows if sight.everything else rows.filter(project__in=sight.projects)
    return rows.order_by().values_list("namespace", "name").distinct()


def is_of_node(event: KubeEvent) -> bool:
    """Whether an event speaks of a node: everyone who is signed in sees nodes with their conditions."""
    return event.involved_kind == "Node" and event.namespace in {"", "default"}


def _readable(sight: Visibility) -> Q:
    return Q(project__in=sight.projects) | Q(involved_kind="Node", namespace__in=["", "default"])

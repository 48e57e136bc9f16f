"""Pods as a viewer may see them: named, or only their state."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from django.db.models import Case, Count, IntegerField, Q, QuerySet, Value, When

from apps.clusters.models import Cluster, Pod
from apps.clusters.selectors.fleet import is_last_seen, require_signed_in
from apps.clusters.selectors.squares import Square, word
from apps.clusters.selectors.sums import ENDED
from apps.clusters.selectors.visibility import Visibility, visibility_of
from apps.clusters.why import Why
from apps.core.access import Principal
from apps.core.errors import Missing
from apps.core.pages import nav
from apps.core.states import Health

ANONYMOUS = "a pod of another project"
# Pods that need a person come first, ended ones last.
_SEVERITY = Case(
    When(health=Health.DEGRADED, then=Value(0)),
    When(phase__in=ENDED, then=Value(4)),
    When(health=Health.UNKNOWN, then=Value(1)),
    When(health=Health.HEALTHY, then=Value(3)),
    default=Value(2),
    output_field=IntegerField(),
)


@dataclass(frozen=True)
class PodView:
    """A pod as a viewer may see it: without `pod` it is anonymous."""

    name: str
    state: str
    health: str
    reason: str
    detail: str = ""
    url: str = ""
    node_name: str = ""
    pod: Pod | None = None
    ready: bool = False


class Known(NamedTuple):
    """How a pod is now."""

    health: str
    reason: str
    ready: bool


# Of one that may be anything, since its cluster can't be asked.
UNREACHABLE = Known(Health.UNKNOWN.value, "Unreachable", ready=False)
# The same of one whose node does not answer. Its own status, which the node's kubelet writes, says nothing of that.
ON_LOST_NODE = Known(Health.UNKNOWN.value, "NodeLost", ready=False)


def pods_of(cluster: Cluster, principal: Principal, *, namespace: str = "", node: str = "") -> QuerySet[Pod]:
    """Present pods, newest first. With `namespace`, only those that the caller may name."""
    pods = Pod.objects.present().filter(cluster=cluster).order_by("-id")
    if node:
        pods = pods.filter(node_name=node)
    if namespace:
        pods = pods.filter(namespace=namespace)
        sight = visibility_of(principal)
        pods = pods if sight.everything else pods.filter(project__in=sight.projects)
    return pods


def pod_or_404(principal: Principal, cluster_name: str, namespace: str, name: str) -> Pod:
    """The newest pod of that name. Raises Missing also for a pod of a project that the caller can't see."""
    require_signed_in(principal)
    named = Pod.objects.filter(cluster__name=cluster_name, namespace=namespace, name=name)
    pod = named.select_related("cluster").order_by("-id").first()
    if pod is None or not visibility_of(principal).allows(pod.project):
        raise Missing(f"There is no pod {namespace}/{name} on {cluster_name} that you can see.")
    return pod


def squares_of(cluster: Cluster, principal: Principal, *, text: str = "") -> QuerySet[Pod]:
    """Present pods that match every word of `text`, as squares; those that need a person come first."""
    return matching(Pod.objects.present().filter(cluster=cluster), text, visibility_of(principal)).order_by(
        _SEVERITY, "namespace", "name", "id"
    )


def pods_on(cluster: Cluster, node: str, principal: Principal) -> QuerySet[Pod]:
    """Present pods of a node that the viewer may know, those that need a person first, without the columns of a pod's
    own page."""
    pods, sight = Pod.objects.present().filter(cluster=cluster, node_name=node), visibility_of(principal)
    pods = pods if sight.everything else pods.filter(project__in=sight.projects)
    return pods.defer("labels", "status").order_by(_SEVERITY, "namespace", "name", "id")


def others_on(cluster: Cluster, node: str, principal: Principal) -> list[tuple[str, int]]:
    """How many pods of a node that the viewer may not know are in which state, the most frequent first."""
    sight = visibility_of(principal)
    if sight.everything:
        return []
    return _counted(Pod.objects.present().filter(cluster=cluster, node_name=node).exclude(project__in=sight.projects))


def as_squares(pods: QuerySet[Pod], cluster: Cluster, principal: Principal) -> list[Square]:
    """Pods as squares; only the columns that they need are read."""
    sight = visibility_of(principal)
    columns = ("pk", "namespace", "name", "project", "node_name", "health", "reason", "message")
    return [
        Square(
            pk,
            word(reason, health),
            node,
            name if visible else "",
            namespace if visible else "",
            project if visible else "",
            "" if not visible or health == Health.HEALTHY else message[:200],
        )
        for pk, namespace, name, project, node, health, reason, message in pods.values_list(*columns)
        for visible in (sight.allows(project),)
    ]


def states_of(cluster: Cluster) -> tuple[list[tuple[str, int]], int]:
    """How many present pods are in which state, by the word that squares say, the most frequent first; and how many of
    them have ended. One query."""
    pods = Pod.objects.present().filter(cluster=cluster).order_by()
    groups = list(pods.values_list("reason", "health", "phase").annotate(count=Count("id")))
    ended = sum(count for _, _, phase, count in groups if phase in ENDED)
    return _by_word((reason, health, count) for reason, health, _, count in groups), ended


def _counted(pods: QuerySet[Pod]) -> list[tuple[str, int]]:
    return _by_word(pods.order_by().values_list("reason", "health").annotate(count=Count("id")))


def _by_word(groups: Iterable[tuple[str, str, int]]) -> list[tuple[str, int]]:
    counted: dict[str, int] = {}
    for reason, health, count in groups:
        counted[word(reason, health)] = counted.get(word(reason, health), 0) + count
    return sorted(counted.items(), key=lambda state: (-state[1], state[0]))


def matching(pods: QuerySet[Pod], text: str, sight: Visibility) -> QuerySet[Pod]:
    """Those that match every word of `text`: all by state and node, the visible ones by name, namespace and project."""
    for part in text.split():
        named = Q(name__icontains=part) | Q(namespace__icontains=part) | Q(project__icontains=part)
        if not sight.everything:
            named &= Q(project__in=sight.projects)
        state = Q(reason__icontains=part) | Q(health__icontains=part)
        if part.lower() in "ready":
            # A pod that runs and is ready is called "ready".
            state |= Q(reason="Running")
        pods = pods.filter(named | state | Q(node_name__icontains=part))
    return pods


def pod_views(pods: Iterable[Pod], cluster: Cluster, principal: Principal, whys: Mapping[str, Why]) -> list[PodView]:
    """Pods as the caller may see them; `whys` by uid, of those that are unwell."""
    sight = visibility_of(principal)
    return [pod_view(pod, cluster, sight, whys.get(pod.uid)) for pod in pods]


def pod_view(pod: Pod, cluster: Cluster, sight: Visibility, why: Why | None = None) -> PodView:
    """One pod as somebody with `sight` may see it."""
    known = known_of(pod, cluster, why)
    state = UNREACHABLE.health if known is UNREACHABLE else state_word(pod, why)
    if not sight.allows(pod.project):
        return PodView(ANONYMOUS, state, known.health, known.reason, node_name=pod.node_name)
    return PodView(
        name=pod.name,
        state=state,
        health=known.health,
        reason=known.reason,
        detail="" if pod.health == Health.HEALTHY else pod.message[:200],
        url=nav.link("clusters:pod", cluster.name, pod.namespace, pod.name),
        node_name=pod.node_name,
        pod=pod,
        ready=known.ready,
    )


def known_of(pod: Pod, cluster: Cluster, why: Why | None = None) -> Known:
    """How a pod is now, as far as that is known: the same on pages and in REST. `why` it is unwell, where it is."""
    if is_last_seen(pod, cluster):
        return UNREACHABLE
    return ON_LOST_NODE if _is_lost(pod, why) else Known(pod.health, pod.reason, pod.ready)


def state_word(pod: Pod, why: Why | None = None) -> str:
    """The one word for a pod. `why` it is unwell, where it is."""
    if pod.deleted_at is not None:
        return "Deleted"
    return ON_LOST_NODE.reason if _is_lost(pod, why) else word(pod.reason, pod.health)


def _is_lost(pod: Pod, why: Why | None) -> bool:
    return why is not None and why.state == ON_LOST_NODE.reason and pod.phase not in ENDED

"""Every read of clusters, with a number of queries that does not grow with the rows."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db.models import Count, Q, QuerySet, Sum
from django.urls import reverse
from django.utils import timezone

from apps.clusters.models import Cluster, KubeEvent, Node, Pod
from apps.clusters.states import ClusterState
from apps.clusters.visibility import Visibility, visibility_of
from apps.core import look
from apps.core.access import Principal
from apps.core.errors import Missing, NotAllowed
from apps.core.overview import Capacity
from apps.core.states import Health

ENDED = ("Succeeded", "Failed")
ANONYMOUS = "a pod of another project"
YOUNG = timedelta(minutes=2)
_ACTIVE = Q(deleted_at__isnull=True) & ~Q(phase__in=ENDED)


@dataclass(frozen=True)
class ClusterRow:
    """A cluster with its sums."""

    cluster: Cluster
    nodes: int = 0
    nodes_ready: int = 0
    pods: int = 0
    pods_bad: int = 0
    cpu: Capacity = field(default_factory=Capacity)
    memory: Capacity = field(default_factory=Capacity)
    gpu: Capacity = field(default_factory=Capacity)

    @property
    def is_current(self) -> bool:
        """Whether what is shown is what is; otherwise it is greyed, with its age."""
        return self.cluster.state in {ClusterState.HEALTHY, ClusterState.DEGRADED}


@dataclass(frozen=True)
class PodView:
    """A pod as a viewer may see it: without `pod` it is anonymous."""

    name: str
    state: str
    health: str
    reason: str
    detail: str = ""
    url: str = ""
    young: bool = False
    node_name: str = ""
    pod: Pod | None = None


@dataclass(frozen=True)
class NodeView:
    """A node with its bars and its pods."""

    node: Node
    cpu: Capacity
    memory: Capacity
    gpu: Capacity
    pods: Sequence[PodView]


@dataclass(frozen=True)
class EventView:
    """An event as a viewer may see it: without `event` only its reason and time are shown."""

    reason: str
    type: str
    last_at: Any
    event: KubeEvent | None = None


def require_signed_in(principal: Principal) -> None:
    """Clusters are for everyone who is signed in, and for nobody else. Raises NotAllowed."""
    if not principal.is_authenticated:
        raise NotAllowed("Sign in to see clusters.")


def clusters(principal: Principal) -> QuerySet[Cluster]:
    """All clusters by name."""
    require_signed_in(principal)
    return Cluster.objects.order_by("name")


def cluster_or_404(principal: Principal, name: str) -> Cluster:
    """The cluster named `name`. Raises Missing."""
    cluster = clusters(principal).filter(name=name).first()
    if cluster is None:
        raise Missing(f"There is no cluster {name!r}.")
    return cluster


def with_sums(found: Iterable[Cluster]) -> list[ClusterRow]:
    """The clusters with their sums: two more queries for all of them."""
    wanted = list(found)
    ids = [cluster.pk for cluster in wanted]
    nodes = _node_sums(Node.objects.filter(cluster__in=ids), "cluster_id")
    pods = {
        row["cluster_id"]: row
        for row in Pod.objects.filter(cluster__in=ids, deleted_at=None)
        .order_by()
        .values("cluster_id")
        .annotate(
            pods=Count("id", filter=_ACTIVE),
            bad=Count("id", filter=Q(health=Health.DEGRADED) & _ACTIVE),
            **_request_sums(),
        )
    }
    return [_row(cluster, nodes.get(cluster.pk, {}), pods.get(cluster.pk, {})) for cluster in wanted]


def nodes_of(cluster: Cluster, principal: Principal) -> tuple[list[NodeView], list[PodView]]:
    """The nodes with their pods, and the pods that have no node (yet). Three queries at most."""
    sight = visibility_of(principal)
    nodes = list(Node.objects.filter(cluster=cluster).order_by("name"))
    by_node: dict[str, list[Pod]] = defaultdict(list)
    for pod in _present_pods(cluster):
        by_node[pod.node_name].append(pod)
    known = {node.name for node in nodes}
    homeless = [pod for name, pods in by_node.items() if name not in known for pod in pods if pod.phase not in ENDED]
    views = [_node_view(node, by_node.get(node.name, []), cluster, sight) for node in nodes]
    return views, [pod_view(pod, cluster, sight) for pod in homeless]


def pods_of(cluster: Cluster, principal: Principal, *, namespace: str = "", node: str = "") -> QuerySet[Pod]:
    """Present pods, newest first. By namespace only what may be named is found."""
    found = Pod.objects.present().filter(cluster=cluster).order_by("-id")
    if node:
        found = found.filter(node_name=node)
    if namespace:
        found = found.filter(namespace=namespace)
        sight = visibility_of(principal)
        found = found if sight.everything else found.filter(project__in=sight.projects)
    return found


def pod_or_404(principal: Principal, cluster_name: str, namespace: str, name: str) -> Pod:
    """The newest pod of that name. Raises Missing also for a pod of a project that the caller can't see."""
    require_signed_in(principal)
    found = Pod.objects.filter(cluster__name=cluster_name, namespace=namespace, name=name)
    pod = found.select_related("cluster").order_by("-id").first()
    if pod is None or not visibility_of(principal).allows(pod.project):
        raise Missing(f"There is no pod {namespace}/{name} on {cluster_name} that you can see.")
    return pod


def events_of(cluster: Cluster, *, warnings_only: bool = False) -> QuerySet[KubeEvent]:
    """Events, newest first."""
    found = KubeEvent.objects.filter(cluster=cluster).order_by("-last_at", "-id")
    return found.filter(type="Warning") if warnings_only else found


def events_of_pod(pod: Pod) -> QuerySet[KubeEvent]:
    """The events that speak of this very pod, newest first."""
    return events_of(pod.cluster).filter(namespace=pod.namespace, involved_name=pod.name, involved_uid=pod.uid)


def event_views(found: Iterable[KubeEvent], principal: Principal) -> list[EventView]:
    """Events as the caller may see them."""
    sight = visibility_of(principal)
    return [
        EventView(event.reason, event.type, event.last_at, event if sight.allows(event.project) else None)
        for event in found
    ]


def pod_views(found: Iterable[Pod], cluster: Cluster, principal: Principal) -> list[PodView]:
    """Pods as the caller may see them."""
    sight = visibility_of(principal)
    return [pod_view(pod, cluster, sight) for pod in found]


def pod_view(pod: Pod, cluster: Cluster, sight: Visibility) -> PodView:
    """One pod as somebody with `sight` may see it."""
    state = state_word(pod)
    if not sight.allows(pod.project):
        return PodView(ANONYMOUS, state, pod.health, pod.reason, node_name=pod.node_name)
    started = pod.started_at or pod.created_at
    return PodView(
        name=pod.name,
        state=state,
        health=pod.health,
        reason=pod.reason,
        detail="" if pod.health == Health.HEALTHY else pod.message[:200],
        url=reverse("clusters:pod", args=[cluster.name, pod.namespace, pod.name]),
        young=started is not None and timezone.now() - started < YOUNG,
        node_name=pod.node_name,
        pod=pod,
    )


def state_word(pod: Pod) -> str:
    """The one word for a pod: Kubernetes's reason where it has a look of its own, else the health."""
    if pod.deleted_at is not None:
        return "Deleted"
    if pod.reason == "Running":
        return "Ready"
    return pod.reason if look.look_of(pod.reason) is not look.DIM else pod.health


def _present_pods(cluster: Cluster) -> QuerySet[Pod]:
    return (
        Pod.objects.present()
        .filter(cluster=cluster)
        .only(
            *("namespace", "name", "project", "node_name", "phase", "health", "reason", "message", "started_at"),
            *("created_at", "deleted_at", "requests_cpu_m", "requests_memory_b", "requests_gpu"),
        )
        .order_by("namespace", "name")
    )


def _node_view(node: Node, pods: list[Pod], cluster: Cluster, sight: Visibility) -> NodeView:
    active = [pod for pod in pods if pod.phase not in ENDED]
    gpus = sum(pod.requests_gpu for pod in active)
    return NodeView(
        node=node,
        cpu=Capacity(node.used_cpu_m, sum(pod.requests_cpu_m for pod in active), node.allocatable_cpu_m, "cpu"),
        memory=Capacity(
            node.used_memory_b, sum(pod.requests_memory_b for pod in active), node.allocatable_memory_b, "bytes"
        ),
        # A GPU that a running pod has asked for is in use: nobody else can have it.
        gpu=Capacity(sum(pod.requests_gpu for pod in active if pod.phase == "Running"), gpus, node.allocatable_gpu),
        pods=[pod_view(pod, cluster, sight) for pod in pods],
    )


def _node_sums(found: QuerySet[Node], by: str) -> dict[int, dict[str, Any]]:
    sums = (
        found.order_by()
        .values(by)
        .annotate(
            nodes=Count("id"),
            nodes_ready=Count("id", filter=Q(ready=True)),
            total_cpu=Sum("allocatable_cpu_m"),
            total_memory=Sum("allocatable_memory_b"),
            total_gpu=Sum("allocatable_gpu"),
            used_cpu=Sum("used_cpu_m"),
            used_memory=Sum("used_memory_b"),
        )
    )
    return {row[by]: row for row in sums}


def _request_sums() -> dict[str, Any]:
    placed = _ACTIVE & ~Q(node_name="")
    return {
        "cpu": Sum("requests_cpu_m", filter=placed),
        "memory": Sum("requests_memory_b", filter=placed),
        "gpu": Sum("requests_gpu", filter=placed),
        "gpu_running": Sum("requests_gpu", filter=placed & Q(phase="Running")),
    }


def _row(cluster: Cluster, nodes: Mapping[str, Any], pods: Mapping[str, Any]) -> ClusterRow:
    return ClusterRow(
        cluster=cluster,
        nodes=nodes.get("nodes", 0),
        nodes_ready=nodes.get("nodes_ready", 0),
        pods=pods.get("pods", 0),
        pods_bad=pods.get("bad", 0),
        cpu=Capacity(nodes.get("used_cpu"), pods.get("cpu") or 0, nodes.get("total_cpu") or 0, "cpu"),
        memory=Capacity(nodes.get("used_memory"), pods.get("memory") or 0, nodes.get("total_memory") or 0, "bytes"),
        gpu=Capacity(pods.get("gpu_running") or 0, pods.get("gpu") or 0, nodes.get("total_gpu") or 0),
    )

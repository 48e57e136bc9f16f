"""Clusters with their sums, who holds what of them, and which pods fail where."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from django.db.models import Count, QuerySet

from apps.clusters.models import Cluster, Node, Pod
from apps.clusters.selectors.sums import ACTIVE, GpuUse, Room, grouped, measured, node_groups, pod_groups, room
from apps.clusters.states import ClusterState
from apps.clusters.visibility import visibility_of
from apps.core.access import Principal
from apps.core.errors import Missing, NotAllowed
from apps.core.overview import Capacity
from apps.core.states import Health


@dataclass(frozen=True)
class ClusterRow:
    """A cluster with its sums."""

    cluster: Cluster
    room: Room = field(default_factory=Room)

    @property
    def nodes(self) -> int:
        """How many nodes there are."""
        return self.room.nodes

    @property
    def nodes_ready(self) -> int:
        """How many of them are ready."""
        return self.room.nodes_ready

    @property
    def pods(self) -> int:
        """Pods that have not ended."""
        return self.room.pods

    @property
    def pods_bad(self) -> int:
        """Those of them that fail."""
        return self.room.pods_bad

    @property
    def cpu(self) -> Capacity:
        """In millicores."""
        return self.room.cpu

    @property
    def memory(self) -> Capacity:
        """In bytes."""
        return self.room.memory

    @property
    def gpu(self) -> Capacity:
        """GPUs of all kinds."""
        return self.room.gpu

    @property
    def gpus(self) -> tuple[GpuUse, ...]:
        """GPUs by kind."""
        return self.room.gpus

    @property
    def is_current(self) -> bool:
        """Whether what is shown is what is; otherwise it is greyed, with its age."""
        return is_current(self.cluster)


@dataclass(frozen=True)
class ProjectUse:
    """What one project holds; `name` is "" for all that the viewer may not tell apart."""

    name: str
    pods: int
    room: Room


def is_current(cluster: Cluster) -> bool:
    """Whether a cluster is watched now."""
    return cluster.state in {ClusterState.HEALTHY, ClusterState.DEGRADED}


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
    nodes = grouped(node_groups(Node.objects.filter(cluster__in=ids), "cluster_id"), "cluster_id")
    pods = grouped(pod_groups(Pod.objects.filter(cluster__in=ids), "cluster_id"), "cluster_id")
    return [ClusterRow(cluster, room(nodes.get(cluster.pk, []), pods.get(cluster.pk, []))) for cluster in wanted]


def projects_on(found: Iterable[Cluster], principal: Principal) -> list[ProjectUse]:
    """Who holds what of these clusters, by project; what the caller may not see is one row, the last. Two queries."""
    sight = visibility_of(principal)
    ids = [cluster.pk for cluster in found]
    by_name: dict[str, list[dict[str, object]]] = {}
    for group in pod_groups(Pod.objects.filter(cluster__in=ids), "project"):
        name = group["project"] if group["project"] and sight.allows(group["project"]) else ""
        by_name.setdefault(name, []).append(dict(group))
    uses = [ProjectUse(name, *_held(groups)) for name, groups in by_name.items()]
    return sorted(
        uses, key=lambda use: (not use.name, -(use.room.gpu.asked or 0), -(use.room.cpu.asked or 0), use.name)
    )


def failing_pods(found: Iterable[Cluster]) -> dict[int, dict[str, int]]:
    """How many pods fail for which reason, by cluster. One query."""
    bad = Pod.objects.filter(ACTIVE, cluster__in=[cluster.pk for cluster in found], health=Health.DEGRADED)
    counted = (
        bad.order_by().values_list("cluster_id", "reason").annotate(count=Count("id")).order_by("-count", "reason")
    )
    by_cluster: dict[int, dict[str, int]] = {}
    for cluster_id, reason, count in counted:
        by_cluster.setdefault(cluster_id, {})[reason] = count
    return by_cluster


def _held(groups: list[dict[str, object]]) -> tuple[int, Room]:
    held = room([], groups)
    # No node reports what a project uses; its pods do.
    cpu = Capacity(measured(groups, "used_cpu"), held.cpu.asked, None, "cpu")
    memory = Capacity(measured(groups, "used_memory"), held.memory.asked, None, "bytes")
    return held.pods, Room(pods=held.pods, pods_bad=held.pods_bad, cpu=cpu, memory=memory, gpus=held.gpus)

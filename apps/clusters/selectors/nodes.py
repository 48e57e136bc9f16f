"""Nodes with their sums."""

from collections.abc import Mapping
from dataclasses import dataclass

from django.db.models import QuerySet

from apps.clusters.models import Cluster, Node, Pod
from apps.clusters.selectors.sums import GpuUse, Room, grouped, pod_groups, room
from apps.core.access import Principal
from apps.core.errors import Missing
from apps.core.overview import Capacity

# What a row of a table shows; conditions, taints and capacity are for the node's own page.
_COLUMNS = (
    *("name", "labels", "ready", "schedulable", "health", "reason", "message", "kubelet_version", "allocatable_pods"),
    *("allocatable_cpu_m", "allocatable_memory_b", "allocatable_gpus", "used_cpu_m", "used_memory_b", "created_at"),
)


@dataclass(frozen=True)
class NodeRow:
    """A node with what its pods ask for."""

    node: Node
    room: Room

    @property
    def cpu(self) -> Capacity:
        """In millicores."""
        return self.room.cpu

    @property
    def memory(self) -> Capacity:
        """In bytes."""
        return self.room.memory

    @property
    def gpus(self) -> tuple[GpuUse, ...]:
        """GPUs by kind."""
        return self.room.gpus

    @property
    def pods(self) -> int:
        """Pods that have not ended."""
        return self.room.pods

    @property
    def pods_bad(self) -> int:
        """Those of them that fail."""
        return self.room.pods_bad


def nodes_of(cluster: Cluster) -> QuerySet[Node]:
    """The nodes by name."""
    return Node.objects.filter(cluster=cluster).order_by("name")


def node_rows(cluster: Cluster, *, text: str = "", labels: Mapping[str, str | None] | None = None) -> list[NodeRow]:
    """The nodes whose name contains `text` and that carry `labels` (None: any value), with their sums. Two queries."""
    found = nodes_of(cluster).only("cluster_id", *_COLUMNS)
    if text:
        found = found.filter(name__icontains=text)
    for key, value in (labels or {}).items():
        found = found.filter(labels__has_key=key) if value is None else found.filter(labels__contains={key: value})
    nodes = list(found)
    pods = grouped(pod_groups(Pod.objects.filter(cluster=cluster), "node_name"), "node_name")
    return [node_row(node, pods.get(node.name, [])) for node in nodes]


def node_row(node: Node, pods: list[Mapping[str, object]]) -> NodeRow:
    """A node with the sums of its pods."""
    there = {
        "allocatable_gpus": node.allocatable_gpus,
        "count": 1,
        "ready_count": int(node.ready),
        "cpu": node.allocatable_cpu_m,
        "memory": node.allocatable_memory_b,
        "used_cpu": node.used_cpu_m,
        "used_memory": node.used_memory_b,
    }
    return NodeRow(node, room([there], pods))


def node_or_404(principal: Principal, cluster: Cluster, name: str) -> NodeRow:
    """One node with its sums. Raises Missing. `cluster` has been through the access door. Two queries."""
    node = Node.objects.filter(cluster=cluster, name=name).order_by("-id").first()
    if node is None:
        raise Missing(f"There is no node {name!r} on {cluster.name}.", hint="It may have left the cluster.")
    node.cluster = cluster
    return node_row(node, list(pod_groups(Pod.objects.filter(cluster=cluster, node_name=name))))

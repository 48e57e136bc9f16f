"""Nodes with their sums."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from django.db.models import Count, QuerySet, Sum

from apps.clusters.models import Cluster, Node, Pod
from apps.clusters.selectors.sums import ACTIVE, HasRoom, Room, grouped, pod_groups, room
from apps.core.access import Principal
from apps.core.errors import Missing

# The columns of a table's row; conditions, taints and capacity are for the node's own page.
_COLUMNS = (
    *(
        "cluster_id",
        "name",
        "labels",
        "ready",
        "schedulable",
        "health",
        "reason",
        "message",
        "kubelet_version",
        "allocatable_pods",
    ),
    *("allocatable_cpu_m", "allocatable_memory_b", "allocatable_gpus", "used_cpu_m", "used_memory_b", "created_at"),
)


@dataclass(frozen=True)
class NodeRow(HasRoom):
    """A node with what its pods ask for."""

    node: Node
    room: Room


@dataclass(frozen=True)
class Brief:
    """The columns by which people search and tell nodes apart; 500 of them are read in no time."""

    pk: int
    name: str
    health: str
    reason: str
    created_at: datetime | None
    labels: Mapping[str, str]
    cpu: int
    memory: int
    gpu: int


class Asked(NamedTuple):
    """The sum of a node's pods: their number, and the millicores, bytes and GPUs of all kinds that they ask for."""

    pods: int = 0
    cpu: int = 0
    memory: int = 0
    gpu: int = 0


def nodes_of(cluster: Cluster) -> QuerySet[Node]:
    """The nodes by name."""
    return Node.objects.filter(cluster=cluster).order_by("name")


def briefs(cluster: Cluster, *, text: str = "", labels: Mapping[str, str | None] | None = None) -> list[Brief]:
    """The nodes by name whose name contains `text` and that carry `labels` (None: any value). One query."""
    nodes = nodes_of(cluster)
    if text:
        nodes = nodes.filter(name__icontains=text)
    for key, value in (labels or {}).items():
        nodes = nodes.filter(labels__has_key=key) if value is None else nodes.filter(labels__contains={key: value})
    columns = ("pk", "name", "health", "reason", "created_at", "labels")
    room = ("allocatable_cpu_m", "allocatable_memory_b", "allocatable_gpu")
    return [Brief(*row) for row in nodes.values_list(*columns, *room)]


def asked_by_node(cluster: Cluster) -> dict[str, Asked]:
    """The sums that pods ask for, by the name of their node. One query."""
    pods = Pod.objects.filter(ACTIVE, cluster=cluster).order_by().values_list("node_name")
    sums = pods.annotate(Count("id"), Sum("requests_cpu_m"), Sum("requests_memory_b"), Sum("requests_gpu"))
    return {name: Asked(*figures) for name, *figures in sums}


def node_rows(cluster: Cluster, shown: Sequence[Brief]) -> list[NodeRow]:
    """Nodes with their sums, in the order of `shown`. Two queries."""
    nodes = {node.pk: node for node in nodes_of(cluster).filter(pk__in=[brief.pk for brief in shown]).only(*_COLUMNS)}
    pods = Pod.objects.filter(cluster=cluster, node_name__in=[node.name for node in nodes.values()])
    by_node = grouped(pod_groups(pods, "node_name"), "node_name")
    # A node may have left between the two questions.
    present = [nodes[brief.pk] for brief in shown if brief.pk in nodes]
    return [node_row(node, by_node.get(node.name, [])) for node in present]


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


def has_node(cluster: Cluster, name: str) -> bool:
    """Whether there is such a node, so that it has a page. `cluster` has been through the access door. One query."""
    return Node.objects.filter(cluster=cluster, name=name).exists()


def node_or_404(principal: Principal, cluster: Cluster, name: str) -> NodeRow:
    """One node with its sums. Raises Missing. `cluster` has been through the access door. Two queries."""
    node = Node.objects.filter(cluster=cluster, name=name).order_by("-id").first()
    if node is None:
        raise Missing(f"There is no node {name!r} on {cluster.name}.", hint="It may have left the cluster.")
    node.cluster = cluster
    return node_row(node, list(pod_groups(Pod.objects.filter(cluster=cluster, node_name=name))))

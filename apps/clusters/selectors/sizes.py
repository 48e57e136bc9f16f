"""Whether any node of a cluster can take what a container asks for."""

from django.db.models import BigIntegerField, QuerySet
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast

from apps.clusters.models import Cluster, Node
from apps.clusters.sizes import GPU, Size, misfit

# A cluster with this label makes nodes as they are needed, so that those that it has now say nothing of what may come.
AUTOSCALING = ("autoscaling", "true")


def check_fits(cluster: Cluster, asked: Size) -> None:
    """Nothing where a node of the cluster is large enough (one query), or its nodes are not known.

    Raises Invalid naming the field and the largest node. Taints, selectors and what runs there are the scheduler's
    part: they may change, while a node doesn't grow.
    """
    if cluster.labels.get(AUTOSCALING[0]) == AUTOSCALING[1]:
        return
    nodes = Node.objects.filter(cluster=cluster).annotate(
        gpu=Cast(KeyTextTransform(GPU, "allocatable_gpus"), BigIntegerField())
    )
    large = nodes.filter(allocatable_cpu_m__gte=asked.cpu_m, allocatable_memory_b__gte=asked.memory_b)
    if (large.filter(gpu__gte=asked.gpu) if asked.gpu else large).exists():
        return
    largest = [found for field in ("allocatable_cpu_m", "allocatable_memory_b", "gpu") for found in _most(nodes, field)]
    if largest:
        raise misfit(asked, largest, cluster.name)


def _most(nodes: QuerySet[Node], field: str) -> list[Size]:
    rows = nodes.filter(**{f"{field}__isnull": False}).order_by(f"-{field}", "name")[:1]
    return [
        Size(row.allocatable_cpu_m, row.allocatable_memory_b, row.allocatable_gpus.get(GPU, 0), row.name)
        for row in rows
    ]

"""Whether any node of a cluster can take what a container asks for."""

from collections.abc import Iterable

from django.db.models import BigIntegerField, QuerySet
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast

from apps.clusters.models import Cluster, Node
from apps.clusters.quantities.sizes import GPU, Size, misfit
from apps.core.database import prepared

# A cluster with this label makes nodes as they are needed, so that those that it has now say nothing of what may come.
AUTOSCALING = ("autoscaling", "true")


def check_fits(cluster: Cluster, size: Size) -> None:
    """Nothing where a node of the cluster is large enough (one query), or its nodes are not known.

    Raises Invalid naming the field and the largest node. Taints, selectors and what runs there are the scheduler's
    part: they may change, while a node doesn't grow.
    """
    if makes_nodes(cluster):
        return
    nodes = Node.objects.filter(cluster=cluster).annotate(
        gpu=Cast(KeyTextTransform(GPU, "allocatable_gpus"), BigIntegerField())
    )
    large = nodes.filter(allocatable_cpu_m__gte=size.cpu_m, allocatable_memory_b__gte=size.memory_b)
    if (large.filter(gpu__gte=size.gpu) if size.gpu else large).exists():
        return
    largest = [node for field in ("allocatable_cpu_m", "allocatable_memory_b", "gpu") for node in _most(nodes, field)]
    if largest:
        raise misfit(size, largest, cluster.name)


# The first container that no node of its cluster can take, where the nodes are known.
_MISFIT = f"""
SELECT asked.position FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[])
  WITH ORDINALITY AS asked(cluster_id, cpu_m, memory_b, gpu, position)
WHERE EXISTS (SELECT 1 FROM {Node._meta.db_table} AS node WHERE node.cluster_id = asked.cluster_id)
  AND NOT EXISTS (
    SELECT 1 FROM {Node._meta.db_table} AS node
    WHERE node.cluster_id = asked.cluster_id
      AND node.allocatable_cpu_m >= asked.cpu_m AND node.allocatable_memory_b >= asked.memory_b
      AND (asked.gpu = 0 OR (node.allocatable_gpus->>%s::text)::bigint >= asked.gpu)
  )
ORDER BY asked.position LIMIT 1
"""  # noqa: S608 - the only name in it is the table's


def check_all_fit(containers: Iterable[tuple[Cluster, Size]]) -> None:
    """The same for many containers in one query, however many. Raises Invalid about the first that fits nowhere."""
    different = {(cluster.pk, size): (cluster, size) for cluster, size in containers if not makes_nodes(cluster)}
    pairs = list(different.values())
    columns = [[cluster.pk for cluster, _ in pairs]]
    columns += [[size.of(resource) for _, size in pairs] for resource in ("cpu", "memory", GPU)]
    with prepared.cursor() as cursor:
        cursor.execute(_MISFIT, [*columns, GPU])
        misfits = cursor.fetchall()
    if misfits:
        check_fits(*pairs[misfits[0][0] - 1])


def makes_nodes(cluster: Cluster) -> bool:
    """Whether it makes nodes as they are needed."""
    return bool(cluster.labels.get(AUTOSCALING[0]) == AUTOSCALING[1])


def _most(nodes: QuerySet[Node], field: str) -> list[Size]:
    rows = nodes.filter(**{f"{field}__isnull": False}).order_by(f"-{field}", "name")[:1]
    return [
        Size(row.allocatable_cpu_m, row.allocatable_memory_b, row.allocatable_gpus.get(GPU, 0), row.name)
        for row in rows
    ]

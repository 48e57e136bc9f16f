"""The room that is free on clusters for pods that come now: each resource by its own name, on nodes that take pods."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from django.db import connection

from apps.clusters.models import Node, Pod
from apps.clusters.selectors.sums import ENDED


class Free(NamedTuple):
    """How much of a resource no pod has asked for: on all nodes that take pods together, and on the one with most,
    which is all that one pod could get. CPU in millicores, memory in bytes."""

    total: int
    on_one_node: int


NOTHING = Free(0, 0)
# No pod can get what is free on a node that is cordoned, not ready, or full of pods.
_FREE = f"""
WITH pod AS (
  SELECT cluster_id, node_name, requests_cpu_m, requests_memory_b, requests_gpus FROM {Pod._meta.db_table}
  WHERE cluster_id = ANY(%(ids)s) AND deleted_at IS NULL AND phase <> ALL(%(ended)s) AND node_name <> ''
), held AS (
  SELECT cluster_id, node_name, count(*) AS pods, sum(requests_cpu_m) AS cpu, sum(requests_memory_b) AS memory
  FROM pod GROUP BY cluster_id, node_name
), taken AS (
  SELECT cluster_id, node_name, gpu.key AS kind, sum(gpu.value::bigint) AS count
  FROM pod, jsonb_each_text(requests_gpus) AS gpu WHERE requests_gpus <> '{{}}' GROUP BY cluster_id, node_name, gpu.key
), usable AS (
  SELECT node.*, coalesce(held.cpu, 0) AS cpu, coalesce(held.memory, 0) AS memory
  FROM {Node._meta.db_table} AS node
  LEFT JOIN held ON held.cluster_id = node.cluster_id AND held.node_name = node.name
  WHERE node.cluster_id = ANY(%(ids)s) AND node.ready AND node.schedulable
    AND (node.allocatable_pods = 0 OR coalesce(held.pods, 0) < node.allocatable_pods)
), free AS (
  SELECT cluster_id, 'cpu' AS resource, allocatable_cpu_m - cpu AS amount FROM usable
  UNION ALL SELECT cluster_id, 'memory', allocatable_memory_b - memory FROM usable
  UNION ALL SELECT usable.cluster_id, gpu.key, gpu.value::bigint - coalesce(taken.count, 0)
  FROM usable CROSS JOIN jsonb_each_text(usable.allocatable_gpus) AS gpu
  LEFT JOIN taken ON taken.cluster_id = usable.cluster_id AND taken.node_name = usable.name AND taken.kind = gpu.key
)
SELECT cluster_id, resource, sum(greatest(amount, 0))::bigint, greatest(max(amount), 0)::bigint
FROM free GROUP BY cluster_id, resource
"""  # noqa: S608 - the only names in it are the tables'


def free_room(cluster_ids: Sequence[int]) -> Mapping[int, Mapping[str, Free]]:
    """The room that is free on each cluster, by resource: "cpu", "memory", and each kind of GPU. One query.

    Taints are left out of account: a pod that asks for a GPU tolerates those of its nodes.
    """
    by_cluster: dict[int, dict[str, Free]] = {}
    with connection.cursor() as cursor:
        cursor.execute(_FREE, {"ids": list(cluster_ids), "ended": list(ENDED)})
        for cluster_id, resource, total, most in cursor.fetchall():
            by_cluster.setdefault(cluster_id, {})[resource] = Free(total, most)
    return by_cluster

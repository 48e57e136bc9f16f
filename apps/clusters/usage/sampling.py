"""One round of samples of one cluster: by one statement, out of the observed rows and what metrics-server measured."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import connection

from apps.clusters.observed.rows import Row
from apps.clusters.usage import partitions
from apps.clusters.usage.levels import RAW, Kind, floor
from apps.core.text.jsontext import storable

# Labels that tell one node from its like: a place is what nodes have in common.
OWN_LABEL = "kubernetes.io/hostname"
# The end of the key of a workload's series of pods that were not measured.
_BLIND = "unmeasured"

_NEW_PLACES = """
INSERT INTO clusters_usageplace (digest, labels)
SELECT DISTINCT md5((labels - %(own)s)::text), labels - %(own)s FROM clusters_node n
WHERE cluster_id = %(cluster)s
  AND NOT EXISTS (SELECT 1 FROM clusters_usageplace p WHERE p.digest = md5((n.labels - %(own)s)::text))
ORDER BY 1 -- or two clusters that bring the same places would wait for each other
ON CONFLICT DO NOTHING
"""

# A pod holds what it asked for from the moment it has a node until it ends; only that counts. Use comes from this very
# round, and not from the rows: a figure that is no longer measured would be repeated for ever. The pods of a workload
# that were not measured (they are new, or on a node that metrics-server can't reach) are a series of their own, or what
# they ask for would seem to stand idle.
_FIGURES = """
WITH nodes AS (
  SELECT DISTINCT ON (n.name) n.uid, n.name, n.allocatable_cpu_m, n.allocatable_memory_b, n.allocatable_gpu,
         p.id AS place_id, m.cpu AS used_cpu, m.memory AS used_memory
  FROM clusters_node n
  LEFT JOIN clusters_usageplace p ON p.digest = md5((n.labels - %(own)s)::text)
  LEFT JOIN jsonb_to_recordset(%(nodes)s::jsonb) AS m(name text, cpu bigint, memory bigint) ON m.name = n.name
  WHERE n.cluster_id = %(cluster)s ORDER BY n.name, n.id DESC
), held AS MATERIALIZED (
  SELECT p.uid, p.namespace, p.name, p.project, p.run, p.deployment, p.revision, p.node_name, n.place_id,
         m.cpu AS used_cpu, m.memory AS used_memory, p.requests_cpu_m AS asked_cpu,
         p.requests_memory_b AS asked_memory, p.requests_gpu AS asked_gpu
  FROM clusters_pod p
  LEFT JOIN nodes n ON n.name = p.node_name
  LEFT JOIN jsonb_to_recordset(%(pods)s::jsonb) AS m(namespace text, name text, cpu bigint, memory bigint)
    ON m.namespace = p.namespace AND m.name = p.name
  WHERE p.cluster_id = %(cluster)s AND p.deleted_at IS NULL AND p.node_name <> ''
    AND p.phase NOT IN ('Succeeded', 'Failed')
), by_node AS (
  SELECT node_name, sum(asked_cpu) AS cpu, sum(asked_memory) AS memory, sum(asked_gpu) AS gpu, count(*) AS pods
  FROM held GROUP BY node_name
), figures AS (
  SELECT %(pod)s AS kind, uid AS key, namespace, name, project, run, deployment, revision, node_name, place_id,
         used_cpu::real, asked_cpu::real, used_memory::real, asked_memory::real, asked_gpu::real, NULL::real AS pods,
         NULL::real AS room_cpu, NULL::real AS room_memory, NULL::real AS room_gpu
  FROM held WHERE project <> ''
  UNION ALL
  SELECT %(workload)s,
         concat_ws('/', project, deployment, run, coalesce(place_id, 0), CASE WHEN used_cpu IS NULL THEN %(blind)s END),
         '', '', project, run, deployment, '', '', place_id, sum(used_cpu), sum(asked_cpu), sum(used_memory),
         sum(asked_memory), sum(asked_gpu), count(*), NULL, NULL, NULL
  FROM held WHERE project <> '' GROUP BY project, deployment, run, place_id, used_cpu IS NULL
  UNION ALL
  SELECT %(namespace)s, namespace, namespace, namespace, max(project), '', '', '', '', NULL, sum(used_cpu),
         sum(asked_cpu), sum(used_memory), sum(asked_memory), sum(asked_gpu), count(*), NULL, NULL, NULL
  FROM held GROUP BY namespace
  UNION ALL
  SELECT %(node)s, uid, '', name, '', '', '', '', name, place_id, used_cpu, coalesce(h.cpu, 0), used_memory,
         coalesce(h.memory, 0), coalesce(h.gpu, 0), coalesce(h.pods, 0), allocatable_cpu_m, allocatable_memory_b,
         allocatable_gpu
  FROM nodes LEFT JOIN by_node h ON h.node_name = name
  UNION ALL
  SELECT %(whole)s, '', '', '', '', '', '', '', '', NULL, (SELECT sum(used_cpu) FROM nodes),
         coalesce(sum(cpu), 0), (SELECT sum(used_memory) FROM nodes), coalesce(sum(memory), 0), coalesce(sum(gpu), 0),
         coalesce(sum(pods), 0), (SELECT coalesce(sum(allocatable_cpu_m), 0) FROM nodes),
         (SELECT coalesce(sum(allocatable_memory_b), 0) FROM nodes),
         (SELECT coalesce(sum(allocatable_gpu), 0) FROM nodes)
  FROM by_node
)
"""

_RECORD = f"""
{_FIGURES}, known AS MATERIALIZED (
  SELECT f.*, s.id, s.seen_at FROM figures f
  LEFT JOIN clusters_usageseries s ON s.cluster_id = %(cluster)s AND s.kind = f.kind AND s.key = f.key
), made AS (
  INSERT INTO clusters_usageseries
    (cluster_id, kind, key, namespace, name, project, run, deployment, revision, node_name, place_id, seen_at)
  SELECT %(cluster)s, kind, key, namespace, name, project, run, deployment, revision, node_name, place_id, %(at)s
  FROM known WHERE id IS NULL
  ON CONFLICT DO NOTHING RETURNING id, kind, key
), seen AS (
  UPDATE clusters_usageseries s SET seen_at = %(at)s FROM known k
  WHERE s.id = k.id AND k.seen_at < %(at)s - interval '1 hour'
)
INSERT INTO {RAW.table} (at, series_id, used_cpu_m, asked_cpu_m, used_memory_b, asked_memory_b, asked_gpu, pods,
                         room_cpu_m, room_memory_b, room_gpu)
SELECT %(at)s, coalesce(k.id, m.id), used_cpu, asked_cpu, used_memory, asked_memory, asked_gpu, pods,
       room_cpu, room_memory, room_gpu
FROM known k LEFT JOIN made m ON m.kind = k.kind AND m.key = k.key
WHERE coalesce(k.id, m.id) IS NOT NULL
ON CONFLICT (series_id, at) DO NOTHING
"""  # noqa: S608 - the table's name is a constant


def record(cluster_id: int, nodes: Sequence[Row], pods: Sequence[Row], *, at: datetime | None = None) -> int:
    """Write the samples of this moment's 15 s, once however often it is called; returns how many were new.

    A sample that comes late is for the 15 s before, if those still lack theirs.

    `nodes` and `pods` are what metrics-server measured (`rows.usage_row`), empty where there is none: then only what
    was asked for is known. The caller holds the cluster's lease in the same transaction.
    """
    moment = at or partitions.clock()
    # The roll-up makes partitions ahead; while no worker runs the samples must not be lost.
    partitions.ensure(RAW, moment, moment + RAW.step)
    values: dict[str, Any] = {
        "cluster": cluster_id,
        "at": _slot(cluster_id, moment),
        "own": OWN_LABEL,
        "blind": _BLIND,
        "nodes": storable(nodes),
        "pods": storable(pods),
        "whole": Kind.CLUSTER.value,
        **{kind.value: kind.value for kind in (Kind.NODE, Kind.NAMESPACE, Kind.WORKLOAD, Kind.POD)},
    }
    with connection.cursor() as cursor:
        cursor.execute(_NEW_PLACES, values)
        cursor.execute(_RECORD, values)
        written: int = cursor.rowcount
    return written


def _slot(cluster_id: int, moment: datetime) -> datetime:
    """The start of the 15 s that a sample of this moment is for.

    Rounds come every 15 s, some a moment late. Near a border two would fall into one slot and none into the next, and
    15 s of consumption would be lost each time; so the slot before is filled first, where it is the only one missing.
    """
    slot = floor(moment, RAW.step)
    before, earlier = slot - RAW.step, slot - 2 * RAW.step
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT at FROM {RAW.table} WHERE at IN (%s, %s) AND series_id = "  # noqa: S608 - a constant
            "(SELECT id FROM clusters_usageseries WHERE cluster_id = %s AND kind = %s AND key = '')",
            [before, earlier, cluster_id, Kind.CLUSTER.value],
        )
        sampled = {row[0] for row in cursor.fetchall()}
    return before if sampled == {earlier} else slot

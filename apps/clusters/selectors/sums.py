"""Sums of nodes and pods, made by Postgres: whole clusters, single nodes or projects by the same two questions.

GPUs are kept by kind in a JSON column. Few different values occur, so they are part of the grouping, and each is
multiplied by how often it occurs.
"""

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Count, Q, QuerySet, Sum

from apps.clusters.models import Pod
from apps.clusters.quantities import gpus
from apps.core.database import prepared
from apps.core.pages.overview import Capacity
from apps.core.states import Health

ENDED = ("Succeeded", "Failed")
ACTIVE = Q(deleted_at__isnull=True) & ~Q(phase__in=ENDED)
# A pod holds what it asked for from the moment it has a node until it ends.
_PLACED = ~Q(node_name="")
Group = Mapping[str, Any]


@dataclass(frozen=True)
class GpuUse:
    """One kind of GPU, by its resource name. Those that running pods asked for count as used: nobody else can."""

    kind: str
    capacity: Capacity

    @property
    def label(self) -> str:
        """The kind's name for people."""
        return gpus.label(self.kind)


@dataclass(frozen=True)
class Room:
    """Nodes and pods of something, and used, requested and allocatable of each resource; None where it is not known."""

    nodes: int | None = 0
    nodes_ready: int | None = 0
    pods: int | None = 0
    pods_bad: int | None = 0
    pods_waiting: int | None = 0
    cpu: Capacity = field(default_factory=lambda: Capacity(unit="cpu"))
    memory: Capacity = field(default_factory=lambda: Capacity(unit="bytes"))
    gpus: tuple[GpuUse, ...] | None = ()

    @property
    def is_known(self) -> bool:
        """Whether anything of it was ever seen."""
        return self.nodes is not None

    @property
    def gpu(self) -> Capacity:
        """Whole GPUs of all makes; where there are none, the slices or shares of which there are most."""
        if self.gpus is None:
            return Capacity()
        parts = [use.capacity for use in self.gpus if gpus.is_whole(use.kind)]
        parts = parts or sorted((use.capacity for use in self.gpus), key=lambda part: -(part.total or 0))[:1]
        used, asked, total = (sum(getattr(part, name) or 0 for part in parts) for name in ("used", "asked", "total"))
        return Capacity(used, asked, total)


# Of a cluster that was never seen: not even that there is nothing.
UNSEEN = Room(nodes=None, nodes_ready=None, pods=None, pods_bad=None, pods_waiting=None, gpus=None)


class HasRoom:
    """The figures of `room`, for rows that have one."""

    room: Room

    @property
    def pods(self) -> int | None:
        """Pods that have not ended."""
        return self.room.pods

    @property
    def pods_bad(self) -> int | None:
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
        """Whole GPUs."""
        return self.room.gpu

    @property
    def gpus(self) -> tuple[GpuUse, ...] | None:
        """GPUs by kind."""
        return self.room.gpus


def pod_groups(pods: QuerySet[Pod], *by: str) -> Iterable[Group]:
    """The pods that have not ended, in groups of equal `by` and equal GPUs."""
    groups: Iterable[Group] = (
        pods.filter(ACTIVE)
        .order_by()
        .values(*by, "requests_gpus")
        .annotate(
            count=Count("id"),
            bad=Count("id", filter=Q(health=Health.DEGRADED)),
            placed=Count("id", filter=_PLACED),
            running=Count("id", filter=_PLACED & Q(phase="Running")),
            cpu=Sum("requests_cpu_m", filter=_PLACED),
            memory=Sum("requests_memory_b", filter=_PLACED),
            used_cpu=Sum("used_cpu_m"),
            used_memory=Sum("used_memory_b"),
        )
    )
    return groups


_OF_PODS = """
    count(*) AS count, count(*) FILTER (WHERE health = 'Degraded') AS bad,
    count(*) FILTER (WHERE node_name <> '') AS placed,
    count(*) FILTER (WHERE node_name <> '' AND phase = 'Running') AS running,
    (sum(requests_cpu_m) FILTER (WHERE node_name <> ''))::bigint AS cpu,
    (sum(requests_memory_b) FILTER (WHERE node_name <> ''))::bigint AS memory,
    sum(used_cpu_m)::bigint AS used_cpu, sum(used_memory_b)::bigint AS used_memory
    FROM clusters_pod WHERE cluster_id = ANY(%s) AND deleted_at IS NULL AND phase <> ALL(%s)
"""
_BY_CLUSTER = f"SELECT cluster_id, requests_gpus::text, {_OF_PODS} GROUP BY cluster_id, requests_gpus"
_BY_CLUSTER_AND_PROJECT = f"""
    SELECT GROUPING(cluster_id) = 0 AS of_cluster, cluster_id, project, requests_gpus::text, {_OF_PODS}
    GROUP BY GROUPING SETS ((cluster_id, requests_gpus), (project, requests_gpus))
"""
_NODES_BY_CLUSTER = """
    SELECT cluster_id, allocatable_gpus::text, count(*) AS count, count(*) FILTER (WHERE ready) AS ready_count,
           sum(allocatable_cpu_m)::bigint AS cpu, sum(allocatable_memory_b)::bigint AS memory,
           sum(used_cpu_m)::bigint AS used_cpu, sum(used_memory_b)::bigint AS used_memory
    FROM clusters_node WHERE cluster_id = ANY(%s) GROUP BY cluster_id, allocatable_gpus
"""


def nodes_by_cluster(cluster_ids: Sequence[int]) -> list[Group]:
    """The nodes of clusters in groups of one cluster and equal GPUs. One query."""
    return _groups(_NODES_BY_CLUSTER, [list(cluster_ids)], "allocatable_gpus")


def pods_by_cluster(cluster_ids: Sequence[int]) -> list[Group]:
    """`pod_groups` by cluster, without making the query anew each time, which costs more than the answer."""
    return _groups(_BY_CLUSTER, [list(cluster_ids), list(ENDED)], "requests_gpus")


def pods_by_cluster_and_project(cluster_ids: Sequence[int]) -> tuple[list[Group], list[Group]]:
    """`pod_groups` by cluster and by project in one look at the pods: on a page of the whole fleet that look is what
    costs. One query."""
    groups = _groups(_BY_CLUSTER_AND_PROJECT, [list(cluster_ids), list(ENDED)], "requests_gpus")
    return [group for group in groups if group["of_cluster"]], [group for group in groups if not group["of_cluster"]]


def _groups(sql: str, values: list[Any], gpu_column: str) -> list[Group]:
    with prepared.cursor() as cursor:
        cursor.execute(sql, values)
        names = [column.name for column in cursor.description or ()]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    read = functools.cache(json.loads)
    return [group | {gpu_column: read(group[gpu_column])} for group in rows]


def room(nodes: Iterable[Group], pods: Iterable[Group]) -> Room:
    """The sum of groups. What is used is what nodes report."""
    nodes, pods = list(nodes), list(pods)
    there = gpus.total((group["allocatable_gpus"], group["count"]) for group in nodes)
    asked = gpus.total((group["requests_gpus"], group["placed"]) for group in pods)
    held = gpus.total((group["requests_gpus"], group["running"]) for group in pods)
    return Room(
        nodes=_sum(nodes, "count"),
        nodes_ready=_sum(nodes, "ready_count"),
        pods=_sum(pods, "count"),
        pods_bad=_sum(pods, "bad"),
        pods_waiting=_sum(pods, "count") - _sum(pods, "placed"),
        cpu=Capacity(measured(nodes, "used_cpu"), _sum(pods, "cpu"), _sum(nodes, "cpu"), "cpu"),
        memory=Capacity(measured(nodes, "used_memory"), _sum(pods, "memory"), _sum(nodes, "memory"), "bytes"),
        gpus=tuple(
            GpuUse(kind, Capacity(held.get(kind, 0), asked.get(kind, 0), there.get(kind, 0)))
            for kind in sorted({*there, *asked})
        ),
    )


def together(rooms: Iterable[Room]) -> Room:
    """Many rooms as one: those that are known, where any is."""
    every = list(rooms)
    rooms = [each for each in every if each.is_known]
    if every and not rooms:
        return UNSEEN
    kinds: dict[str, list[Capacity]] = {}
    for use in (use for each in rooms for use in each.gpus or ()):
        kinds.setdefault(use.kind, []).append(use.capacity)
    return Room(
        **{
            name: sum(getattr(each, name) for each in rooms)
            for name in ("nodes", "nodes_ready", "pods", "pods_bad", "pods_waiting")
        },
        cpu=_add([each.cpu for each in rooms], "cpu"),
        memory=_add([each.memory for each in rooms], "bytes"),
        gpus=tuple(GpuUse(kind, _add(parts, "")) for kind, parts in sorted(kinds.items())),
    )


def measured(groups: Iterable[Group], name: str) -> int | None:
    """The sum of the measured values; None where nothing is measured."""
    values = [group[name] for group in groups if group[name] is not None]
    return sum(values) if values else None


def grouped(groups: Iterable[Group], by: str) -> dict[Any, list[Group]]:
    """Groups by one of their keys."""
    by_key: dict[Any, list[Group]] = {}
    for group in groups:
        by_key.setdefault(group[by], []).append(group)
    return by_key


def _sum(groups: Iterable[Group], name: str) -> int:
    return sum(group[name] or 0 for group in groups)


def _add(parts: list[Capacity], unit: str) -> Capacity:
    used = [part.used for part in parts if part.used is not None]
    asked, total = (sum(getattr(part, name) or 0 for part in parts) for name in ("asked", "total"))
    return Capacity(sum(used) if used else None, asked, total, unit)

"""Nodes with the room that pods have left on them, as facts that pure modules decide from."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from django.db.models import Count, Sum

from apps.clusters.models import Pod
from apps.clusters.observed.values import moment
from apps.clusters.selectors.sums import ENDED
from apps.clusters.why.facts import Holder, NodeFacts

# The columns that `node_facts` always needs; `labels`, and `unready` with the conditions of one that is not ready, may
# be read beside them.
NODE_COLUMNS = (
    *("cluster_id", "name", "ready", "schedulable", "reason", "taints"),
    *("allocatable_cpu_m", "allocatable_memory_b", "allocatable_pods", "allocatable_gpu", "allocatable_gpus"),
)


def requested_by_node(clusters: Collection[int], *, by_kind: bool) -> dict[tuple[int, str], dict[str, int]]:
    """The requests of pods by node; the kinds of GPUs are told apart only `by_kind`, for that costs most. One query."""
    rows = (
        Pod.objects.present()
        .filter(cluster__in=clusters)
        .exclude(phase__in=ENDED)
        .exclude(node_name="")
        .order_by()
        .values_list("cluster_id", "node_name", *(["requests_gpus"] if by_kind else []))
        .annotate(Count("id"), Sum("requests_cpu_m"), Sum("requests_memory_b"), Sum("requests_gpu"))
    )
    by_node: dict[tuple[int, str], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for cluster, node, *by, pods, cpu, memory, gpus in rows:
        kinds = by[0] if by_kind else {}
        of_kinds = {kind: count * pods for kind, count in kinds.items()} if kinds else {"gpu": gpus}
        for name, value in ({"pods": pods, "cpu": cpu, "memory": memory} | of_kinds).items():
            by_node[cluster, node][name] += int(value or 0)
    return by_node


def node_facts(row: Mapping[str, Any], requested: Mapping[str, int], holders: tuple[Holder, ...] = ()) -> NodeFacts:
    """A node's columns with what its pods ask for."""
    ready = row["ready"]
    return NodeFacts(
        name=row["name"],
        allocatable={
            "cpu": row["allocatable_cpu_m"],
            "memory": row["allocatable_memory_b"],
            "pods": row["allocatable_pods"],
            **(row["allocatable_gpus"] or {"gpu": row["allocatable_gpu"]}),
        },
        requested=requested,
        ready=ready,
        schedulable=row["schedulable"],
        labels=row.get("labels") or {},
        taints=tuple(taint for taint in row["taints"] if taint.get("effect") != "PreferNoSchedule"),
        reason="" if ready else row["reason"],
        not_ready_since=None if ready else _not_ready_since(row.get("unready") or ()),
        holders=holders,
    )


def _not_ready_since(conditions: Iterable[Mapping[str, Any]]) -> datetime | None:
    times = [condition.get("last_transition_time") for condition in conditions if condition.get("type") == "Ready"]
    return moment(times[0]) if times else None

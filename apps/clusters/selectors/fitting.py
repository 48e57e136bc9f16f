"""Clusters as `fit` judges them: their labels, whether they can be had, and the room on each of their nodes."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.db.models.fields.json import KeyTransform
from django.utils import timezone

from apps.clusters.fit import Ask, Candidate
from apps.clusters.models import Cluster, Node, Pod
from apps.clusters.observed.values import moment
from apps.clusters.quantities.sizes import GPU, Size
from apps.clusters.selectors.noderoom import NODE_COLUMNS, node_facts, requested_by_node
from apps.clusters.selectors.sizes import makes_nodes
from apps.clusters.states import ClusterState
from apps.clusters.usage.consumption import Price
from apps.clusters.usage.models import UsagePrice
from apps.clusters.why.facts import NodeFacts

# At most so many of the pods that are about to start are counted.
MAX_PROMISED = 500
Promised = Mapping[int, Collection[Ask]]


def candidates(
    *, creates: str = "jobs", promised: Promised | None = None, pks: Collection[int] | None = None
) -> list[Candidate]:
    """The clusters, all of them unless `pks` are given: four queries, however many.

    `creates` is the resource that Flotilla would have to be allowed to create there. `promised` are pods that are not
    observed yet, by cluster.
    """
    rows = list(_clusters(pks))
    ids = {row.pk for row in rows}
    nodes = _nodes(ids)
    waiting = _about_to_start(ids)
    now = timezone.now()
    return [
        Candidate(
            name=row.name,
            labels=row.labels,
            nodes=tuple(nodes.get(row.pk, ())),
            away=why_away(row, now, known=row.pk in nodes),
            barred=_barred(row, creates),
            grows=makes_nodes(row),
            promised=(*waiting.get(row.pk, ()), *(promised or {}).get(row.pk, ())),
        )
        for row in rows
    ]


def prices() -> list[Price]:
    """What nodes cost. One query."""
    return [
        Price(row.name, row.labels, row.cpu_core_hour, row.memory_gib_hour, row.gpu_hour, row.currency)
        for row in UsagePrice.objects.all()
    ]


def why_away(cluster: Cluster, now: datetime, *, known: bool = True) -> str:
    """Why nothing can be had of a cluster now, in a few words; "" where it answers and its nodes are known."""
    if cluster.state == ClusterState.UNREACHABLE:
        since = _since(cluster, "Reachable")
        return f"unreachable since {_clock(since, now)}" if since else "unreachable"
    if cluster.is_locked_out:
        return "it refuses Flotilla's credential"
    if cluster.state == ClusterState.PENDING or (not known and cluster.condition("NodesReady") != "False"):
        return "its nodes are not known yet"
    return ""


def _clusters(pks: Collection[int] | None) -> QuerySet[Cluster]:
    rows = Cluster.objects.order_by("name") if pks is None else Cluster.objects.filter(pk__in=pks).order_by("name")
    columns = ("name", "labels", "enabled", "state", "conditions", "generation")
    # Two parts of the report are read, and not all of it, which is long.
    parts = {
        "permissions": KeyTransform("permissions", "check_report"),
        "of": KeyTransform("generation", "check_report"),
    }
    return rows.only(*columns).annotate(**parts)


def _nodes(ids: Collection[int]) -> dict[int, list[NodeFacts]]:
    requested = requested_by_node(ids, by_kind=True)
    by_cluster: dict[int, list[NodeFacts]] = {}
    for row in Node.objects.filter(cluster__in=ids).order_by("name", "-pk").values(*NODE_COLUMNS, "labels"):
        facts = node_facts(row, requested.get((row["cluster_id"], row["name"]), {}))
        by_cluster.setdefault(row["cluster_id"], []).append(facts)
    return by_cluster


def _about_to_start(ids: Collection[int]) -> dict[int, list[Ask]]:
    """What pods ask for that have no node yet, and that no scheduler has found without room."""
    rows = Pod.objects.present().filter(cluster__in=ids, node_name="", phase="Pending").exclude(reason="Unschedulable")
    columns = ("cluster_id", "requests_cpu_m", "requests_memory_b", "requests_gpus")
    by_cluster: dict[int, list[Ask]] = {}
    for cluster_id, cpu, memory, gpus in rows.order_by("pk").values_list(*columns)[:MAX_PROMISED]:
        by_cluster.setdefault(cluster_id, []).append(Ask(Size(cpu, memory, int(gpus.get(GPU, 0)))))
    return by_cluster


def _barred(cluster: Cluster, creates: str) -> str:
    if not cluster.enabled:
        return "disabled"
    if getattr(cluster, "of", None) != cluster.generation:
        return ""
    permissions: Iterable[Mapping[str, Any]] = getattr(cluster, "permissions", None) or ()
    lacks = any(each["resource"] == creates and "create" in each["missing"] for each in permissions)
    return f"Flotilla may create no {creates} there" if lacks else ""


def _since(cluster: Cluster, kind: str) -> datetime | None:
    times = [each.get("last_transition_time") for each in cluster.conditions if each.get("type") == kind]
    return moment(times[0]) if times else None


def _clock(since: datetime, now: datetime) -> str:
    return f"{since:%H:%M} UTC" if (now - since).total_seconds() < 20 * 3600 else f"{since:%Y-%m-%d %H:%M} UTC"

"""Clusters with their sums, who holds what of them, and which pods fail where."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from django.db.models import Count, Max, Q, QuerySet

from apps.clusters.models import Cluster, Pod
from apps.clusters.selectors.sums import (
    ACTIVE,
    ENDED,
    UNSEEN,
    Group,
    HasRoom,
    Room,
    grouped,
    measured,
    nodes_by_cluster,
    pods_by_cluster,
    pods_by_cluster_and_project,
    room,
)
from apps.clusters.selectors.visibility import Visibility
from apps.clusters.states import ClusterState
from apps.core.access import Principal
from apps.core.errors import Missing, NotAllowed
from apps.core.pages.overview import Capacity
from apps.core.states import Health


@dataclass(frozen=True)
class ClusterRow(HasRoom):
    """A cluster with its sums."""

    cluster: Cluster
    room: Room = field(default_factory=Room)

    @property
    def nodes(self) -> int | None:
        """How many nodes there are."""
        return self.room.nodes

    @property
    def nodes_ready(self) -> int | None:
        """How many of them are ready."""
        return self.room.nodes_ready

    @property
    def is_known(self) -> bool:
        """Whether anything of it was ever seen."""
        return self.room.is_known

    @property
    def counts(self) -> bool:
        """Whether it is part of the fleet's sums: nobody can use what a disabled cluster has."""
        return self.cluster.enabled

    @property
    def is_current(self) -> bool:
        """Whether the figures are up to date; otherwise they are greyed, with their age."""
        return is_current(self.cluster)


@dataclass(frozen=True)
class ProjectUse:
    """The amounts that one project holds; `name` is "" for all that the viewer may not tell apart."""

    name: str
    room: Room


def is_current(cluster: Cluster) -> bool:
    """Whether a cluster is watched now."""
    return cluster.state in {ClusterState.HEALTHY, ClusterState.DEGRADED} and not cluster.is_locked_out


def is_last_seen(pod: Pod, cluster: Cluster) -> bool:
    """Whether a pod may be anything now: its cluster is not watched, and it was not seen to end."""
    return not (is_current(cluster) or pod.deleted_at is not None or pod.phase in ENDED)


def is_in_step(cluster: Cluster) -> bool:
    """Whether what is stored of a cluster is what is there now: it is watched, and its lists were read."""
    synced = any(each.get("type") == "Synced" and each.get("status") == "True" for each in cluster.conditions)
    return synced and is_current(cluster)


def require_signed_in(principal: Principal) -> None:
    """Clusters are for everyone who is signed in, and for nobody else. Raises NotAllowed."""
    if not principal.is_authenticated:
        raise NotAllowed("Sign in to see clusters.")


def unlisted(path: str = "") -> list[str]:
    """The columns that no list shows, for `defer`: long texts. `path` leads to the cluster, such as "cluster"."""
    return [f"{path}__{name}".removeprefix("__") for name in ("ca", "credential_encrypted", "check_report", "streams")]


def clusters(principal: Principal) -> QuerySet[Cluster]:
    """All clusters by name, without what no list shows."""
    require_signed_in(principal)
    return Cluster.objects.order_by("name").defer(*unlisted())


def cluster_or_404(principal: Principal, name: str) -> Cluster:
    """The cluster named `name`. Raises Missing."""
    require_signed_in(principal)
    cluster = Cluster.objects.filter(name=name).first()
    if cluster is None:
        raise Missing(f"There is no cluster {name!r}.")
    return cluster


def with_sums(chosen: Iterable[Cluster]) -> list[ClusterRow]:
    """The clusters with their sums: two more queries for all of them."""
    chosen = list(chosen)
    return _rows(chosen, pods_by_cluster([cluster.pk for cluster in chosen]))


def with_users(chosen: Iterable[Cluster], sight: Visibility) -> tuple[list[ClusterRow], list[ProjectUse]]:
    """The clusters with their sums, and who holds what of them by project: what somebody with `sight` may not tell
    apart is one entry, the last. Disabled clusters are no part of that. Two queries, and one more for these; every pod
    is looked at once."""
    chosen = list(chosen)
    disabled = [cluster.pk for cluster in chosen if not cluster.enabled]
    by_cluster, by_project = pods_by_cluster_and_project([cluster.pk for cluster in chosen if cluster.enabled])
    by_cluster += pods_by_cluster(disabled) if disabled else []
    by_name: dict[str, list[Group]] = {}
    for group in by_project:
        name = group["project"] if group["project"] and sight.allows(group["project"]) else ""
        by_name.setdefault(name, []).append(group)
    uses = [ProjectUse(name, _held(part)) for name, part in by_name.items()]
    uses.sort(key=lambda use: (not use.name, -(use.room.gpu.asked or 0), -(use.room.cpu.asked or 0), use.name))
    return _rows(chosen, by_cluster), uses


def failing_pods(chosen: Iterable[Cluster]) -> dict[int, dict[str, int]]:
    """How many pods fail for which reason, by cluster. One query."""
    bad = Pod.objects.filter(ACTIVE, cluster__in=[cluster.pk for cluster in chosen], health=Health.DEGRADED)
    counted = (
        bad.order_by().values_list("cluster_id", "reason").annotate(count=Count("id")).order_by("-count", "reason")
    )
    by_cluster: dict[int, dict[str, int]] = {}
    for cluster_id, reason, count in counted:
        by_cluster.setdefault(cluster_id, {})[reason] = count
    return by_cluster


def failed_pods(cluster: Cluster) -> int:
    """How many pods that are still there have ended in failure. One query."""
    return Pod.objects.present().filter(cluster=cluster, phase="Failed").count()


def unplaced_pods(chosen: Iterable[Cluster], sight: Visibility) -> dict[int, tuple[int, str]]:
    """How many pods no node takes, by cluster, and what the scheduler says of one of those that somebody with `sight`
    may know: it names claims and nodes. "" where there is none. One query."""
    waiting = Pod.objects.filter(
        cluster__in=[cluster.pk for cluster in chosen], reason="Unschedulable", deleted_at__isnull=True
    )
    known = Q() if sight.everything else Q(project__in=sight.projects)
    counted = waiting.order_by().values_list("cluster_id").annotate(Count("id"), said=Max("message", filter=known))
    return {cluster_id: (count, message or "") for cluster_id, count, message in counted}


def to_be_done(chosen: Iterable[Cluster]) -> list[Cluster]:
    """Those whose last check found something that a person has to do, with their reports. One query."""
    something = ~Q(check_report__findings=[]) & Q(check_report__has_key="findings")
    ids = [cluster.pk for cluster in chosen]
    reports = Cluster.objects.filter(something, pk__in=ids, enabled=True)
    return list(reports.only("name", "generation", "check_report", "checked_at").order_by("name"))


def _rows(chosen: list[Cluster], groups: Iterable[Group]) -> list[ClusterRow]:
    pods = grouped(groups, "cluster_id")
    nodes = grouped(nodes_by_cluster([cluster.pk for cluster in chosen]), "cluster_id")
    return [ClusterRow(cluster, _room(cluster, nodes.get(cluster.pk), pods.get(cluster.pk))) for cluster in chosen]


def _room(cluster: Cluster, nodes: list[Group] | None, pods: list[Group] | None) -> Room:
    """What is known of a cluster; where its lists were never read to the end, what came of them all the same."""
    return room(nodes or [], pods or []) if cluster.was_seen or nodes or pods else UNSEEN


def _held(groups: list[Group]) -> Room:
    # No node reports what a project uses; its pods do.
    whole = room([], groups)
    cpu = Capacity(measured(groups, "used_cpu"), whole.cpu.asked, None, "cpu")
    memory = Capacity(measured(groups, "used_memory"), whole.memory.asked, None, "bytes")
    return replace(whole, cpu=cpu, memory=memory)

"""The parts of the overview, the rail and the search that clusters give."""

from typing import Any

from django.db.models import Count, Q, QuerySet

from apps.clusters import selectors
from apps.clusters.models import Cluster, Node, Pod
from apps.clusters.pages import fleet, troubles
from apps.clusters.selectors.sums import together
from apps.clusters.states import ClusterState
from apps.core.access import Principal, visible_projects
from apps.core.models import Project
from apps.core.pages import nav, objects, search
from apps.core.pages import overview as page
from apps.core.pages.overview import Attention, RoomRow, Scope, Section, Tile

ROOM_ROWS = 12


def connect() -> None:
    """Register everything below."""
    page.register(Section.TILES, tiles)
    page.register(Section.ATTENTION, attention)
    page.register(Section.ROOM, room)
    nav.count("clusters", count)
    objects.register(Cluster, addresses)
    search.register("cluster", find_clusters)
    search.register("node", find_nodes)
    search.register("pod", find_pods)


def tiles(scope: Scope) -> list[Tile]:
    """Healthy clusters, and GPUs in use (CPUs, where no cluster has a GPU)."""
    rows = [row for row in scope.once(_with_sums) if row.counts]
    clusters = [row.cluster for row in rows]
    healthy = sum(cluster.state == ClusterState.HEALTHY for cluster in clusters)
    sick = [cluster for cluster in clusters if cluster.state != ClusterState.HEALTHY]
    note, state = ("every one answers", "Healthy") if clusters else ("none is registered yet", "Idle")
    if sick:
        counts = fleet.state_counts(sick)
        state = counts[0][0]
        several = ", ".join(f"{count} {word.lower()}" for word, count in counts)
        note = several if len(sick) > 1 else f"{sick[0].name} is {state.lower()}"
    return [
        Tile(
            "Clusters healthy", str(healthy), f"of {len(clusters)}", state, note, url=nav.link("clusters:list"), order=0
        ),
        _capacity_tile(rows),
    ]


def _with_sums() -> list[selectors.ClusterRow]:
    """All clusters by name. Three queries."""
    return selectors.with_sums(Cluster.objects.order_by("name").defer(*selectors.unlisted()))


def _capacity_tile(rows: list[selectors.ClusterRow]) -> Tile:
    all_of_it = together(row.room for row in rows)
    if all_of_it.gpu.total:
        gpu = all_of_it.gpu
        return Tile("GPUs in use", f"{gpu.asked:.0f}", f"of {gpu.total:.0f}", capacity=gpu, order=1)
    if not all_of_it.is_known:
        return Tile("CPUs requested", "–", "not known yet", order=1)
    cpu = all_of_it.cpu
    asked, total = (cpu.asked or 0) / 1000, (cpu.total or 0) / 1000
    return Tile("CPUs requested", f"{asked:.3g}", f"of {total:.3g}", capacity=cpu, order=1)


def attention(scope: Scope) -> list[Attention]:
    """Clusters that can't be reached or are degraded, and what the last check of the others found to be done."""
    sick = Q(state__in=[ClusterState.UNREACHABLE, ClusterState.DEGRADED])
    to_do = ~Q(check_report__findings=[]) & Q(check_report__has_key="findings")
    clusters = list(Cluster.objects.filter(sick | to_do, enabled=True).defer("ca", "credential_encrypted"))
    unwell = [cluster for cluster in clusters if cluster.state in {ClusterState.UNREACHABLE, ClusterState.DEGRADED}]
    rest = [cluster for cluster in clusters if cluster.state != ClusterState.UNREACHABLE]
    return [*(troubles.unwell(group) for group in troubles.alike(unwell)), *troubles.findings(rest)]


def room(scope: Scope) -> list[RoomRow]:
    """Used, requested and allocatable of clusters: the emptiest first, those whose room is not known last."""
    emptiest_first = sorted(scope.once(_with_sums), key=lambda row: (not row.is_current, fleet.tightest(row)))
    return [_room_row(row) for row in emptiest_first[:ROOM_ROWS]]


def _room_row(row: selectors.ClusterRow) -> RoomRow:
    cluster = row.cluster
    labels = [str(cluster.labels[key]) for key in ("provider", "region") if cluster.labels.get(key)]
    return RoomRow(
        cluster.name,
        cluster.state,
        row.cpu,
        row.memory,
        row.gpu,
        sub=" · ".join(
            [*labels, f"{row.nodes} node{'' if row.nodes == 1 else 's'}" if row.is_known else "not known yet"]
        ),
        url=nav.link("clusters:detail", cluster.name),
        at=cluster.as_of,
        unheard=not row.is_current,
    )


def count(principal: Principal, project: Project | None) -> nav.Count:
    """How many clusters there are, and how many of them are in trouble."""
    sick = Q(enabled=True, state__in=[ClusterState.UNREACHABLE, ClusterState.DEGRADED])
    counts = Cluster.objects.aggregate(total=Count("pk"), bad=Count("pk", filter=sick))
    return nav.Count("cluster", counts["total"], counts["bad"])


def addresses(rows: QuerySet[Any]) -> list[tuple[int, str]]:
    """The pages of clusters."""
    return [(pk, nav.link("clusters:detail", name)) for pk, name in rows.values_list("pk", "name")]


def find_clusters(principal: Principal, query: str, limit: int) -> list[search.Hit]:
    """Clusters by name; everyone who is signed in may see them."""
    clusters = Cluster.objects.filter(name__icontains=query).order_by("name")[:limit]
    return [search.Hit(c.name, c.state, nav.link("clusters:detail", c.name), "cluster") for c in clusters]


def find_nodes(principal: Principal, query: str, limit: int) -> list[search.Hit]:
    """Nodes by name; everyone who is signed in may see them."""
    nodes = Node.objects.filter(name__icontains=query).select_related("cluster").order_by("name")
    return [
        search.Hit(
            node.name,
            f"{node.reason or node.health} on {node.cluster.name}",
            nav.link("clusters:node", node.cluster.name, node.name),
            "node",
        )
        for node in nodes[:limit]
    ]


def find_pods(principal: Principal, query: str, limit: int) -> list[search.Hit]:
    """Pods of the projects that the caller sees; a platform administrator finds the others, too."""
    pods = Pod.objects.present().filter(name__icontains=query).select_related("cluster").order_by("name")
    if not principal.is_platform_admin:
        pods = pods.filter(project__in=visible_projects(principal).values("name"))
    return [
        search.Hit(
            pod.name,
            f"{pod.health} on {pod.cluster.name}",
            nav.link("clusters:pod", pod.cluster.name, pod.namespace, pod.name),
            "pod",
        )
        for pod in pods.defer("labels", "status")[:limit]
    ]

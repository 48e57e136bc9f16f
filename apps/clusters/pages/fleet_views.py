"""The fleet page: what is wrong, where there is room, who uses it, and every cluster with its figures."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_GET

from apps.clusters import selectors
from apps.clusters.models import Cluster
from apps.clusters.pages import fleet, troubles, verdicts
from apps.clusters.pages.urlparams import Labels, Tag, address
from apps.clusters.selectors import ClusterRow
from apps.clusters.selectors.sums import together
from apps.clusters.selectors.visibility import Visibility, visibility_of
from apps.clusters.states import ClusterState
from apps.core.pages import asked, nav
from apps.core.pages.base import PageRequest, page, render_page
from apps.core.pages.overview import Attention, Capacity
from apps.core.text.wording import moment_text

ROWS_A_PAGE = 100
TROUBLES_SHOWN = 5
PROJECTS_SHOWN = 6

# By the cluster's key: pods that fail by reason; pods that no node takes, and what the scheduler says of one.
Failing = dict[int, dict[str, int]]
Unplaced = dict[int, tuple[int, str]]


_TAKES = {
    **dict.fromkeys(("q", "label", "group"), asked.TEXT),
    "state": asked.words(fleet.SEVERITY),
    "sort": asked.order(fleet.SORTS),
    "page": asked.PAGE,
}


@require_GET
@page(takes=_TAKES)
def cluster_list(request: PageRequest) -> HttpResponse:
    """All clusters, or those that the address asks for."""
    everything = list(selectors.clusters(request.principal))
    sight = visibility_of(request.principal)
    failing, unplaced = selectors.failing_pods(everything), selectors.unplaced_pods(everything, sight)
    context: dict[str, Any] = {
        "total": len(everything),
        "verdict": _verdict(everything, failing, unplaced),
        "may_register": request.principal.is_platform_admin,
        "register_command": _register_command(),
    }
    if request.GET.get("part", "") != "verdict" and everything:
        context |= _fleet(request, everything, sight, failing, unplaced)
    return render_page(request, "clusters/list.html", context)


def _fleet(
    request: PageRequest, everything: list[Cluster], sight: Visibility, failing: Failing, unplaced: Unplaced
) -> dict[str, Any]:
    query = fleet.parse(request.GET)
    in_any_state = [cluster for cluster in everything if query.matches(cluster, any_state=True)]
    shown = [cluster for cluster in in_any_state if query.matches(cluster)]
    unordered, uses = selectors.with_users(shown, sight)
    rows = fleet.in_order(unordered, query.sort)
    counted = [row for row in rows if row.counts]
    sum_of_all = together(row.room for row in counted)
    paged = asked.page_of(request, rows, ROWS_A_PAGE)
    links = Labels(request, [fleet.label_text(label) for label in query.labels])
    wrong = _troubles(shown, failing, unplaced, selectors.to_be_done(shown))
    return {
        "query": query,
        "page_obj": paged,
        "groups": [_Group.of(group, links) for group in fleet.grouped(paged.object_list, query.group)],
        "as_of": fleet.as_of(shown),
        "not_current": sum(not row.is_current and bool(row.nodes) for row in counted),
        "disabled": len(rows) - len(counted),
        "sum": sum_of_all,
        "sums": fleet.totals(counted, sum_of_all, selectors.free_room([row.cluster.pk for row in counted])),
        "states": [(state, n, address(request, state=state)) for state, n in fleet.state_counts(in_any_state)],
        "count_in_any_state": len(in_any_state),
        "any_state_url": address(request, state=None),
        "troubles": wrong[:TROUBLES_SHOWN],
        "all_current": all(selectors.is_current(cluster) for cluster in shown),
        "more_troubles": max(0, len(wrong) - TROUBLES_SHOWN),
        "users": _users(uses, sum_of_all),
        "labels": fleet.label_choices(everything),
        "chips": links.chips(),
    }


@dataclass(frozen=True)
class _Shown:
    """A row as the table shows it."""

    row: ClusterRow
    tags: list[Tag]
    since: datetime | None
    moment: str


@dataclass(frozen=True)
class _Group:
    """The clusters under one heading, with their sum."""

    value: str | None
    rows: list[_Shown]
    sum: selectors.Room

    @classmethod
    def of(cls, group: fleet.Group, links: Labels) -> "_Group":
        now = timezone.now()
        rows = []
        for row in group.rows:
            since = fleet.cut_off_since(row.cluster)
            rows.append(_Shown(row, links.tags(row.cluster.labels), since, moment_text(since, now)))
        return cls(group.value, rows, together(row.room for row in group.rows if row.counts))


def _verdict(clusters: Iterable[Cluster], failing: Failing, unplaced: Unplaced) -> verdicts.Verdict:
    states: dict[str, list[str]] = {}
    names: dict[int, str] = {}
    for cluster in clusters:
        states.setdefault(cluster.state, []).append(cluster.name)
        # Pods that failed on a cluster that is cut off may have been mended since.
        if selectors.is_current(cluster):
            names[cluster.pk] = cluster.name
    pods = {names[pk]: sum(counted.values()) for pk, counted in failing.items() if pk in names}
    waiting = {names[pk]: count for pk, (count, _) in unplaced.items() if pk in names}
    return verdicts.fleet(states, pods, waiting)


def _troubles(
    clusters: Sequence[Cluster], failing: Failing, unplaced: Unplaced, checked: Iterable[Cluster]
) -> list[Attention]:
    """What is wrong: clusters that are cut off, then degraded, then those where pods fail, then those where pods wait
    for a node, then what checks found."""
    lines = []
    worst_first = sorted(clusters, key=lambda cluster: (fleet.severity(cluster.state), cluster.name))
    for group in troubles.alike(worst_first):
        if group[0].state in (ClusterState.UNREACHABLE, ClusterState.DEGRADED):
            lines.append(_unwell(group, failing))
        else:
            lines += _failing(group, failing)
    # The sort is stable: what is cut off stays before what is degraded.
    lines.sort(key=lambda trouble: (trouble.state == "Warning", -trouble.count if trouble.state == "Warning" else 0))
    return [*lines, *_waiting(clusters, unplaced), *troubles.findings(checked)]


def _unwell(group: Sequence[Cluster], failing: Failing) -> Attention:
    """Clusters that are cut off or degraded for one reason, and how many of their pods fail."""
    line = troubles.unwell(group)
    current = [cluster for cluster in group if selectors.is_current(cluster)]
    pods = sum(sum(failing.get(cluster.pk, {}).values()) for cluster in current)
    more = f" {verdicts.pods_fail({'it': pods})}." if pods and group[0].state == ClusterState.DEGRADED else ""
    names = verdicts.names_of([cluster.name for cluster in group])
    return replace(line, title=names, why=f"{group[0].message}{more}")


def _failing(group: Iterable[Cluster], failing: Failing) -> list[Attention]:
    """Clusters that are well, and pods of theirs are not."""
    lines = []
    for cluster in group:
        counted = failing.get(cluster.pk, {})
        pods = sum(counted.values())
        if pods and cluster.state == ClusterState.HEALTHY:
            title = f"{cluster.name}: {pods} pod{' fails' if pods == 1 else 's fail'}"
            url = nav.link("clusters:detail", cluster.name)
            lines.append(Attention("Warning", title, verdicts.reasons(counted), "cluster", url, count=pods))
    return lines


def _waiting(clusters: Iterable[Cluster], unplaced: Unplaced) -> list[Attention]:
    """Clusters where pods wait for a node, most first, without those that are cut off: nobody knows about these."""
    waiting = []
    for cluster in clusters:
        count, message = unplaced.get(cluster.pk, (0, ""))
        if count and selectors.is_current(cluster):
            title = f"{cluster.name}: {count} pod{' waits' if count == 1 else 's wait'} for a node"
            url = f"{nav.link('clusters:detail', cluster.name)}?pod=Unschedulable"
            # The scheduler's words about preemption help nobody here.
            said = message.partition(" preemption:")[0] or "They are of projects that you can't see."
            waiting.append(Attention("Pending", title, said, "cluster", url, count=count))
    return sorted(waiting, key=lambda trouble: -trouble.count)


def _users(uses: list[selectors.ProjectUse], there: selectors.Room) -> dict[str, Any]:
    total = there.gpu.total or 0
    # The last row holds what can't be told apart; it is always shown.
    named, others = [use for use in uses if use.name], [use for use in uses if not use.name]
    shown = named[: PROJECTS_SHOWN - len(others)]
    rows = []
    for use in [*shown, *others]:
        held = use.room.gpu if total else use.room.cpu
        of = total or there.cpu.total
        rows.append((use, nav.link("core:overview", use.name) if use.name else "", _of(held, of)))
    return {"rows": rows, "more": len(named) - len(shown), "by": "GPU" if total else "CPU"}


def _of(held: Capacity, total: float | None) -> Capacity:
    return Capacity(held.used, held.asked, total, held.unit)


def _register_command() -> str:
    return (
        "kubectl config view --raw --minify --flatten > cluster.yaml\n"
        f'curl -X POST {settings.PUBLIC_URL}/api/v1/clusters -H "Authorization: Bearer $FLOTILLA_TOKEN" \\\n'
        "  -H 'Content-Type: application/json' \\\n"
        '  -d "$(jq -n --rawfile k cluster.yaml \'{name: "my-cluster", labels: {}, kubeconfig: $k}\')"'
    )

"""Pages of clusters. They read Postgres; only the connection test asks the cluster itself."""

from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_POST

from apps.clusters import selectors, services
from apps.clusters.selectors import ClusterRow
from apps.clusters.states import ClusterState
from apps.core.access import require_platform_admin
from apps.core.errors import FlotillaError
from apps.core.pages import PageRequest, page, render_page

WARNINGS_SHOWN = 8


@require_GET
@page
def cluster_list(request: PageRequest) -> HttpResponse:
    """All clusters with their room."""
    rows = selectors.with_sums(selectors.clusters(request.principal))
    context = {
        "rows": rows,
        "verdict": _fleet_verdict(rows),
        "may_register": request.principal.is_platform_admin,
        "register_command": _register_command(),
    }
    return render_page(request, "clusters/list.html", context)


@require_GET
@page
def cluster_detail(request: PageRequest, name: str) -> HttpResponse:
    """One cluster: nodes, pods by node, warnings, conditions."""
    cluster = selectors.cluster_or_404(request.principal, name)
    context: dict[str, Any] = {"cluster": cluster, "may_manage": request.principal.is_platform_admin}
    part = request.GET.get("part", "")
    if part in {"", "verdict", "facts"}:
        context["row"] = selectors.with_sums([cluster])[0]
    if part in {"", "nodes"}:
        context["nodes"], context["homeless"] = selectors.nodes_of(cluster, request.principal)
    if part in {"", "warnings"}:
        found = selectors.events_of(cluster, warnings_only=True)[:WARNINGS_SHOWN]
        context["warnings"] = selectors.event_views(found, request.principal)
    context["stale"] = cluster.state not in {ClusterState.HEALTHY, ClusterState.DEGRADED}
    return render_page(request, "clusters/detail.html", context)


@require_POST
@page
def test_connection(request: PageRequest, name: str) -> HttpResponse:
    """The fragment that says what works with the cluster now."""
    require_platform_admin(request.principal)
    cluster = selectors.cluster_or_404(request.principal, name)
    try:
        report = services.check_connection(principal=request.principal, cluster=cluster)
    except FlotillaError as error:
        return render(request, "clusters/report.html", {"cluster": cluster, "error": error})
    return render(request, "clusters/report.html", {"cluster": cluster, "report": report})


def _fleet_verdict(rows: list[ClusterRow]) -> tuple[str, str]:
    """A state word and a sentence about all clusters."""
    bad = [row.cluster.name for row in rows if row.cluster.state == ClusterState.UNREACHABLE]
    poor = [row.cluster.name for row in rows if row.cluster.state == ClusterState.DEGRADED]
    if bad:
        return "Unreachable", f"{', '.join(bad[:3])} can't be reached."
    if poor:
        return "Degraded", f"{', '.join(poor[:3])} {'needs' if len(poor) == 1 else 'need'} attention."
    nodes = sum(row.nodes for row in rows)
    return "Healthy", f"{len(rows)} cluster{'' if len(rows) == 1 else 's'} with {nodes} nodes answer."


def _register_command() -> str:
    return (
        "kubectl config view --raw --minify --flatten > cluster.yaml\n"
        f'curl -X POST {settings.PUBLIC_URL}/api/v1/clusters -H "Authorization: Bearer $FLOTILLA_TOKEN" \\\n'
        "  -H 'Content-Type: application/json' \\\n"
        '  -d "$(jq -n --rawfile k cluster.yaml \'{name: "my-cluster", labels: {}, kubeconfig: $k}\')"'
    )

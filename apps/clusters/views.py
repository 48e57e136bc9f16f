"""Pages of clusters. They read Postgres; only a log asks the cluster itself."""

from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.views.decorators.http import require_GET

from apps.clusters import selectors, services
from apps.clusters.selectors import ClusterRow
from apps.clusters.states import ClusterState
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


@require_GET
@page
def pod_detail(request: PageRequest, name: str, namespace: str, pod: str) -> HttpResponse:
    """One pod: its containers, how the last one ended, events, log."""
    found = selectors.pod_or_404(request.principal, name, namespace, pod)
    context: dict[str, Any] = {
        "pod": found,
        "cluster": found.cluster,
        "state": selectors.state_word(found),
        "containers": [*found.status.get("init_containers", []), *found.status.get("containers", [])],
        "stale": found.cluster.state not in {ClusterState.HEALTHY, ClusterState.DEGRADED},
    }
    if request.GET.get("part", "") in {"", "events"}:
        context["events"] = list(selectors.events_of_pod(found)[:WARNINGS_SHOWN])
    return render_page(request, "clusters/pod.html", context)


@require_GET
@page
def pod_log(request: PageRequest, name: str, namespace: str, pod: str) -> HttpResponse:
    """The end of a container's log, as text."""
    found = selectors.pod_or_404(request.principal, name, namespace, pod)
    names = [container["name"] for container in found.status.get("containers", [])]
    container = request.GET.get("container", "")
    text = services.pod_log(
        found,
        container=container if container in names else (names[0] if names else None),
        tail_lines=2000,
        previous=request.GET.get("previous") == "1",
    )
    response = HttpResponse(text, content_type="text/plain; charset=utf-8")
    response["Cache-Control"] = "no-store"
    if found.phase in selectors.ENDED or found.deleted_at is not None:
        response["X-Log-End"] = "1"
    return response


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

"""Pages of clusters. They read Postgres; only a log asks the cluster itself."""

from typing import Any

from django.http import HttpResponse
from django.views.decorators.http import require_GET

from apps.clusters import selectors, services
from apps.clusters.states import ClusterState
from apps.core.pages import PageRequest, page, render_page

WARNINGS_SHOWN = 8


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

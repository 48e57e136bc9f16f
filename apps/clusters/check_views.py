"""The check page: what works with a cluster, what is missing, and the role to apply."""

from datetime import datetime
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_POST

from apps.clusters import checks, grants, reports, selectors, services
from apps.clusters.models import Cluster
from apps.core.access import require_platform_admin
from apps.core.errors import FlotillaError
from apps.core.pages import PageRequest, page, render_page


@require_GET
@page
def cluster_check(request: PageRequest, name: str) -> HttpResponse:
    """The outcome of the last check, for everyone who is signed in."""
    cluster = selectors.cluster_or_404(request.principal, name)
    return render_page(request, "clusters/check.html", _context(request, cluster))


@require_POST
@page
def check_again(request: PageRequest, name: str) -> HttpResponse:
    """Check now, and answer with the fragments of outcome and verdict. Platform administrators only."""
    require_platform_admin(request.principal)
    cluster = selectors.cluster_or_404(request.principal, name)
    error: FlotillaError | None = None
    try:
        services.check_connection(principal=request.principal, cluster=cluster)
    except FlotillaError as caught:
        error = caught
    context = _context(request, cluster) | {"error": error, "oob": True}
    parts = [render(request, f"clusters/check.html#{part}", context).content for part in ("outcome", "verdict")]
    return HttpResponse(b"".join(parts))


def _context(request: PageRequest, cluster: Cluster) -> dict[str, Any]:
    report = reports.report_of(cluster, request.principal)
    permissions = report["permissions"] if report else []
    missing = grants.missing_of(permissions)
    ends = report.get("credential_expires_at") if report else None
    return {
        "cluster": cluster,
        "report": report,
        "may_check": request.principal.is_platform_admin,
        "clock": checks.clock_words(report["skew_s"], report["skew_uncertainty_s"]) if report else ("–", "not told"),
        "credential_ends": datetime.fromisoformat(ends) if ends else None,
        "granted": [each for each in permissions if not each["missing"]],
        "refused": [each for each in permissions if each["missing"]],
        "needed_missing": any(each["missing"] and not each["optional"] for each in permissions),
        "role_lines": grants.lines(missing),
        "role_marks": bool(missing),
        "kubeconfig_command": grants.KUBECONFIG_COMMAND,
    }

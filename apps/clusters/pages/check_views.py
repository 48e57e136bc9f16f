"""The check page: what works with a cluster, what is missing, and the role to apply."""

import time
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_POST

from apps.clusters import selectors, services
from apps.clusters.connect import checks, grants, reach
from apps.clusters.models import Cluster
from apps.clusters.selectors import reports
from apps.core.access import require_platform_admin
from apps.core.errors import FlotillaError
from apps.core.pages.base import PageRequest, page, render_page
from apps.core.text.numbers import whole

# Seconds for which the button waits: a worker may be busy, and a check itself takes 45 s at most.
PATIENCE = 60


@require_GET
@page
def cluster_check(request: PageRequest, name: str) -> HttpResponse:
    """The outcome of the last check, for everyone who is signed in."""
    cluster = selectors.cluster_or_404(request.principal, name)
    return render_page(request, "clusters/check.html", _context(request, cluster))


@require_POST
@page
def check_again(request: PageRequest, name: str) -> HttpResponse:
    """Let a worker check now, and answer with a button that waits for the outcome. Platform administrators only."""
    require_platform_admin(request.principal)
    cluster = selectors.cluster_or_404(request.principal, name)
    context: dict[str, Any] = {"cluster": cluster, "may_check": True}
    try:
        seen = services.ask_for_check(principal=request.principal, cluster=cluster)
        context["asking"] = urlencode({"seen": seen, "at": int(time.time())})
    except FlotillaError as error:
        context["error"] = error.sentence
    return render(request, "clusters/check.html#again", context)


@require_POST
@page
def reach_again(request: PageRequest, name: str) -> HttpResponse:
    """Let a pod of the cluster ask whether it reaches Flotilla, and show that it does. Platform administrators only."""
    require_platform_admin(request.principal)
    cluster = selectors.cluster_or_404(request.principal, name)
    error = ""
    try:
        services.ask_for_reach(principal=request.principal, cluster=cluster)
    except FlotillaError as refused:
        error = refused.sentence
    context = {"cluster": cluster, "may_check": True, "reach_error": error} | _reach(request, cluster)
    return render(request, "clusters/check.html#reach", context)


def _reach(request: PageRequest, cluster: Cluster) -> dict[str, Any]:
    answer = reports.reach_of(cluster, request.principal)
    advice = reach.advice(cluster.server, settings.PUBLIC_URL)
    current = answer["outcome"] if answer and not answer["outdated"] else ""
    return {
        "reach": answer,
        "away": services.is_away(cluster),
        "unreached": current in reach.UNREACHED or bool(advice and current != reach.Outcome.REACHED),
        "reach_image": settings.REACH_IMAGE,
        "public_url": settings.PUBLIC_URL,
        "reach_advice": advice,
    }


def _asking(request: PageRequest, cluster: Cluster) -> dict[str, Any]:
    """Whether the button of `check_again` goes on waiting: until another check is stored, for a minute at most."""
    seen, at = request.GET.get("seen", ""), whole(request.GET.get("at", ""), 12)
    if not seen or seen != services.stamp(cluster) or at is None:
        return {}
    if time.time() - at > PATIENCE:
        return {"error": "No worker has checked it within a minute. Is one running?"}
    return {"asking": urlencode({"seen": seen, "at": at})}


def _context(request: PageRequest, cluster: Cluster) -> dict[str, Any]:
    report = reports.report_of(cluster, request.principal)
    permissions = report["permissions"] if report else []
    missing = grants.missing_of(permissions)
    ends = report.get("credential_expires_at") if report else None
    return (
        _asking(request, cluster)
        | _reach(request, cluster)
        | {
            "cluster": cluster,
            "report": report,
            "may_check": request.principal.is_platform_admin,
            "clock": checks.clock_words(report["skew_s"], report["skew_uncertainty_s"])
            if report
            else ("–", "not told"),
            "credential_ends": datetime.fromisoformat(ends) if ends else None,
            "granted": [each for each in permissions if not each["missing"]],
            "refused": [each for each in permissions if each["missing"]],
            "needed_missing": any(each["missing"] and not each["optional"] for each in permissions),
            "role_lines": grants.lines(missing),
            "role_marks": bool(missing),
            "kubeconfig_command": grants.KUBECONFIG_COMMAND,
        }
    )

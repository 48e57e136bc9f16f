"""Reads of stored checks: the part that everyone signed in may see, and the findings that need a person."""

from typing import Any

from django.conf import settings
from django.utils import timezone

from apps.clusters.connect import reach
from apps.clusters.models import Cluster, Reach
from apps.clusters.observed.values import moment
from apps.core.access import Principal


def report_of(cluster: Cluster, principal: Principal) -> dict[str, Any] | None:
    """The stored report, None before the first. Its `detail` may name addresses: for platform administrators only."""
    if cluster.checked_at is None or not cluster.check_report:
        return None
    shown = {key: value for key, value in cluster.check_report.items() if key not in {"generation", "state"}}
    shown["outdated"] = cluster.check_report.get("generation") != cluster.generation
    if not principal.is_platform_admin:
        shown["detail"] = ""
    return shown


def reach_of(cluster: Cluster, principal: Principal) -> dict[str, Any] | None:
    """What was asked of its pods last, and what came of it; None before the first time. The pod's own words may name
    addresses: for platform administrators only."""
    row = Reach.objects.filter(cluster=cluster, number__gt=0).first()
    if row is None:
        return None
    return {
        "url": row.url,
        "image": row.image,
        "outcome": row.outcome,
        "explanation": reach.explained(row.outcome, row.url),
        "words": row.words if principal.is_platform_admin else "",
        "asked_at": row.asked_at,
        "ended_at": row.ended_at,
        "outdated": row.url != settings.PUBLIC_URL,
        "under_way": reach.is_under_way(row.outcome, row.asked_at, timezone.now()),
    }


def findings_of(cluster: Cluster) -> list[dict[str, Any]]:
    """The findings of the last check, each with `since`; none where the connection was changed after it."""
    if cluster.check_report.get("generation") != cluster.generation:
        return []
    findings = cluster.check_report.get("findings") or []
    return [finding | {"since": moment(finding.get("since")) or cluster.checked_at} for finding in findings]

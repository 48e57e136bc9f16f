"""Reads of stored checks: what everyone signed in may see of them, and what needs a person."""

from typing import Any

from apps.clusters.models import Cluster
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


def findings_of(cluster: Cluster) -> list[dict[str, str]]:
    """What the last check found to be done, unless the connection was changed since."""
    if cluster.check_report.get("generation") != cluster.generation:
        return []
    found: list[dict[str, str]] = cluster.check_report.get("findings") or []
    return found

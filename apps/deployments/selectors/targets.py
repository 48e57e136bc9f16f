"""Reads of targets."""

from typing import Any

from django.db.models import Count, QuerySet

from apps.core.access import Principal, get_scoped
from apps.core.states import Role
from apps.deployments.models import Target


def targets(**scope: Any) -> QuerySet[Target]:
    """Targets with their cluster, and `deployment_count`."""
    return (
        Target.objects.filter(**scope)
        .select_related("project", "cluster")
        .annotate(deployment_count=Count("placements"))
    )


def target(principal: Principal, name: str, at_least: Role = Role.VIEWER, **scope: Any) -> Target:
    """One target by its name. Raises Missing, or Invalid when several projects have it."""
    queryset = Target.objects.filter(**scope).select_related("cluster")
    return get_scoped(queryset, principal, at_least, name=name)

"""Reads of metrics sources."""

from typing import Any

from django.db.models import Q, QuerySet

from apps.core.access import Principal, get_scoped
from apps.core.states import Role
from apps.deployments.models import Deployment, MetricsSource, Rollout
from apps.deployments.states import UNFINISHED


def sources(**scope: Any) -> QuerySet[MetricsSource]:
    """Metrics sources, without their secrets' columns."""
    return MetricsSource.objects.filter(**scope).select_related("project").defer("ca")


def source(principal: Principal, name: str, at_least: Role = Role.VIEWER, **scope: Any) -> MetricsSource:
    """One source by its name. Raises Missing, or Invalid when several projects have it."""
    return get_scoped(MetricsSource.objects.filter(**scope), principal, at_least, name=name)


def users_of_source(of: MetricsSource, *, limit: int = 5) -> list[str]:
    """The names of the first deployments whose strategy asks it, or whose rollout under way does."""
    steps = {"steps": [{"analyse": {"source": of.name}}]}
    asks = Q(strategy__contains=steps) | Q(strategy__contains={"waves": [steps]})
    asks |= Q(strategy__contains={"analysis": {"source": of.name}})
    mine = Deployment.objects.filter(project=of.project_id)
    names = set(mine.filter(asks).order_by("name").values_list("name", flat=True)[:limit])
    rolling = Rollout.objects.filter(asks, deployment__in=mine, state__in=UNFINISHED)
    names |= set(rolling.order_by("deployment__name").values_list("deployment__name", flat=True)[:limit])
    return sorted(names)[:limit]


def source_named(project_pk: int, name: str) -> MetricsSource | None:
    """The project's source of that name, with all that is needed to ask it."""
    return MetricsSource.objects.filter(project=project_pk, name=name).first()


def peer_of_source(project_pk: int, name: str) -> int | None:
    """How the queue calls it, which shares its threads out by whom a round calls: less than any cluster's number.

    So a source that is slow holds one thread, and no cluster's rounds.
    """
    pk = MetricsSource.objects.filter(project=project_pk, name=name).values_list("pk", flat=True).first()
    return None if pk is None else -pk

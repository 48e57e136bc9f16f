"""Consumption by project, deployment and experiment over a period, as the caller may see it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from django.db import connection

from apps.clusters.selectors import require_signed_in
from apps.clusters.selectors.visibility import visibility_of
from apps.clusters.usage import partitions, rollup, workloads
from apps.clusters.usage.consumption import Consumption, Price, Spent, consumptions
from apps.clusters.usage.levels import DAY, HOUR, Kind, Piece, floor, pieces
from apps.clusters.usage.models import UsagePlace, UsagePrice
from apps.core.access import Principal, project_or_404
from apps.core.models import Project
from apps.core.pages import nav

GONE = "deleted experiments"


class By(StrEnum):
    """The owners that consumption is divided among."""

    PROJECT = "project"
    DEPLOYMENT = "deployment"
    EXPERIMENT = "experiment"


class Period(StrEnum):
    """How far back it goes: from the full hour, or from midnight (UTC) where it is days."""

    DAY = "24h"
    WEEK = "7d"
    MONTH = "30d"

    def start(self, now: datetime) -> datetime:
        """The first moment of the period."""
        if self is Period.DAY:
            return floor(now - timedelta(hours=24), HOUR.step)
        return floor(now, DAY.step) - timedelta(days=7 if self is Period.WEEK else 30)


@dataclass(frozen=True)
class Spending:
    """Rows of a period. `since` is when what was measured begins, `until` where it ends; None when nothing was."""

    by: By
    period: Period
    rows: list[Consumption]
    since: datetime | None
    until: datetime | None
    priced: bool


def spending(
    principal: Principal,
    *,
    by: By = By.PROJECT,
    period: Period = Period.DAY,
    project: str = "",
    now: datetime | None = None,
) -> Spending:
    """The use of the caller's projects, or of one `project` of them. Raises Missing for a project that they can't see.

    At most seven queries, whatever there is.
    """
    require_signed_in(principal)
    if project:
        projects: list[str] | None = [project_or_404(principal, project).name]
    else:
        sight = visibility_of(principal)
        projects = None if sight.everything else sorted(sight.projects)
    now = now or partitions.clock()
    sums = _spent(by, period.start(now), now, projects)
    prices = [
        Price(price.name, price.labels, price.cpu_core_hour, price.memory_gib_hour, price.gpu_hour, price.currency)
        for price in UsagePrice.objects.all()
    ]
    labels = dict(UsagePlace.objects.filter(pk__in={row["place_id"] for row in sums}).values_list("pk", "labels"))
    spent = [_named(row, labels.get(row["place_id"], {})) for row in sums]
    if by is By.EXPERIMENT:
        spent, urls = _by_experiment(spent)
    else:
        urls = _urls(by, spent)
    rows = [replace(row, url=urls.get((row.project, row.name), "")) for row in consumptions(spent, prices)]
    since = min((row["since"] for row in sums), default=None)
    until = max((row["until"] for row in sums), default=None)
    return Spending(by, period, rows, since, until, bool(prices))


# The column of a series that names the owner, and which series have one.
_NAMES = {By.PROJECT: "project", By.DEPLOYMENT: "deployment", By.EXPERIMENT: "run"}
_FIGURES = ("asked_cpu", "used_cpu", "measured_cpu", "asked_memory", "used_memory", "measured_memory", "asked_gpu")
_Urls = dict[tuple[str, str], str]
_SUMS = """
SELECT series_id, sum(asked_cpu_m * seconds) AS asked_cpu, sum(used_cpu_m * used_seconds) AS used_cpu,
       sum(asked_cpu_m * used_seconds) AS measured_cpu, sum(asked_memory_b * seconds) AS asked_memory,
       sum(used_memory_b * used_seconds) AS used_memory, sum(asked_memory_b * used_seconds) AS measured_memory,
       sum(asked_gpu * seconds) AS asked_gpu, {since} AS since, max(at) + %s AS until
FROM {table} u WHERE at >= %s AND at < %s AND series_id IN (SELECT id FROM wanted) GROUP BY series_id
"""
# Where the first measured hour of a day is known: who came late on a day has not been idle since midnight.
_SINCE = {
    DAY: f"""coalesce((SELECT min(h.at) FROM {HOUR.table} h WHERE h.series_id = u.series_id
  AND h.at >= min(u.at) AND h.at < min(u.at) + interval '1 day'), min(u.at))"""  # noqa: S608 - our own words
}


def _spent(by: By, start: datetime, end: datetime, projects: Sequence[str] | None) -> list[dict[str, Any]]:
    parts = pieces(start, end, rollup.marks(end))
    if not parts:
        return []
    name = _NAMES[by]
    sums, values = window_sums(parts)
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH wanted AS MATERIALIZED (SELECT id, project, deployment, run, place_id "  # noqa: S608 - our own words
            "FROM clusters_usageseries s WHERE kind = %s AND (%s OR project = ANY(%s) "
            # A project that was deleted before one of its name was made is none of the new one's business.
            "AND EXISTS (SELECT 1 FROM core_project p WHERE p.name = s.project AND p.created_at <= s.seen_at)) "
            f"AND {name} <> ''), sums AS ({sums}) "
            f"SELECT w.project, w.{name} AS name, w.place_id, {', '.join(f'sum({f}) AS {f}' for f in _FIGURES)}, "
            f"min(since) AS since, max(until) AS until FROM sums JOIN wanted w ON w.id = series_id GROUP BY 1, 2, 3",
            [Kind.WORKLOAD.value, projects is None, list(projects or []), *values],
        )
        columns = [column.name for column in cursor.description or ()]
        return [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]


def window_sums(parts: Sequence[Piece]) -> tuple[str, list[Any]]:
    """SQL, with its values, that adds up the windows of the series in `wanted`: amounts times seconds, by series."""
    selects = [_SUMS.format(table=part.level.table, since=_SINCE.get(part.level, "min(at)")) for part in parts]
    sums = " UNION ALL ".join(selects)
    return sums, [value for part in parts for value in (part.level.step, part.start, part.end)]


def _named(row: dict[str, Any], labels: dict[str, str]) -> Spent:
    figures = {key: float(row[key] or 0) for key in _FIGURES}
    return Spent(project=row["project"], name=row["name"], labels=labels, **figures)


def _by_experiment(spent: Iterable[Spent]) -> tuple[list[Spent], _Urls]:
    """Sum runs up by experiment. Those whose run is gone, or belongs to another project by now, share one row."""
    parts = list(spent)
    makers = workloads.experiments_of({part.name for part in parts})
    renamed = []
    for part in parts:
        maker = makers.get(part.name)
        renamed.append(replace(part, name=maker.name if maker and maker.project == part.project else GONE))
    return renamed, {(maker.project, maker.name): maker.url for maker in makers.values()}


def _urls(by: By, spent: Iterable[Spent]) -> _Urls:
    if by is By.PROJECT:
        there = Project.objects.filter(name__in={part.project for part in spent}).values_list("name", flat=True)
        return {(name, name): nav.link("core:overview", name) for name in there}
    makers = workloads.deployments_of({(part.project, part.name) for part in spent})
    return {name: maker.url for name, maker in makers.items()}

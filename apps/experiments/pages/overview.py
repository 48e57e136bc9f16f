"""The share of runs and models in the overview, the rail and the search."""

from collections.abc import Iterable
from typing import Any

from django.db.models import Count, Min, Q, QuerySet
from django.utils import timezone

from apps.clusters.services import why_silent
from apps.core.access import Principal, visible_projects
from apps.core.models import Project
from apps.core.pages import nav, objects, search
from apps.core.pages import overview as page
from apps.core.pages.overview import RunRow, Scope, Section, Tile
from apps.core.text.wording import duration_text
from apps.experiments import selectors
from apps.experiments.decision.causes import NODE_LOST
from apps.experiments.models import Experiment, LatestMetric, ModelVersion, RegisteredModel, Run
from apps.experiments.models.waiting import SINCE, long
from apps.experiments.pages.attention import attention, earlier, url_of
from apps.experiments.states import NOT_RUNNING, UNSETTLED
from apps.experiments.tracking.curves import recent_values

RUN_ROWS = 6
NO_BREAK = "\N{NO-BREAK SPACE}"
# How far back the small curves reach.
RECENT_POINTS = 2000
CURVE_POINTS = 48


def connect() -> None:
    """Register everything below."""
    page.register(Section.TILES, tiles)
    page.register(Section.ATTENTION, attention)
    page.register(Section.RUNNING, running)
    page.register(Section.FAILURES, earlier)
    page.probe(has_runs)
    nav.count("models", count_models)
    nav.count("experiments", count_runs)
    objects.register(Experiment, experiment_addresses)
    objects.register(Run, run_addresses)
    objects.register(RegisteredModel, model_addresses)
    objects.register(ModelVersion, version_addresses)
    search.register("experiment", find_experiments)
    search.register("run", find_runs)
    search.register("model", find_models)


def _runs(scope: Scope) -> QuerySet[Run]:
    return selectors.runs(experiment__project=scope.project)


def has_runs(scope: Scope) -> bool:
    """Whether the project has any run."""
    return _runs(scope).exists()


def tiles(scope: Scope) -> list[Tile]:
    """How many runs are under way and how long the oldest has waited."""
    waits = long()
    counts = (
        _runs(scope)
        .filter(state__in=UNSETTLED)
        .annotate(since=SINCE)
        .aggregate(
            running=Count("pk", filter=~Q(state__in=NOT_RUNNING)),
            resting=Count("pk", filter=Q(state__in=NOT_RUNNING)),
            waiting=Count("pk", filter=waits),
            oldest=Min("since", filter=waits),
        )
    )
    running, waiting = counts["running"], counts["waiting"]
    starting = counts["resting"] - waiting
    state, note = ("Running", "under way") if running else ("Idle", "nothing runs now")
    if waiting:
        seconds = (timezone.now() - counts["oldest"]).total_seconds()
        # A figure stays with its unit where the line breaks.
        state, note = "Queued", f"oldest waits {duration_text(seconds).replace(' ', NO_BREAK)}"
    others = [f"{n} {what}" for n, what in ((waiting, "waiting"), (starting, "starting")) if n]
    of = " · ".join(["running", *others])
    url = nav.link("experiments:list", scope.project.name)
    return [Tile("Runs", str(running), of, state, note, url=url, order=2)]


def running(scope: Scope) -> list[RunRow]:
    """Runs that run, the newest first, each with the curve of its loss (or its first metric)."""
    active = _runs(scope).filter(state__in=UNSETTLED).exclude(state__in=NOT_RUNNING).order_by("-id")
    rows = list(active.prefetch_related("params")[:RUN_ROWS])
    chosen = _metric_of_each(rows)
    curves = recent_values(
        ((metric.run_id, metric.key) for metric in chosen.values()), last=RECENT_POINTS, limit=CURVE_POINTS
    )
    shown = []
    for run in rows:
        metric = chosen.get(run.pk)
        params = " ".join(f"{param.key}={param.value}" for param in list(run.params.all())[:4])
        shown.append(
            RunRow(
                str(run),
                params or run.experiment.name,
                run.state,
                metric=metric.key if metric else "",
                value=metric.value if metric else None,
                points=curves.get(run.pk, []),
                url=url_of(run),
                started_at=run.started_at or run.created_at,
                topic=f"run:{run.pk}",
                unheard=_unheard(run),
            )
        )
    return shown


def _unheard(run: Run) -> str:
    """Why nobody knows now how a run is; empty where its cluster tells."""
    if run.cluster is not None and (silent := why_silent(run.cluster)):
        return silent
    return "its node does not answer" if run.reason == NODE_LOST else ""


def _metric_of_each(runs: Iterable[Run]) -> dict[int, LatestMetric]:
    """For each run the metric to draw: a loss where there is one, of validation before training."""
    chosen: dict[int, LatestMetric] = {}
    for metric in LatestMetric.objects.filter(run__in=list(runs)).exclude(key__startswith="system/"):
        best = chosen.get(metric.run_id)
        if best is None or _interest(metric.key) < _interest(best.key):
            chosen[metric.run_id] = metric
    return chosen


def _interest(key: str) -> tuple[int, str]:
    low = key.lower()
    if "loss" in low:
        return (0 if low.startswith(("val", "eval", "test")) else 1, key)
    return (2 if "accuracy" in low or "score" in low else 3, key)


def count_models(principal: Principal, project: Project | None) -> nav.Count | None:
    """How many models the project has."""
    return nav.Count("model", RegisteredModel.objects.filter(project=project).count()) if project else None


def count_runs(principal: Principal, project: Project | None) -> nav.Count | None:
    """How many runs are under way; nothing when none is."""
    if project is None:
        return None
    active = selectors.runs(experiment__project=project, state__in=UNSETTLED).count()
    return nav.Count("run under way", active) if active else None


def experiment_addresses(rows: QuerySet[Any]) -> list[tuple[int, str]]:
    """The pages of experiments that are not in the bin."""
    named = rows.filter(deleted_at=None).values_list("pk", "project__name", "name")
    return [(pk, nav.link("experiments:detail", project, name)) for pk, project, name in named]


def run_addresses(rows: QuerySet[Any]) -> list[tuple[int, str]]:
    """The pages of runs that are not in the bin."""
    named = rows.filter(**selectors.KEPT).values_list("pk", "experiment__project__name", "uid")
    return [(pk, nav.link("experiments:run", project, uid)) for pk, project, uid in named]


def model_addresses(rows: QuerySet[Any]) -> list[tuple[int, str]]:
    """The pages of models."""
    named = rows.values_list("pk", "project__name", "name")
    return [(pk, nav.link("experiments:model", project, name)) for pk, project, name in named]


def version_addresses(rows: QuerySet[Any]) -> list[tuple[int, str]]:
    """The pages of the models that versions are of."""
    named = rows.values_list("pk", "model__project__name", "model__name")
    return [(pk, nav.link("experiments:model", project, name)) for pk, project, name in named]


def find_experiments(principal: Principal, query: str, limit: int) -> list[search.Hit]:
    """Experiments by name."""
    rows = Experiment.objects.filter(
        deleted_at=None, name__icontains=query, project__in=visible_projects(principal)
    ).select_related("project")
    return [
        search.Hit(
            row.name, f"in {row.project.name}", nav.link("experiments:detail", row.project.name, row.name), "experiment"
        )
        for row in rows.order_by("name")[:limit]
    ]


def find_runs(principal: Principal, query: str, limit: int) -> list[search.Hit]:
    """Runs by name, or by the beginning of their id."""
    rows = selectors.runs(experiment__project__in=visible_projects(principal)).filter(
        Q(name__icontains=query) | Q(uid__startswith=query.lower())
    )
    return [
        search.Hit(str(run), f"{run.state} · {run.experiment} in {run.experiment.project.name}", url_of(run), "run")
        for run in rows.order_by("-id")[:limit]
    ]


def find_models(principal: Principal, query: str, limit: int) -> list[search.Hit]:
    """Registered models by name."""
    rows = RegisteredModel.objects.filter(
        name__icontains=query, project__in=visible_projects(principal)
    ).select_related("project")
    return [
        search.Hit(
            row.name, f"in {row.project.name}", nav.link("experiments:model", row.project.name, row.name), "model"
        )
        for row in rows.order_by("name")[:limit]
    ]

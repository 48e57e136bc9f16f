"""What runs and models give to the overview, the rail and the search."""

from collections.abc import Iterable
from datetime import timedelta

from django.db.models import Case, Count, Min, Q, QuerySet, When, Window
from django.utils import timezone
from django.utils.text import Truncator

from apps.clusters.selectors.visibility import visibility_of
from apps.clusters.why import Why
from apps.core.access import Principal, visible_projects
from apps.core.models import Project
from apps.core.pages import nav, search
from apps.core.pages import overview as page
from apps.core.pages.overview import Attention, FailureRow, RunRow, Scope, Section, Tile
from apps.core.text.wording import duration_text
from apps.experiments import selectors
from apps.experiments.curves import recent_values
from apps.experiments.models import Attempt, Experiment, LatestMetric, RegisteredModel, Run
from apps.experiments.states import FAILURES, UNSETTLED, RunKind, RunState
from apps.experiments.whys import how_it_failed, last_lines, whys_of

RUN_ROWS = 6
FAILURE_ROWS = 6
# A failure needs somebody while it is this fresh; afterwards it is history, which the list of failures keeps.
FRESH = timedelta(hours=1)
# A run that waits longer than this says why.
PATIENCE = timedelta(seconds=45)
# How far back the small curves reach.
RECENT_POINTS = 2000
# Characters of the last log line that a reason quotes.
LOG_LINE = 180
CURVE_POINTS = 48
_WAITING = (RunState.PENDING, RunState.QUEUED, RunState.STARTING)


def connect() -> None:
    """Register everything below."""
    page.register(Section.TILES, tiles)
    page.register(Section.ATTENTION, attention)
    page.register(Section.RUNNING, running)
    page.register(Section.FAILURES, failures)
    page.probe(has_runs)
    nav.count("models", count_models)
    nav.count("experiments", count_runs)
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
    waits = Q(state__in=_WAITING, kind=RunKind.LAUNCHED)
    found = (
        _runs(scope)
        .filter(state__in=UNSETTLED)
        .aggregate(
            running=Count("pk", filter=~waits),
            waiting=Count("pk", filter=waits),
            oldest=Min("created_at", filter=waits),
        )
    )
    running, waiting = found["running"], found["waiting"]
    state, note = ("Running", "under way") if running else ("Idle", "nothing runs now")
    if waiting:
        seconds = (timezone.now() - found["oldest"]).total_seconds()
        state, note = "Queued", f"the oldest waits {duration_text(seconds)}"
    of = f"running · {waiting} waiting" if waiting else "running"
    url = nav.link("experiments:list", scope.project.name)
    return [Tile("Runs", str(running), of, state, note, url=url, order=2)]


def attention(scope: Scope) -> list[Attention]:
    """Runs that failed lately and that nobody has run again, and runs that wait for a reason."""
    now = timezone.now()
    failed = _runs(scope).filter(state__in=FAILURES, ended_at__gte=now - FRESH, reruns=None)
    waiting = _runs(scope).filter(state__in=_WAITING, kind=RunKind.LAUNCHED, created_at__lte=now - PATIENCE)
    newest = failed.annotate(all=Window(Count("pk"))).order_by("-ended_at")[:2]
    found = _failed(list(newest), scope)
    rows = list(waiting.order_by("id")[:FAILURE_ROWS])
    whys = whys_of(rows, visibility_of(scope.principal))
    found.extend(_waits(run, whys.get(run.pk)) for run in rows if run.message or run.pk in whys)
    return found


def _waits(run: Run, why: Why | None) -> Attention:
    state, sentence = (why.state, why.sentence) if why else ("Unschedulable", run.message)
    return Attention(state, f"run {run} is waiting", sentence, "run waiting", _url(run), run.created_at)


def _failed(runs: list[Run], scope: Scope) -> list[Attention]:
    """Two failures are said one by one; more of them are one thing to look at. `runs` are the newest, with `all`."""
    total = getattr(runs[0], "all") if runs else 0  # noqa: B009 - annotated by the caller
    attempts = selectors.newest_attempts(runs)
    if total <= 2:
        return [
            Attention(
                run.state,
                f"run {run} {_verb(run)}",
                _why(run, attempts.get(run.pk)),
                f"run {_verb(run)}",
                _url(run),
                run.ended_at,
            )
            for run in runs
        ]
    newest = runs[0]
    return [
        Attention(
            newest.state,
            f"{total} runs failed in the last hour",
            f"The newest is {newest}: {_why(newest, attempts.get(newest.pk))}",
            "run failed",
            nav.link("experiments:detail", scope.project.name, newest.experiment.name),
            newest.ended_at,
            count=total,
        )
    ]


def failures(scope: Scope) -> list[FailureRow]:
    """The runs that failed last, with the reason."""
    rows = list(_runs(scope).filter(state__in=FAILURES).order_by("-id")[:FAILURE_ROWS])
    attempts = selectors.newest_attempts(rows)
    return [
        FailureRow(str(run), run.state, _why(run, attempts.get(run.pk)), _url(run), run.ended_at or run.updated_at)
        for run in rows
    ]


def running(scope: Scope) -> list[RunRow]:
    """Runs under way, then those that wait, the newest first, each with the curve of its loss (or its first metric)."""
    waiting_last = Case(When(state__in=_WAITING, then=1), default=0)
    active = _runs(scope).filter(state__in=UNSETTLED).order_by(waiting_last, "-id")
    rows = list(active.prefetch_related("params")[:RUN_ROWS])
    chosen = _metric_of_each(rows)
    curves = recent_values(
        ((metric.run_id, metric.key) for metric in chosen.values()), last=RECENT_POINTS, limit=CURVE_POINTS
    )
    whys = whys_of([run for run in rows if run.state in _WAITING], visibility_of(scope.principal))
    shown = []
    for run in rows:
        metric = chosen.get(run.pk)
        params = " ".join(f"{param.key}={param.value}" for param in list(run.params.all())[:4])
        waits = (whys[run.pk].sentence if run.pk in whys else run.message) if run.state in _WAITING else ""
        shown.append(
            RunRow(
                str(run),
                params or run.experiment.name,
                run.state,
                metric=metric.key if metric else "",
                value=metric.value if metric else None,
                points=curves.get(run.pk, []),
                url=_url(run),
                started_at=run.started_at or run.created_at,
                reason=waits,
                topic=f"run:{run.pk}",
            )
        )
    return shown


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
    return nav.Count(RegisteredModel.objects.filter(project=project).count()) if project else None


def count_runs(principal: Principal, project: Project | None) -> nav.Count | None:
    """How many runs are under way; nothing when none is."""
    if project is None:
        return None
    active = selectors.runs(experiment__project=project, state__in=UNSETTLED).count()
    return nav.Count(active) if active else None


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
        search.Hit(str(run), f"{run.state} · {run.experiment.name} in {run.experiment.project.name}", _url(run), "run")
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


def _url(run: Run) -> str:
    return nav.link("experiments:run", run.experiment.project.name, run.uid)


def _verb(run: Run) -> str:
    return "was lost" if run.state == RunState.LOST else "failed"


def _why(run: Run, last: Attempt | None) -> str:
    """The reason, and the last line of the log, which mostly is the exception."""
    exit_code = f"Exit code {run.exit_code}." if run.exit_code is not None else ""
    told = how_it_failed(run, last)
    reason = (
        (told.sentence if told else run.message)
        or " ".join(part for part in (run.reason, exit_code) if part)
        or "It gave no reason."
    )
    lines = last_lines(last) if run.state == RunState.FAILED else []
    return f"{reason} {Truncator(lines[-1].strip()).chars(LOG_LINE)}" if lines else reason

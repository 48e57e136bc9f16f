"""What the pages show, computed when a template asks for it: a fragment pays only for its own queries."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.core.paginator import Page, Paginator
from django.http import QueryDict
from django.utils import timezone

from apps.clusters.models import KubeEvent, Pod
from apps.clusters.visibility import visibility_of
from apps.clusters.why import Why
from apps.core.access import Principal, may
from apps.core.errors import Invalid
from apps.core.models import Transition
from apps.core.transitions import transitions_of
from apps.experiments import artifacts, charts, selectors
from apps.experiments.curves import Point, curves, grown_keys
from apps.experiments.filetree import Files, file_trees
from apps.experiments.models import Experiment, LatestMetric, LoggedModel, ModelVersion, Run
from apps.experiments.search import RunSearch
from apps.experiments.states import FAILURES, SETTLED, RunKind, RunState
from apps.experiments.whys import why_of

PER_PAGE = 50
MAX_COLUMNS = 6
MAX_CURVES = 8
CHART_POINTS = 400
MAX_CHARTS = 12
MAX_SOURCES = MAX_VERSIONS = 50
FAILURE_LINES = 12


def may_change(principal: Principal, experiment: Experiment) -> bool:
    """Whether the viewer sees buttons that change something."""
    return may(principal, experiment.project)


@dataclass(frozen=True)
class Cell:
    """A param's text or a metric's number; None where the run has none."""

    value: Any
    is_metric: bool


@dataclass(frozen=True)
class Row:
    """A run in the table; `cells` in the order of the columns."""

    run: Run
    cells: list[Cell]


class _Matches:
    """The runs that match, as Django's Paginator wants them: counted once, read by slices."""

    def __init__(self, search: RunSearch) -> None:
        self._search = search

    def count(self) -> int:
        return self._search.rows.count()

    def __getitem__(self, part: slice) -> list[Run]:
        start, stop = part.start or 0, part.stop or 0
        pks = self._search.page(start, stop - start)
        found = {run.pk: run for run in selectors.with_values(selectors.runs(pk__in=pks))}
        return [found[pk] for pk in pks if pk in found]


class RunTable:
    """The runs of an experiment, filtered, sorted and cut by what the address says."""

    def __init__(self, experiment: Experiment, query: QueryDict) -> None:
        self._experiment = experiment
        self._query = query
        self.error = ""

    @cached_property
    def page(self) -> Page[Any]:
        """One page of runs. A filter that makes no sense gives an empty page and sets `error`."""
        try:
            search = self._search
        except Invalid as error:
            self.error = error.sentence
            return Paginator([], PER_PAGE).get_page(1)
        return Paginator(_Matches(search), PER_PAGE).get_page(self._query.get("page"))  # type: ignore[arg-type]

    @cached_property
    def _search(self) -> RunSearch:
        state = self._query.get("state", "")
        search = RunSearch(
            [self._experiment.pk], filter_text=self._query.get("filter", ""), order_by=self._order(), active=True
        )
        if state:
            search.rows = search.rows.filter(state=state)
        return search

    def _order(self) -> list[str]:
        wanted = self._query.get("sort", "")
        key, direction = wanted.removeprefix("-"), "DESC" if wanted.startswith("-") else "ASC"
        kind, _, name = key.partition(".")
        if kind in ("metrics", "params") and name and "`" not in name:
            return [f"{kind}.`{name}` {direction}"]
        column = {"name": "run_name", "state": "status", "started": "start_time"}.get(key)
        return [f"attributes.{column} {direction}"] if column else []

    @property
    def filtered(self) -> bool:
        """Whether the address narrows the table."""
        return bool(self._query.get("filter") or self._query.get("state"))

    @cached_property
    def available(self) -> list[str]:
        """Every column that these runs have values for: params, then metrics."""
        params = {param.key for run in self.page for param in run.params.all()}
        metrics = {metric.key for run in self.page for metric in run.latest_metrics.all()}
        return [f"params.{key}" for key in sorted(params)] + [f"metrics.{key}" for key in sorted(metrics)]

    @cached_property
    def columns(self) -> list[str]:
        """The columns shown: those that the address names, else the params that differ and the first metrics."""
        chosen = [name for name in self._query.getlist("col") if name in self.available]
        if chosen:
            return chosen
        differ = [name for name in self.available if name.startswith("params.") and self._differs(name[7:])]
        metrics = [name for name in self.available if name.startswith("metrics.")]
        return differ[:MAX_COLUMNS] + sorted(metrics, key=prominence)[:MAX_COLUMNS]

    def _differs(self, key: str) -> bool:
        return len({next((p.value for p in run.params.all() if p.key == key), None) for run in self.page}) > 1

    @cached_property
    def rows(self) -> list[Row]:
        """The runs with their values in the order of the columns."""
        return [Row(run, [_cell(run, name) for name in self.columns]) for run in self.page]

    @cached_property
    def metric_keys(self) -> list[str]:
        """The metrics that can be drawn, those that have grown over steps first, then the most telling."""
        keys = {metric.key for run in self.page for metric in run.latest_metrics.all()}
        grown = grown_keys([run.pk for run in self.page]) if keys else set()
        return sorted(keys, key=lambda key: (key not in grown, prominence(f"metrics.{key}")))

    @cached_property
    def metric(self) -> str:
        """The metric that is drawn."""
        wanted = self._query.get("metric", "")
        return wanted if wanted in self.metric_keys else next(iter(self.metric_keys), "")

    @cached_property
    def drawn(self) -> list[Run]:
        """The first runs of the page that have the drawn metric: more than a few curves say nothing."""
        having = [run for run in self.page if any(m.key == self.metric for m in run.latest_metrics.all())]
        return having[:MAX_CURVES]

    @cached_property
    def curves(self) -> dict[str, list[Point]]:
        """The points of the drawn metric by the runs' names; runs without any are left out."""
        found = curves([run.pk for run in self.drawn], [self.metric], limit=CHART_POINTS)
        names = _unique_names(self.drawn)
        return {names[pk]: points for (pk, _), points in found.items()}

    @property
    def chart(self) -> Any:
        """The curves as a figure, or None."""
        return charts.compare_chart(self.metric, self.curves) if self.curves else None

    @property
    def chart_rows(self) -> list[tuple[str, int, float, float]]:
        """The curves as a table: name, last step, first and last value."""
        return [(name, points[-1][0], points[0][2], points[-1][2]) for name, points in self.curves.items()]


def _unique_names(runs: Iterable[Run]) -> dict[int, str]:
    names: dict[int, str] = {}
    for run in runs:
        name = str(run)
        names[run.pk] = f"{name} {run.uid[:6]}" if name in names.values() else name
    return names


def prominence(column: str) -> tuple[int, str]:
    """Results before system figures; validation and accuracy before the rest."""
    key = column.partition(".")[2].lower()
    if key.startswith("system/"):
        return (3, key)
    return (0 if "acc" in key or key.startswith(("val", "test")) else 1 if "loss" in key else 2, key)


def _cell(run: Run, column: str) -> Cell:
    kind, _, key = column.partition(".")
    values: Any = run.params.all() if kind == "params" else run.latest_metrics.all()
    return Cell(next((found.value for found in values if found.key == key), None), kind == "metrics")


@dataclass(frozen=True)
class Curve:
    """A chart of one metric."""

    key: str
    name: str
    figure: Any
    points: int


class RunBoard:
    """Everything about one run."""

    def __init__(self, run: Run, principal: Principal) -> None:
        self.run = run
        self._principal = principal

    @cached_property
    def may_change(self) -> bool:
        """Whether the viewer may cancel, repeat and register."""
        return may_change(self._principal, self.run.experiment)

    @property
    def settled(self) -> bool:
        """Whether nothing will change by itself."""
        return self.run.state in SETTLED

    @property
    def may_cancel(self) -> bool:
        """Whether Cancel makes sense."""
        return self.may_change and self.launched and not self.settled and self.run.state != RunState.CANCELING

    @property
    def launched(self) -> bool:
        """Whether Flotilla runs it."""
        return self.run.kind == RunKind.LAUNCHED

    @property
    def failed(self) -> bool:
        """Whether the page begins with why."""
        return self.run.state in FAILURES

    @property
    def verdict(self) -> str:
        """One sentence beside the status; nothing where the card below it says why."""
        if self.why is not None or (self.settled and not self.failed):
            return ""
        if self.failed:
            code = f"exit code {self.run.exit_code}" if self.run.exit_code is not None else ""
            return ", ".join(part for part in (code, self.run.reason) if part) or "it gave no reason"
        return self.run.message

    @cached_property
    def why(self) -> Why | None:
        """Why it waits, is unwell or failed: one sentence with its evidence; None when all is well."""
        return why_of(self.run, self.pods, visibility_of(self._principal)) if self.launched else None

    @property
    def last_lines(self) -> str:
        """The end of the kept log."""
        return "\n".join(self.run.log_tail.rstrip().splitlines()[-FAILURE_LINES:])

    @cached_property
    def metrics(self) -> list[LatestMetric]:
        """The latest values."""
        return sorted(self.run.latest_metrics.all(), key=lambda metric: prominence(f"metrics.{metric.key}"))

    @cached_property
    def curves(self) -> list[Curve]:
        """A chart for each metric that has more than one point, the most telling first."""
        keys = [metric.key for metric in self.metrics][: MAX_CHARTS * 2]
        found = selectors.metric_series(self.run.pk, keys, limit=CHART_POINTS)
        grown = [series for series in found if len(series.points) > 1][:MAX_CHARTS]
        return [
            Curve(series.key, f"metric-{number}", charts.metric_chart(series.key, series.points), len(series.points))
            for number, series in enumerate(grown)
        ]

    @cached_property
    def table(self) -> list[tuple[int, list[float | None]]]:
        """The same curves as figures: the last steps, newest first."""
        by_step: dict[int, dict[str, float | None]] = {}
        for curve in self.curves:
            trace = curve.figure.data[0]
            for step, value in zip(trace.x, trace.y, strict=True):
                by_step.setdefault(step, {})[curve.key] = value
        steps = sorted(by_step, reverse=True)[:PER_PAGE]
        return [(step, [by_step[step].get(curve.key) for curve in self.curves]) for step in steps]

    @cached_property
    def params(self) -> list[Any]:
        """The params by name."""
        return list(self.run.params.order_by("key"))

    @cached_property
    def tags(self) -> list[Any]:
        """The tags by name, those of the client's own book-keeping last."""
        return sorted(self.run.tags.all(), key=lambda tag: (tag.key.startswith("mlflow."), tag.key))

    @cached_property
    def logged_models(self) -> list[LoggedModel]:
        """The models that it logged."""
        return list(self.run.logged_models.filter(deleted_at=None).order_by("-id")[:10])

    @cached_property
    def files(self) -> list[Files]:
        """Its own files, then those of each logged model."""
        return file_trees(self.run, self.logged_models)

    @cached_property
    def sources(self) -> list[str]:
        """What can be registered: logged models, and folders that hold an MLmodel."""
        names = [model.name for model in self.logged_models]
        marks = (
            artifacts.artifacts_of(self.run)
            .filter(path__endswith="/MLmodel")
            .order_by("path")
            .values_list("path", flat=True)
        )
        return list(dict.fromkeys([*names, *(path.rpartition("/")[0] for path in marks[:MAX_SOURCES])]))

    @cached_property
    def versions(self) -> list[ModelVersion]:
        """The model versions that were made from it."""
        return list(self.run.model_versions.select_related("model").order_by("-id")[:MAX_VERSIONS])

    @cached_property
    def pods(self) -> list[Pod]:
        """Its pods as last observed."""
        return selectors.pods_of(self.run)

    @cached_property
    def events(self) -> list[tuple[KubeEvent, str]]:
        """What the cluster said, each with the state word that gives its look."""
        return [
            (event, "Warning" if event.type == "Warning" else "Normal")
            for event in selectors.events_of(self.run, self.pods)
        ]

    @cached_property
    def history(self) -> list[Transition]:
        """Its states, newest first."""
        return list(reversed(transitions_of(self.run)))

    @property
    def command(self) -> str:
        """What the container runs, as one line."""
        return " ".join([*self.run.spec.get("command", []), *self.run.spec.get("args", [])])

    @property
    def ended(self) -> Any:
        """When it ended, for the ticking duration: a run that never started has none."""
        return self.run.ended_at or (timezone.now() if self.settled else None)

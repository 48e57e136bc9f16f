"""The runs of an experiment as a table, and a metric's curves over them."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.http import QueryDict

from apps.core.errors import Invalid
from apps.core.pages.numbered import NumberedPage, page_at
from apps.experiments import selectors
from apps.experiments.models import Experiment, Run
from apps.experiments.pages import charts
from apps.experiments.search import RunSearch
from apps.experiments.tracking.curves import Point, curves, grown_keys

PER_PAGE = 50
MAX_COLUMNS = 6
MAX_CURVES = 8
CHART_POINTS = 400


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


class RunTable:
    """The runs of an experiment, filtered, sorted and cut by what the address says."""

    def __init__(self, experiment: Experiment, query: QueryDict) -> None:
        self._experiment = experiment
        self._query = query
        self.error = ""

    @cached_property
    def page(self) -> NumberedPage[Run]:
        """One page of runs. A filter that makes no sense gives an empty page and sets `error`."""
        try:
            search = self._search
        except Invalid as error:
            self.error = error.sentence
            return NumberedPage([], 0)
        keys, first = page_at(self._query.get("page", ""), PER_PAGE, search.page)
        runs = {run.pk: run for run in selectors.with_values(selectors.runs(pk__in=keys.rows))}
        shown = [runs[pk] for pk in keys.rows if pk in runs]
        return NumberedPage(shown, search.rows.count(), first, PER_PAGE, keys.previous, keys.next)

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
        sort = self._query.get("sort", "")
        key, direction = sort.removeprefix("-"), "DESC" if sort.startswith("-") else "ASC"
        kind, _, name = key.partition(".")
        if kind in ("metrics", "params") and name and "`" not in name:
            return [f"{kind}.`{name}` {direction}"]
        column = {"name": "run_name", "state": "status", "started": "started_at"}.get(key)
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
        key = self._query.get("metric", "")
        return key if key in self.metric_keys else next(iter(self.metric_keys), "")

    @cached_property
    def drawn(self) -> list[Run]:
        """The first runs of the page that have the drawn metric: more than a few curves say nothing."""
        having = [run for run in self.page if any(m.key == self.metric for m in run.latest_metrics.all())]
        return having[:MAX_CURVES]

    @cached_property
    def curves(self) -> dict[str, list[Point]]:
        """The points of the drawn metric by the runs' names; runs without any are left out."""
        points_of = curves([run.pk for run in self.drawn], [self.metric], limit=CHART_POINTS)
        names = _unique_names(self.drawn)
        return {names[pk]: points for (pk, _), points in points_of.items()}

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
    return Cell(next((row.value for row in values if row.key == key), None), kind == "metrics")

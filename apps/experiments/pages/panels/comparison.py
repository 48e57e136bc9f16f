"""Several runs beside each other: what they were given, what they measured, and charts over all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import compress
from typing import Any
from urllib.parse import urlencode

from django.http import QueryDict

from apps.core.models import Project
from apps.core.pages.asked import TEXT, words
from apps.experiments import selectors
from apps.experiments.models import Run
from apps.experiments.pages import charts
from apps.experiments.pages.colours import colour_of
from apps.experiments.pages.panels.keys import Kind, keys_in, prominence
from apps.experiments.pages.panels.launched import given_lines, launched_lines_of, package_lines
from apps.experiments.pages.panels.table import unique_names
from apps.experiments.selectors import Logged
from apps.experiments.states import SETTLED
from apps.experiments.tracking.curves import Point, curves, grown_keys
from apps.experiments.tracking.tags import OF_PROGRAMS

MOST_RUNS = 100
# Each of so many columns links to the page without it, which names all others.
MOST_LINKS = 20
# Points of all curves of a chart together.
CHART_POINTS = 12_000
FEWEST_POINTS = 40
SHOWN: tuple[Kind, ...] = ("metrics", "params", "tags")
VIEWS = {"curves": "Curves", "parallel": "Parallel coordinates", "scatter": "Scatter"}
TAKES = {
    # Only the runs tell which of these there are.
    **dict.fromkeys(("run", "metric", "x", "y"), TEXT),
    **dict.fromkeys(("all", "log"), words(["1"])),
    "chart": words(VIEWS),
    "over": words(["time"]),
}
MOST_PARAM_AXES, MOST_METRIC_AXES = 5, 3


@dataclass(frozen=True)
class Side:
    """A run as the head of a column; `without` is the address of the page without it, "" where that is not offered."""

    run: Run
    name: str
    without: str

    @property
    def colour(self) -> str:
        """The colour that the run has in all charts."""
        return colour_of(self.run.pk)


@dataclass(frozen=True)
class Line:
    """One key and its value in each run, None where a run has none."""

    key: str
    values: list[Any]
    among: Sequence[bool] | None = None
    """Which of the runs could have it: all of them unless it is given."""

    @property
    def differs(self) -> bool:
        """Whether the runs have more than one value, or only some of them any."""
        compared = self.values if self.among is None else compress(self.values, self.among)
        # NaN differs from itself.
        return len({repr(value) for value in compared}) > 1


@dataclass(frozen=True)
class Group:
    """The lines of one kind that are shown; `alike` says how many others are the same in all runs."""

    kind: str
    lines: list[Line]
    alike: int

    @property
    def is_numbers(self) -> bool:
        """Whether the values are numbers."""
        return self.kind == "metrics"


class Comparison:
    """The runs that the address names, as far as they are in the project."""

    def __init__(self, project: Project, query: QueryDict) -> None:
        self._project = project
        self._query = query

    @cached_property
    def uids(self) -> list[str]:
        """The ids that the address names."""
        return list(dict.fromkeys(self._query.getlist("run")))

    @cached_property
    def runs(self) -> list[Run]:
        """The runs in the order of the address, of which no more are shown than side by side are of use."""
        rows = selectors.runs(experiment__project=self._project, uid__in=self.uids[:MOST_RUNS])
        by_uid = {run.uid: run for run in rows}
        return [by_uid[uid] for uid in self.uids if uid in by_uid]

    @property
    def too_many(self) -> int:
        """How many runs the address names beyond those that are shown."""
        return max(0, len(self.uids) - MOST_RUNS)

    @property
    def gone(self) -> int:
        """How many of the runs are not there, or not any more."""
        return min(len(self.uids), MOST_RUNS) - len(self.runs)

    @property
    def topics(self) -> str:
        """What the page follows."""
        return " ".join(sorted({f"experiment:{run.experiment_id}" for run in self.runs}))

    @property
    def settled(self) -> bool:
        """Whether nothing will change by itself."""
        return all(run.state in SETTLED for run in self.runs)

    @property
    def experiments(self) -> list[str]:
        """The experiments of the runs."""
        return sorted({run.experiment.name for run in self.runs})

    @cached_property
    def names(self) -> dict[int, str]:
        """The names of the runs, by which they are told apart."""
        return unique_names(self.runs)

    @cached_property
    def sides(self) -> list[Side]:
        """The heads of the columns."""
        may_leave = 2 < len(self.runs) <= MOST_LINKS
        return [Side(run, self.names[run.pk], self._address_without(run) if may_leave else "") for run in self.runs]

    def _address_without(self, run: Run) -> str:
        rest = [(name, text) for name, texts in self._query.lists() for text in texts if name not in ("part", "run")]
        return "?" + urlencode([*(("run", other.uid) for other in self.runs if other is not run), *rest])

    @cached_property
    def logged(self) -> dict[int, Logged]:
        """What each run has logged."""
        return selectors.logged_by(self.runs)

    @property
    def shows_all(self) -> bool:
        """Whether what is the same in all runs is shown, too."""
        return self._query.get("all") == "1" or len(self.runs) < 2

    @cached_property
    def groups(self) -> list[Group]:
        """Metrics, params and tags, side by side, and what the runs were made of."""
        shown = []
        for kind in SHOWN:
            keys = keys_in(self.logged.values(), kind)
            if kind == "tags":
                keys = {key for key in keys if not key.startswith(OF_PROGRAMS)}
            every = [self._line(kind, key) for key in sorted(keys, key=lambda key: _order(kind, key))]
            lines = every if self.shows_all else [line for line in every if line.differs]
            if every:
                shown.append(Group(kind, lines, len(every) - len(lines)))
        return [*shown, *self._more()]

    def _more(self) -> list[Group]:
        """What they were given, how those that Flotilla launched were (what was asked for, the image as it was pulled,
        commit and nodes), and what was installed there."""
        packages = package_lines(self.runs)
        every = {
            "datasets": _lines(given_lines(self.runs)),
            "launch": _lines(launched_lines_of(self.runs)),
            # A run whose packages nobody knows does not differ in them.
            "packages": sorted(
                _lines(packages, among=[bool(each) for each in packages]), key=lambda line: line.key.lower()
            ),
        }
        shown = {kind: [line for line in lines if self.shows_all or line.differs] for kind, lines in every.items()}
        return [Group(kind, shown[kind], len(lines) - len(shown[kind])) for kind, lines in every.items() if lines]

    def _line(self, kind: str, key: str) -> Line:
        return Line(key, [getattr(self.logged[run.pk], kind).get(key) for run in self.runs])

    @property
    def view(self) -> str:
        """The chart that is shown."""
        chosen = self._query.get("chart", "")
        return chosen if chosen in VIEWS else "curves"

    @property
    def views(self) -> list[tuple[str, str]]:
        """The charts that there are, with their names."""
        return list(VIEWS.items())

    def kept(self, *own: str) -> list[tuple[str, str]]:
        """What the address says beside the fields of a form."""
        return [(name, text) for name, texts in self._query.lists() if name not in {"part", *own} for text in texts]

    @property
    def kept_by_chart(self) -> list[tuple[str, str]]:
        """What the form of the chart sends along."""
        return self.kept("metric", "over", "log", "x", "y")

    @property
    def kept_by_switch(self) -> list[tuple[str, str]]:
        """What the switch for differences sends along."""
        return self.kept("all")

    @cached_property
    def metric_keys(self) -> list[str]:
        """The metrics that can be drawn, those that have grown over steps first, then the most telling."""
        keys = keys_in(self.logged.values(), "metrics")
        grown = grown_keys([run.pk for run in self.runs]) if keys and self.view == "curves" else set()
        return sorted(keys, key=lambda key: (key not in grown, prominence(key)))

    @cached_property
    def metric(self) -> str:
        """The metric of the curves."""
        key = self._query.get("metric", "")
        return key if key in self.metric_keys else next(iter(self.metric_keys), "")

    @property
    def over_time(self) -> bool:
        """Whether curves are drawn over the time since the run's first point, not over steps."""
        return self._query.get("over") == "time"

    @property
    def is_log(self) -> bool:
        """Whether the scale of the values is logarithmic."""
        return self._query.get("log") == "1"

    @cached_property
    def curves(self) -> list[tuple[Run, list[Point]]]:
        """The points of the metric of each run that has any."""
        if not self.metric:
            return []
        limit = max(FEWEST_POINTS, CHART_POINTS // max(1, len(self.runs)))
        points_of = curves([run.pk for run in self.runs], [self.metric], limit=limit)
        return [(run, points_of[run.pk, self.metric]) for run in self.runs if (run.pk, self.metric) in points_of]

    @property
    def curve_rows(self) -> list[tuple[str, int, float, float]]:
        """The curves as a table: name, last step, first and last value."""
        return [(self.names[run.pk], points[-1][0], points[0][2], points[-1][2]) for run, points in self.curves]

    @cached_property
    def numbers(self) -> list[str]:
        """The columns that are numbers in all runs that have them: differing params, then metrics."""
        told = [name for name in self._params if self._differing_numbers(name)]
        return told + self._metrics

    @cached_property
    def _params(self) -> list[str]:
        return [f"params.{key}" for key in sorted(keys_in(self.logged.values(), "params"))]

    @cached_property
    def _metrics(self) -> list[str]:
        return [f"metrics.{key}" for key in sorted(keys_in(self.logged.values(), "metrics"), key=prominence)]

    def _differing_numbers(self, column: str) -> bool:
        values = [value for value in self._values(column) if value is not None]
        return len(set(values)) > 1 and all(charts.number_of(value) is not None for value in values)

    def _values(self, column: str) -> list[Any]:
        kind, _, key = column.partition(".")
        return [getattr(self.logged[run.pk], kind).get(key) for run in self.runs]

    def _axis(self, name: str, usual: Sequence[str]) -> str:
        chosen = self._query.get(name, "")
        return chosen if chosen in self.numbers else next(iter(usual), "")

    @property
    def x_axis(self) -> str:
        """What lies along the scatter: what the address says, or the first param, or the second metric."""
        return self._axis("x", [*self.numbers[:1]])

    @property
    def y_axis(self) -> str:
        """What rises in the scatter."""
        metrics = [name for name in self.numbers if name.startswith("metrics.") and name != self.x_axis]
        return self._axis("y", metrics)

    @cached_property
    def axes(self) -> list[str]:
        """The axes of the parallel coordinates: params that differ, then the most telling metrics."""
        differ = [name for name in self._params if len({*self._values(name)}) > 1]
        return differ[:MOST_PARAM_AXES] + self._metrics[:MOST_METRIC_AXES]

    @cached_property
    def figure(self) -> Any:
        """The chart that is shown, or None where nothing can be drawn."""
        colours = [colour_of(run.pk) for run in self.runs]
        names = [self.names[run.pk] for run in self.runs]
        if self.view == "parallel":
            axes = [(name.partition(".")[2], self._values(name)) for name in self.axes]
            return charts.parallel_chart(names, colours, axes) if len(axes) > 1 else None
        if self.view == "scatter":
            if not self.x_axis or not self.y_axis:
                return None
            sides = [(name.partition(".")[2], self._values(name)) for name in (self.x_axis, self.y_axis)]
            return charts.scatter_chart(names, colours, sides[0], sides[1])
        drawn = [(self.names[run.pk], colour_of(run.pk), points) for run, points in self.curves]
        return charts.overlaid_chart(self.metric, drawn, over_time=self.over_time, log_y=self.is_log) if drawn else None


def _lines(told: Sequence[Mapping[str, str]], among: Sequence[bool] | None = None) -> list[Line]:
    keys = dict.fromkeys(key for one in told for key in one)
    return [Line(key, [lines.get(key) for lines in told], among) for key in keys]


def _order(kind: str, key: str) -> tuple[Any, ...]:
    return prominence(key) if kind == "metrics" else (key,)

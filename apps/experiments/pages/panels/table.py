"""The runs of an experiment as a table, and a metric's curves over them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from apps.core.errors import Invalid
from apps.core.pages.asked import PLACE, TEXT, Unread, gone, order, words
from apps.core.pages.numbered import NumberedPage, page_at
from apps.core.text.wording import number_text
from apps.experiments import selectors
from apps.experiments.models import Run
from apps.experiments.pages import charts
from apps.experiments.pages.colours import colour_of
from apps.experiments.pages.panels.keys import columns_of, keys_in, prominence
from apps.experiments.pages.panels.narrowed import Narrowed
from apps.experiments.search import RunSearch
from apps.experiments.selectors import Logged
from apps.experiments.states import RunState
from apps.experiments.tracking.curves import Point, curves, grown_keys

PER_PAGE = 50
MAX_COLUMNS = 6
# Of a param or a tag in the table.
MOST_LETTERS = 24
MAX_CURVES = 8
CHART_POINTS = 400
# The state by which the table shows runs that are deleted.
DELETED = "Deleted"
KINDS = ("params", "metrics", "tags")
# The columns that every run has, as the search calls them.
COLUMNS = {"name": "run_name", "state": "status", "started": "started_at"}
# So many runs of a file of all of them are held at once.
AT_ONCE = 500


@dataclass(frozen=True)
class Cell:
    """A value of a run as it is shown, or that it has none. There are hundreds on a page: no template for each."""

    text: str
    look: str
    """The class of the text."""
    is_pinned: bool = False


@dataclass(frozen=True)
class Column:
    """A column that can be shown: `params.alpha`."""

    name: str
    is_shown: bool
    is_pinned: bool

    @property
    def key(self) -> str:
        """The key under which runs have logged it."""
        return self.name.partition(".")[2]


@dataclass(frozen=True)
class Row:
    """A run in the table; `cells` in the order of the columns."""

    run: Run
    cells: list[Cell]

    @property
    def pinned(self) -> list[Cell]:
        """Those that stay at the left."""
        return [cell for cell in self.cells if cell.is_pinned]

    @property
    def others(self) -> list[Cell]:
        """Those that don't."""
        return [cell for cell in self.cells if not cell.is_pinned]

    @property
    def colour(self) -> str:
        """The run's own in all charts."""
        return colour_of(self.run.pk)


def _is_logged(column: str) -> bool:
    kind, _, name = column.partition(".")
    return kind in KINDS and name != "" and "`" not in name


TAKES = {
    "filter": TEXT,
    "state": words([*RunState, DELETED]),
    "sort": order(COLUMNS, _is_logged),
    "page": PLACE,
    # Which of these there are only the runs tell.
    **dict.fromkeys(("col", "pin", "metric"), TEXT),
}


class RunTable(Narrowed):
    """The runs of an experiment, filtered, sorted and cut by what the address says."""

    @cached_property
    def page(self) -> NumberedPage[Run]:
        """One page of runs. A filter that makes no sense gives an empty page and sets `error`."""
        try:
            search = self._search
        except Invalid as error:
            self.error = error.sentence
            return NumberedPage([], 0)
        total = search.count() if self.filtered else self.counts["run_count"]
        return page_at(self._query.get("page", ""), PER_PAGE, search.page, self._runs, total)

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many runs the experiment has, whatever the filter."""
        return selectors.counts_of(self._experiment)

    @cached_property
    def trace_count(self) -> int:
        """How many traces the experiment has, for a page that has no run to show."""
        return self._experiment.traces.count()

    def pages(self) -> Iterator[list[tuple[Run, Logged]]]:
        """All runs that match, some at a time, each with what it has logged. Raises Invalid."""
        token = ""
        while True:
            keys = self._search.page(AT_ONCE, token)
            runs = self._runs(keys.rows)
            logged = selectors.logged_by(runs)
            yield [(run, logged[run.pk]) for run in runs]
            token = keys.next
            if not token:
                return

    def _runs(self, keys: list[int]) -> list[Run]:
        rows = selectors.deleted_runs(pk__in=keys) if self.shows_deleted else selectors.runs(pk__in=keys)
        runs = {run.pk: run for run in rows}
        return [runs[pk] for pk in keys if pk in runs]

    @property
    def shows_deleted(self) -> bool:
        """Whether these are the runs that are deleted."""
        return self.state == DELETED

    @cached_property
    def _search(self) -> RunSearch:
        search = RunSearch(
            [self._experiment.pk],
            filter_text=self.filter,
            order_by=self._order(),
            active=not self.shows_deleted,
        )
        if self.state and not self.shows_deleted:
            search.in_state(self.state)
        return search

    def _order(self) -> list[str]:
        sort = self._query.get("sort", "")
        key, direction = sort.removeprefix("-"), "DESC" if sort.startswith("-") else "ASC"
        kind, _, name = key.partition(".")
        if _is_logged(key):
            return [f"{kind}.`{name}` {direction}"]
        column = COLUMNS.get(key)
        return [f"attributes.{column} {direction}"] if column else []

    @property
    def kept(self) -> list[tuple[str, str]]:
        """What the address says beside the filter and the columns, for the form of these."""
        own = {"filter", "state", "col", "pin", "part", "page"}
        return [(name, text) for name, texts in self._query.lists() if name not in own for text in texts if text]

    @property
    def address(self) -> str:
        """The query that leads to this table."""
        query = self._query.copy()
        query.pop("part", None)
        return query.urlencode()

    @cached_property
    def logged(self) -> dict[int, Logged]:
        """What the runs of the page have logged, by primary key."""
        return selectors.logged_by(self.page)

    @cached_property
    def available(self) -> list[str]:
        """Every column that runs of the experiment have values for: params, metrics, then tags."""
        return columns_of(self._experiment.pk)

    @cached_property
    def _chosen(self) -> tuple[list[str], list[str]]:
        """The columns that the address names, and those that it pins, if runs have values for them."""
        known = set(self.available) if self._query.get("col") or self._query.get("pin") else set()
        col, pin = (
            [name for name in dict.fromkeys(self._query.getlist(key)) if name in known] for key in ("col", "pin")
        )
        return col, pin

    def unknown(self) -> Iterator[Unread]:
        """What the address asks for that no run has logged."""
        for key in ("col", "pin"):
            for name in dict.fromkeys(self._query.getlist(key)):
                if name and name not in self.available:
                    yield Unread(key, name, tuple(self.available))
        metric = self._query.get("metric", "")
        if metric and metric not in self.metric_keys:
            yield Unread("metric", metric, tuple(self.metric_keys))

    def gone(self) -> Iterator[Unread]:
        """The page that the address asks for, where it is not there."""
        if not self.page.is_there:
            yield gone(self._query.get("page", ""))

    @cached_property
    def columns(self) -> list[str]:
        """The columns shown, pinned ones first: those that the address names, else the params that differ and the
        first metrics."""
        chosen, pinned = self._chosen
        return list(dict.fromkeys([*pinned, *(chosen or self._usual())]))

    def _usual(self) -> list[str]:
        logged = self.logged.values()
        differ = [f"params.{key}" for key in sorted(keys_in(logged, "params")) if self._differs(key)]
        metrics = [f"metrics.{key}" for key in sorted(keys_in(logged, "metrics"), key=prominence)]
        return differ[:MAX_COLUMNS] + metrics[:MAX_COLUMNS]

    def _differs(self, key: str) -> bool:
        return len({self.logged[run.pk].params.get(key) for run in self.page}) > 1

    @cached_property
    def heads(self) -> list[Column]:
        """The columns shown, in their order."""
        pinned = set(self._chosen[1])
        return [Column(name, True, name in pinned) for name in self.columns]

    @cached_property
    def choice(self) -> list[tuple[str, list[Column]]]:
        """What can be shown, by its kind."""
        shown, pinned = set(self.columns), set(self._chosen[1])
        of_kind: dict[str, list[Column]] = {}
        for name in self.available:
            of_kind.setdefault(name.partition(".")[0], []).append(Column(name, name in shown, name in pinned))
        return list(of_kind.items())

    @cached_property
    def rows(self) -> list[Row]:
        """The runs with their values in the order of the columns."""
        return [Row(run, [_cell(self.logged[run.pk], head) for head in self.heads]) for run in self.page]

    @cached_property
    def metric_keys(self) -> list[str]:
        """The metrics that can be drawn, those that have grown over steps first, then the most telling."""
        keys = keys_in(self.logged.values(), "metrics")
        grown = grown_keys([run.pk for run in self.page]) if keys else set()
        return sorted(keys, key=lambda key: (key not in grown, prominence(key)))

    @cached_property
    def metric(self) -> str:
        """The metric that is drawn."""
        key = self._query.get("metric", "")
        return key if key in self.metric_keys else next(iter(self.metric_keys), "")

    @cached_property
    def drawn(self) -> list[Run]:
        """The first runs of the page that have the drawn metric: more than a few curves say nothing."""
        return [run for run in self.page if self.metric in self.logged[run.pk].metrics][:MAX_CURVES]

    @cached_property
    def curves(self) -> list[tuple[str, str, list[Point]]]:
        """The drawn metric of each run: its name, its colour and the points; runs without any are left out."""
        points_of = curves([run.pk for run in self.drawn], [self.metric], limit=CHART_POINTS)
        names = unique_names(self.drawn)
        return [(names[pk], colour_of(pk), points) for (pk, _), points in points_of.items()]

    @property
    def chart(self) -> Any:
        """The curves as a figure, or None."""
        return charts.overlaid_chart(self.metric, self.curves) if self.curves else None

    @property
    def chart_rows(self) -> list[tuple[str, int, float, float]]:
        """The curves as a table: name, last step, first and last value."""
        return [(name, points[-1][0], points[0][2], points[-1][2]) for name, _, points in self.curves]


def unique_names(runs: Iterable[Run]) -> dict[int, str]:
    """The runs' names by their keys; of those that share a name the second has the beginning of its id, too."""
    names: dict[int, str] = {}
    taken = set[str]()
    for run in runs:
        name = str(run)
        names[run.pk] = f"{name} {run.uid[:6]}" if name in taken else name
        taken.add(name)
    return names


def _cell(logged: Logged, head: Column) -> Cell:
    kind, _, key = head.name.partition(".")
    value: Any = getattr(logged, kind).get(key)
    if value is None:
        return Cell("–", "faint", head.is_pinned)
    if kind == "metrics":
        return Cell(number_text(value), "", head.is_pinned)
    return Cell(value if len(value) <= MOST_LETTERS else f"{value[: MOST_LETTERS - 1]}…", "mono", head.is_pinned)

"""An analysis as its page shows it: every look with its figures and why, a chart of them, and the verdict. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from apps.clusters.quantities.words import plural
from apps.core.pages import charts
from apps.core.text.wording import duration_text, number_text
from apps.deployments.models import AnalysisRun, Rollout
from apps.deployments.rollout.analysis import Looks, Measurement
from apps.deployments.rollout.asked import Provider
from apps.deployments.rollout.plan import PlanStep
from apps.deployments.rollout.probed import Tally
from apps.deployments.rollout.scraped import called
from apps.deployments.rollout.verdicts import Outcome
from apps.deployments.services.analysing import answers_of, measurements_of

# Rows that stand open, and all that a page holds; REST has the rest.
FEW_LOOKS, SHOWN_LOOKS = 6, 100
SHOWN_SQUARES = 240
NAMED_TARGETS = 2
# Names may be long, and a legend has little room.
NEW, EARLIER = "new revision", "earlier revision"


@dataclass(frozen=True)
class Column:
    """A figure of each look: its key in `Measurement.value`, its head, and the unit behind the number."""

    key: str
    head: str
    unit: str = ""


@dataclass(frozen=True)
class Line:
    """A curve of the chart: a figure by its key. A bound is dashed, and is what was `asked` for where a look told
    nothing."""

    key: str
    name: str
    role: str
    is_bound: bool = False
    asked: str = ""


@dataclass(frozen=True)
class Look:
    """One look, as a row of the table; `why` it was not good, which its figures alone do not tell."""

    at: datetime
    outcome: str
    word: str
    cells: list[str]
    why: str


_NUMBER = (
    (Column("value", "New"), Column("before", "Earlier"), Column("least", "At least"), Column("most", "At most")),
    (
        Line("value", NEW, "series-1"),
        Line("before", EARLIER, "muted"),
        Line("least", "at least", "limit", is_bound=True, asked="min"),
        Line("most", "at most", "limit", is_bound=True, asked="max"),
    ),
)
_SHOWN: Mapping[str, tuple[tuple[Column, ...], tuple[Line, ...]]] = {
    Provider.HEALTH: (
        (Column("ready", "Ready"), Column("wanted", "Wanted"), Column("restarts", "Restarts")),
        (Line("ready", "ready replicas", "series-1"), Line("wanted", "wanted", "muted", is_bound=True)),
    ),
    Provider.PROBE: (
        (
            Column("latency_ms", "New", " ms"),
            Column("latency_before_ms", "Earlier", " ms"),
            Column("agreement", "Agree", " %"),
            Column("errors", "Errors"),
        ),
        (
            Line("latency_ms", NEW, "series-1"),
            Line("latency_before_ms", EARLIER, "muted"),
            Line("max_latency_ms", "at most", "limit", is_bound=True, asked="max_latency_ms"),
        ),
    ),
}
_WORDS = {Outcome.SUCCESSFUL: "Good", Outcome.FAILED: "Bad", Outcome.INCONCLUSIVE: "Inconclusive"}
_UNITS = {Provider.PROBE: "ms", Provider.HEALTH: "replicas"}


class AnalysisRow:
    """An analysis, with all that was seen, the last look first."""

    def __init__(self, run: AnalysisRun, step: PlanStep | None, revision: int) -> None:
        self.run, self._step, self.revision = run, step, revision
        self.provider = str(run.asked.get("provider") or Provider.HEALTH)
        self._seen = measurements_of(run)
        self._columns, self._lines = _SHOWN.get(self.provider, _NUMBER)

    @property
    def key(self) -> str:
        """What tells it from the others of its rollout."""
        return key_of(self.run)

    @property
    def name(self) -> str:
        """What is looked at: "share of errors"."""
        asked = self.run.asked
        if self.provider == Provider.SCRAPE:
            return called(asked)
        fallback = {Provider.HEALTH: "health of the replicas", Provider.PROBE: "answers to the same requests"}
        named = asked.get("name") or asked.get("metric") or fallback.get(Provider(self.provider))
        return str(named or "a query")

    @property
    def where(self) -> str:
        """ "scrape on eu", "health over all waves"."""
        if self._step is None:
            return f"{self.provider} over all waves"
        targets = self._step.targets
        return (
            f"{self.provider} on {', '.join(targets) if len(targets) <= NAMED_TARGETS else f'{len(targets)} targets'}"
        )

    @property
    def is_open(self) -> bool:
        """Whether it is to be seen unfolded: one that goes on, or was not good."""
        return self.run.state != Outcome.SUCCESSFUL

    @property
    def count(self) -> str:
        """ "2 of 3 measured"; of the whole rollout, which looks until the end, "7 looks"."""
        if self._step is None:
            return plural(len(self._seen) + Looks(**self.run.dropped).all, "look")
        return f"{len(self._seen)} of {self.run.asked['count']} measured"

    @property
    def said(self) -> str:
        """The verdict, or what the last look says."""
        return self.run.message or (self._seen[-1].message if self._seen else "")

    @property
    def tolerates(self) -> str:
        """ "1 may fail, 0 may tell nothing"."""
        asked, lasts = self.run.asked, ""
        if self._step is None:
            lasts = f" · until the end of the rollout, {plural(int(asked['count']), 'look')} at least"
        failures = int(asked["failure_limit"])
        silent = int(asked.get("inconclusive_limit", failures))
        every = duration_text(float(asked["interval_seconds"]))
        return f"every {every} · {failures} may fail · {silent} may tell nothing{lasts}"

    @property
    def squares(self) -> list[dict[str, str]]:
        """One for each look, the first one first; of very many the last ones."""
        return [
            {"name": f"{each.at:%H:%M:%S}", "state": each.outcome.value, "detail": each.message}
            for each in self._seen[-SHOWN_SQUARES:]
        ]

    @cached_property
    def columns(self) -> list[Column]:
        """Those of which any look has a figure."""
        return [column for column in self._columns if any(column.key in each.value for each in self._seen)]

    @cached_property
    def looks(self) -> list[Look]:
        """The last looks, the last one first."""
        return [
            Look(each.at, each.outcome.value, _WORDS[each.outcome], self._cells(each), self._why(each))
            for each in self._seen[: -SHOWN_LOOKS - 1 : -1]
        ]

    @cached_property
    def answers(self) -> list[Tally]:
        """What was said to each request, those that tell against the new revision first."""
        return sorted(answers_of(self.run), key=lambda row: (not row.errors, row.agreed == row.compared))

    @property
    def width(self) -> int:
        """How many columns a sentence of a look has below it."""
        return len(self.columns) + 1

    def _cells(self, look: Measurement) -> list[str]:
        return [_cell(look, column) for column in self.columns]

    def _why(self, look: Measurement) -> str:
        return "" if look.outcome is Outcome.SUCCESSFUL and self.columns else look.message

    @property
    def few(self) -> list[Look]:
        """Those that stand open."""
        return self.looks[:FEW_LOOKS]

    @property
    def more(self) -> list[Look]:
        """Those that are folded away."""
        return self.looks[FEW_LOOKS:]

    @property
    def hidden(self) -> int:
        """How many looks the page does not hold."""
        return len(self._seen) - len(self.looks)

    @cached_property
    def chart(self) -> Any:
        """The figures over time, with the bounds that held; None while there is no line to be drawn."""
        if sum(self._lines[0].key in each.value for each in self._seen) < 2:
            return None
        at = [each.at.isoformat() for each in self._seen]
        traces = []
        for line in self._lines:
            asked = self.run.asked.get(line.asked)
            values = [each.value.get(line.key, asked) for each in self._seen]
            if any(value is not None for value in values):
                traces.append(_trace(line, at, values))
        bad = [each.value.get(self._lines[0].key) if each.outcome is Outcome.FAILED else None for each in self._seen]
        if any(value is not None for value in bad):
            marks = charts.line("bad ones", at, bad, role="bad")
            marks.update(mode="markers", marker={"size": 8, "symbol": "x"})
            traces.append(marks)
        return self._figure(traces)

    def _figure(self, traces: Sequence[Any]) -> Any:
        figure = charts.figure(*traces, y_title=_UNITS.get(Provider(self.provider), ""))
        highest = max((value for trace in traces for value in trace.y if value is not None), default=0.0)
        # A bound above all that was seen would lie on the edge.
        room = {"rangemode": "tozero", "autorangeoptions": {"include": 1.1 * highest}}
        figure.update_layout(showlegend=True, xaxis={"type": "date"}, yaxis=room)
        return figure


def _trace(line: Line, at: Sequence[str], values: Sequence[float | None]) -> Any:
    trace = charts.line(line.name, at, values, role=line.role)
    if line.is_bound:
        trace.update(mode="lines", line={"width": 1.5, "dash": "dash"})
    elif len(at) <= SHOWN_LOOKS:
        # Looks are few enough to be told apart, and one between two that told nothing is a point alone.
        trace.update(mode="lines+markers", marker={"size": 4})
    return trace


def _cell(look: Measurement, column: Column) -> str:
    value = look.value.get(column.key)
    return "–" if value is None else f"{number_text(value)}{column.unit}"


def analyses_of(rollout: Rollout, runs: Sequence[AnalysisRun]) -> list[AnalysisRow]:
    """The analyses of a rollout, the last one first."""
    number = rollout.to_revision.number
    steps = [None if run.step is None else PlanStep.from_json(rollout.plan[run.step]) for run in runs]
    return [AnalysisRow(run, step, number) for run, step in zip(runs, steps, strict=True)][::-1]


def key_of(run: AnalysisRun) -> str:
    """What tells it from the others of its rollout, in addresses."""
    return "whole" if run.step is None else str(run.step)

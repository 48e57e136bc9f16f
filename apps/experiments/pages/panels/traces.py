"""The traces of an experiment as a list, and one of them as a waterfall with a panel for a span."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from django.http import QueryDict

from apps.core.database import keyset
from apps.core.database.keyset import Page
from apps.core.errors import Invalid, Missing
from apps.core.pages.asked import Unread, gone
from apps.core.pages.numbered import page_or_first
from apps.experiments.models import Run, Trace, TraceRun
from apps.experiments.pages.panels.narrowed import Narrowed
from apps.experiments.search import traces
from apps.experiments.tracking.clock import EPOCH
from apps.experiments.tracking.tags import own_first
from apps.experiments.tracking.traces import store, summary
from apps.experiments.tracking.traces.spans import Event, Span, loaded
from apps.experiments.tracking.traces.waterfall import Row, marks, took_text, waterfall, why

PER_PAGE = 50
# More are kept, and read by the client; a browser would take long to draw them.
MOST_DRAWN = 1000
MOST_LETTERS = 20_000
# A value of an event that stands beside its name.
SHORT = 80
# How the states of a trace are called, and as what they are shown.
STATES = {
    "OK": ("OK", "Succeeded"),
    "ERROR": ("Failed", "Failed"),
    "IN_PROGRESS": ("In progress", "Running"),
    "STATE_UNSPECIFIED": ("Unknown", "Unknown"),
}
_MILLISECOND = 1_000_000


class Shown:
    """A trace in words."""

    def __init__(self, trace: Trace, runs: list[Run]) -> None:
        self.trace, self.runs = trace, runs
        self.word, self.look = STATES[trace.state]

    @property
    def began(self) -> datetime | None:
        """When; None for what no calendar holds."""
        try:
            return EPOCH + timedelta(milliseconds=self.trace.began)
        except OverflowError:
            return None

    @property
    def took(self) -> str:
        """How long, in words."""
        return "–" if self.trace.lasted is None else took_text(self.trace.lasted * _MILLISECOND)

    @property
    def asked(self) -> str:
        """The first letters of what it was asked; "" where that is not known."""
        said = loaded(self.trace.request_preview)
        return said if isinstance(said, str) else self.trace.request_preview or ""

    @property
    def tokens(self) -> Mapping[str, int]:
        """Input, output and total tokens; empty where it tells none."""
        return summary.usage_in(self.trace.metadata)


class TraceList(Narrowed):
    """The traces of an experiment, filtered and cut by what the address says."""

    _is_there = True

    @cached_property
    def page(self) -> Page:
        """One page. A filter that makes no sense gives an empty page and sets `error`."""
        rows = Trace.objects.filter(experiment=self._experiment)
        if self.state in STATES:
            rows = rows.filter(state=self.state)
        try:
            part = traces(rows, self.filter, [])
        except Invalid as error:
            self.error = error.sentence
            return Page()
        token = self._query.get("page", "")
        page, self._is_there = page_or_first(token, PER_PAGE, lambda size, token: keyset.page([part], size, token))
        return page

    def gone(self) -> Iterator[Unread]:
        """The page that the address asks for, where it is not there."""
        if self.page.rows and not self._is_there:
            yield gone(self._query.get("page", ""))

    @cached_property
    def rows(self) -> list[Shown]:
        """The traces of the page, each with the runs that it belongs to."""
        found = self.page.rows
        runs: dict[int, list[Run]] = {}
        links = TraceRun.objects.filter(trace__in=[trace.pk for trace in found], run__deleted_at=None)
        for link in links.select_related("run").order_by("-run_id"):
            runs.setdefault(link.trace_id, []).append(link.run)
        return [Shown(trace, runs.get(trace.pk, [])) for trace in found]

    @cached_property
    def any(self) -> bool:
        """Whether the experiment has a trace, whatever the filter."""
        return Trace.objects.filter(experiment=self._experiment).exists()


@dataclass(frozen=True)
class Text:
    """A value as one reads it; `is_cut` when there is more of it."""

    text: str
    is_cut: bool

    @classmethod
    def of(cls, value: Any) -> "Text":
        """Text as it is, all else as JSON in lines."""
        text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
        return cls(text[:MOST_LETTERS], len(text) > MOST_LETTERS)


class SpanPanel:
    """What one span says."""

    def __init__(self, row: Row, began: int) -> None:
        self.row, self.span = row, row.span
        self._began = began

    @property
    def starts(self) -> str:
        """How long after the trace's begin; "" for no time at all."""
        after = self.span.start - self._began
        return took_text(after) if after else ""

    @property
    def kind(self) -> str:
        """LLM, TOOL, …; "" where it does not say so."""
        return summary.type_of(self.span)

    @property
    def tokens(self) -> Mapping[str, int]:
        """What it says of tokens."""
        return summary.usage_of(self.span)

    @property
    def inputs(self) -> Text | None:
        """What it was given."""
        value = summary.inputs_of(self.span)
        return None if value is None else Text.of(value)

    @property
    def outputs(self) -> Text | None:
        """What it gave."""
        value = summary.outputs_of(self.span)
        return None if value is None else Text.of(value)

    @property
    def attributes(self) -> list[tuple[str, Text]]:
        """All others, by name."""
        told = sorted(self.span.attributes.items())
        return [(key, Text.of(loaded(text))) for key, text in told if not summary.is_shown_apart(key)]

    @property
    def events(self) -> list[tuple[Event, str, list[tuple[str, Text]]]]:
        """Each with how long after the span's begin it happened."""
        told = []
        for each in self.span.events:
            # What is long, such as a stack, comes after what sums it up.
            values = [(key, Text.of(loaded(text))) for key, text in each.attributes.items()]
            values.sort(key=lambda pair: (len(pair[1].text) > SHORT, pair[0]))
            told.append((each, took_text(each.time - self.span.start), values))
        return told


class TraceBoard(Shown):
    """One trace with its spans."""

    def __init__(self, trace: Trace, query: QueryDict) -> None:
        runs = Run.objects.filter(trace_links__trace=trace, deleted_at=None).order_by("-id")
        super().__init__(trace, list(runs))
        self._chosen = query.get("span", "")

    @cached_property
    def spans(self) -> list[Span]:
        """All of them."""
        return store.spans_of([self.trace])[self.trace.pk]

    @cached_property
    def all_rows(self) -> list[Row]:
        """The waterfall."""
        return waterfall(self.spans) if self.spans else []

    @property
    def rows(self) -> list[Row]:
        """As much of the waterfall as is drawn."""
        return self.all_rows[:MOST_DRAWN]

    @property
    def hidden(self) -> int:
        """How many spans are not drawn."""
        return len(self.all_rows) - len(self.rows)

    @property
    def marks(self) -> list[str]:
        """The times above it."""
        return marks(self.spans) if self.spans else []

    @cached_property
    def panel(self) -> SpanPanel | None:
        """The span that the address names, else the one that says why the trace failed, else the first."""
        rows = self.all_rows
        if not rows:
            return None
        named = next((row for row in rows if row.span.id == self._chosen), None)
        if self._chosen and named is None:
            raise Missing(f"The trace has no span {self._chosen[:32]!r}.")
        return SpanPanel(named or why(rows) or rows[0], min(row.span.start for row in rows))

    @property
    def tags(self) -> list[tuple[str, str]]:
        """What is known of it by tags, those first that people have set."""
        return sorted(self.trace.tags.items(), key=lambda pair: own_first(pair[0]))

    @property
    def metadata(self) -> list[tuple[str, str]]:
        """Its metadata likewise."""
        return sorted(self.trace.metadata.items(), key=lambda pair: own_first(pair[0]))

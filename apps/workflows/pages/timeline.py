"""Where the time of a pipeline run went: a bar for each item of a step that has begun. Pure.

Lengths are in percent of the run's own time, so that a picture of any width shows them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True)
class Span:
    """What one item took: `began` is when its work itself began, None where it has waited for a place all the time."""

    label: str
    state: str
    started_at: datetime
    began: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True)
class Bar:
    """The same drawn: it waited from `left` on for `waits`, and worked from there on for `works`."""

    span: Span
    left: float
    waits: float
    works: float
    took: timedelta
    waited: timedelta

    @property
    def middle(self) -> float:
        """Where the waiting ends."""
        return self.left + self.waits


def bars(spans: Iterable[Span], start: datetime, end: datetime) -> list[Bar]:
    """The bars from `start` to `end`, in the order in which they began; what goes on lasts until `end`."""
    whole = max((end - start).total_seconds(), 1e-9)

    def share(moment: datetime) -> float:
        return round(min(max((moment - start).total_seconds() / whole, 0.0), 1.0) * 100, 2)

    drawn = []
    for span in sorted(spans, key=lambda each: each.started_at):
        until = span.ended_at or end
        middle = min(max(span.began or until, span.started_at), until)
        left = share(span.started_at)
        waits = round(share(middle) - left, 2)
        works = round(max(share(until) - left - waits, 0.4), 2)
        drawn.append(Bar(span, left, waits, works, until - span.started_at, middle - span.started_at))
    return drawn

"""Where the time went, as bars."""

from datetime import UTC, datetime, timedelta

from apps.workflows.pages.timeline import Span, bars

START = datetime(2026, 12, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def test_a_bar_tells_how_long_something_waited_and_how_long_it_worked():
    spans = [
        Span("late", "Running", at(50), at(60), None),
        Span("first", "Succeeded", at(0), at(10), at(40)),
        Span("asked", "Paused", at(40), at(40), None),
        Span("queued", "Running", at(90), None, None),
        Span("quick", "Succeeded", at(40), at(-500), at(40)),
    ]
    drawn = {bar.span.label: (bar.left, bar.waits, bar.works) for bar in bars(spans, START, at(100))}
    assert drawn == {
        "first": (0, 10, 30),
        "asked": (40, 0, 60),
        "quick": (40, 0, 0.4),
        "late": (50, 10, 40),
        "queued": (90, 10, 0.4),
    }
    [first, *_] = bars(spans, START, at(100))
    assert (first.took, first.waited, first.middle) == (timedelta(seconds=40), timedelta(seconds=10), 10)


def test_a_run_that_has_just_begun_has_bars():
    assert bars([Span("a", "Running", START, None, None)], START, START)[0].works == 0.4

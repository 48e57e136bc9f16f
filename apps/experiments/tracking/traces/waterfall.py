"""The spans of a trace as a waterfall: each below its parent, at its place in time. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from apps.experiments.tracking.traces.spans import ERROR, Span, in_order

# So deep names are moved to the right; what is deeper stands at the same place.
DEEPEST = 10
# The least part of the width, in per cent, that can be seen.
_LEAST = 0.5
_MARKS = 5


@dataclass(frozen=True)
class Row:
    """A span at its place: `left` and `width` are per cent of the trace's time; `end` is 0 while it has none."""

    span: Span
    depth: int
    left: float
    width: float

    @property
    def indent(self) -> range:
        """Once for every step to the right."""
        return range(min(self.depth, DEEPEST))

    @property
    def took(self) -> str:
        """How long, in words."""
        return took_text(self.span.end - self.span.start) if self.span.end else "–"


def waterfall(spans: Sequence[Span]) -> list[Row]:
    """Every span once, each below its parent, earlier ones first. Whose parent is not there stands at the left."""
    began, whole = _frame(spans)
    return [
        Row(span, depth, 100 * (span.start - began) / whole, max(_LEAST, 100 * (_end(span) - span.start) / whole))
        for span, depth in _nested(spans)
    ]


def marks(spans: Sequence[Span]) -> list[str]:
    """The times that stand above a waterfall, at even distances from its begin to its end."""
    _, whole = _frame(spans)
    return [took_text(whole * number // (_MARKS - 1)) if number else "0" for number in range(_MARKS)]


def why(rows: Iterable[Row]) -> Row | None:
    """The row that says most of why a trace has failed: the deepest failed span; None where none has failed."""
    failed = [row for row in rows if row.span.code == ERROR]
    return max(failed, key=lambda row: row.depth, default=None)


def took_text(nanoseconds: int) -> str:
    """A length of time with three digits: "850 µs", "12.3 ms", "1.25 s", "2 min 5 s"."""
    for unit, size in (("ns", 1), ("µs", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000)):
        number = nanoseconds / size
        if abs(number) < (60 if unit == "s" else 999.5):
            digits = 2 if abs(number) < 9.995 else 1 if abs(number) < 99.95 else 0
            return f"{number:.{digits}f}".rstrip("0").rstrip(".") + f" {unit}" if digits else f"{number:.0f} {unit}"
    minutes, seconds = divmod(round(nanoseconds / 1_000_000_000), 60)
    return f"{minutes} min {seconds} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _end(span: Span) -> int:
    return max(span.end, span.start)


def _frame(spans: Sequence[Span]) -> tuple[int, int]:
    began = min(span.start for span in spans)
    return began, max(1, max(_end(span) for span in spans) - began)


def _nested(spans: Sequence[Span]) -> list[tuple[Span, int]]:
    by_id = {span.id: span for span in spans}
    below: dict[str, list[Span]] = {}
    for span in in_order(by_id.values()):
        parent = span.parent if span.parent in by_id and span.parent != span.id else ""
        below.setdefault(parent, []).append(span)
    nested: list[tuple[Span, int]] = []
    seen = set[str]()

    def put(top: Span) -> None:
        # No recursion: a client may send a chain of ten thousand.
        waiting = [(top, 0)]
        while waiting:
            span, depth = waiting.pop()
            if span.id in seen:
                continue
            seen.add(span.id)
            nested.append((span, depth))
            waiting += [(child, depth + 1) for child in reversed(below.get(span.id, []))]

    for top in below.get("", []):
        put(top)
    # Those that are each other's parents.
    for span in in_order(by_id.values()):
        put(span)
    return nested

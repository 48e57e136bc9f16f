"""Rates and quantiles between two looks at the metrics of one process, or of several together. Pure.

As PromQL's `increase` and `histogram_quantile`, but that a series which is new in the second look began at zero: it is
the same process, which had nothing to count yet.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from apps.deployments.scrape.exposition import Sample

#: Values of labels that a series must have.
Labels = Mapping[str, str]
_NONE: Labels = {}


@dataclass(frozen=True, slots=True)
class Look:
    """The samples of one process at a time in seconds, of whatever clock."""

    at: float
    samples: Sequence[Sample]


@dataclass(frozen=True, slots=True)
class Span:
    """Two looks at one process, the earlier one first."""

    before: Look
    after: Look

    @property
    def seconds(self) -> float:
        """The time between them."""
        return self.after.at - self.before.at


def total(look: Look, name: str, labels: Labels = _NONE) -> float | None:
    """The sum of a metric's series; None where there is none."""
    values = [each.value for each in look.samples if _is(each, name, labels)]
    return sum(values) if values else None


def increase(spans: Sequence[Span], name: str, labels: Labels = _NONE) -> float | None:
    """How much a counter grew, in all processes together; None where none has it.

    A series that fell was begun anew by a restart and counts from zero.
    """
    grown = [value for span in spans for value in _grown(span, name, labels).values()]
    return sum(grown) if grown else None


def rate(spans: Sequence[Span], name: str, labels: Labels = _NONE) -> float | None:
    """The growth of a counter for each second, added up over the processes; None where none has it."""
    rates = [
        value / span.seconds for span in spans if span.seconds > 0 for value in _grown(span, name, labels).values()
    ]
    return sum(rates) if rates else None


def quantile(spans: Sequence[Span], share: float, name: str, labels: Labels = _NONE) -> float | None:
    """The value that a share (0 to 1) of a histogram's new observations does not exceed; None without any,
    or where there is one bucket for all.

    `name` is the histogram's, without `_bucket`. Between a bucket's bounds it is interpolated; beyond the last finite
    bound it is that bound, so it may be too small, never too large.
    """
    counts: dict[float, float] = {}
    for span in spans:
        for (_, bound, _), value in _grown(span, f"{name}_bucket", labels).items():
            if bound is not None:
                counts[bound] = counts.get(bound, 0.0) + value
    return _interpolated(sorted(counts.items()), share)


def _interpolated(buckets: Sequence[tuple[float, float]], share: float) -> float | None:
    """The quantile of cumulative (upper bound, count) pairs."""
    if len(buckets) < 2 or buckets[-1][1] <= 0:
        return None
    wanted = share * buckets[-1][1]
    lower, below = 0.0, 0.0
    for bound, count in buckets:
        if count >= wanted and count > below:
            if math.isinf(bound):
                return lower
            lower = min(lower, bound)
            return lower + (bound - lower) * max(0.0, wanted - below) / (count - below)
        lower, below = (lower if math.isinf(bound) else bound), max(below, count)
    return lower


_Series = tuple[str, float | None, frozenset[tuple[str, str]]]


def _grown(span: Span, name: str, labels: Labels) -> dict[_Series, float]:
    before = _series(span.before, name, labels)
    after = _series(span.after, name, labels)
    return {
        key: value - before.get(key, 0.0) if value >= before.get(key, 0.0) else value for key, value in after.items()
    }


def _series(look: Look, name: str, labels: Labels) -> dict[_Series, float]:
    return {
        (each.name, _bound(each), frozenset(each.labels.items())): each.value
        for each in look.samples
        if _is(each, name, labels) and not math.isnan(each.value)
    }


def _bound(sample: Sample) -> float | None:
    """The upper bound of a histogram's bucket."""
    try:
        return float(sample.labels["le"])
    except (KeyError, ValueError):
        return None


def _is(sample: Sample, name: str, labels: Labels) -> bool:
    return sample.name == name and all(sample.labels.get(key) == value for key, value in labels.items())

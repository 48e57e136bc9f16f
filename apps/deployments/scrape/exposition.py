"""Prometheus' text format: text in, samples out. Pure.

https://prometheus.io/docs/instrumenting/exposition_formats/, and what OpenMetrics adds to a line (exemplars).
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

#: More samples than any server of models has; what says more is cut off by an error, not read for seconds.
MAX_SAMPLES = 50_000

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(?:,|(?=\}))')
_BEGIN_OF_LABELS = re.compile(r"\s*\{")
_END_OF_LABELS = re.compile(r"\s*\}")
_VALUE = re.compile(r"\s*([-+0-9.a-zA-Z]+)(?:\s+-?[0-9.]+)?(?:\s+#.*)?\s*$")
_ESCAPED = re.compile(r"\\(.)")
_ESCAPES = {"n": "\n"}


class Unreadable(ValueError):
    """The text is no exposition of metrics; the message says which line, for people."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of one series."""

    name: str
    labels: Mapping[str, str]
    value: float


def parse(text: str, wanted: Callable[[str], bool] | None = None) -> tuple[Sample, ...]:
    """All samples in order, or those whose name is `wanted`. Raises Unreadable: half a text is worse than none."""
    samples: list[Sample] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        sample = _sample(line.strip())
        if sample is None:
            raise Unreadable(f"Line {number} is no sample of a metric: {line.strip()[:60]}")
        if wanted is None or wanted(sample.name):
            samples.append(sample)
        if len(samples) > MAX_SAMPLES:
            raise Unreadable(f"There are more than {MAX_SAMPLES} samples.")
    return tuple(samples)


def _sample(line: str) -> Sample | None:
    name = _NAME.match(line)
    if name is None:
        return None
    at, labels = name.end(), {}
    if begin := _BEGIN_OF_LABELS.match(line, at):
        at = begin.end()
        for label in _labels(line, at):
            labels[label[1]] = _ESCAPED.sub(lambda escape: _ESCAPES.get(escape[1], escape[1]), label[2])
            at = label.end()
        end = _END_OF_LABELS.match(line, at)
        if end is None:
            return None
        at = end.end()
    value = _VALUE.match(line, at)
    try:
        return Sample(name[0], labels, float(value[1])) if value else None
    except ValueError:
        return None


def _labels(line: str, at: int) -> Iterator[re.Match[str]]:
    while found := _LABEL.match(line, at):
        yield found
        at = found.end()

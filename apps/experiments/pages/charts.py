"""Figures of metrics: data and meaning only; colours are the theme's, but for those of runs, which are their own."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from apps.core.pages.charts import figure, line, lines
from apps.experiments.tracking.curves import Point


def _drawn(points: Sequence[Point]) -> tuple[list[int], list[float | None]]:
    # JSON has no NaN and Infinity; a gap in the line is what they look like anyway.
    return [step for step, _, _ in points], [value if math.isfinite(value) else None for _, _, value in points]


def metric_chart(key: str, points: Sequence[Point]) -> Any:
    """One metric of one run by step. Its name stands above it."""
    return lines({key: _drawn(points)}, x_title="step")


def compare_chart(key: str, runs: Mapping[str, Sequence[Point]], colours: Mapping[str, str]) -> Any:
    """One metric of several runs, by the runs' names, each in its colour."""
    traces = [line(name, *_drawn(points), role=colours[name]) for name, points in runs.items()]
    return figure(*traces, x_title="step", y_title=key)

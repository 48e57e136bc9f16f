"""Charts of some of a run's metrics, and the same as a table."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from apps.core.text.wording import plural
from apps.experiments import selectors
from apps.experiments.models import LatestMetric, Run
from apps.experiments.pages import charts
from apps.experiments.pages.panels.table import CHART_POINTS, PER_PAGE
from apps.experiments.tracking.curves import Point

MAX_CHARTS = 12


@dataclass(frozen=True)
class Curve:
    """A chart of one metric."""

    key: str
    name: str
    points: Sequence[Point]

    @property
    def figure(self) -> Any:
        """As it is drawn."""
        return charts.metric_chart(self.key, self.points)


class CurveSet:
    """The curves of these metrics, the most telling first."""

    def __init__(self, run: Run, metrics: Sequence[LatestMetric]) -> None:
        self._run = run
        self.metrics = metrics

    @cached_property
    def curves(self) -> list[Curve]:
        """A chart for each metric that has more than one step."""
        keys = [metric.key for metric in self.metrics][: MAX_CHARTS * 2]
        every_series = selectors.metric_series(self._run.pk, keys, limit=CHART_POINTS) if keys else []
        # Several workers log at the same step: values above each other make no line. The first and the last are kept.
        grown = [each for each in every_series if each.points and each.points[0][0] != each.points[-1][0]][:MAX_CHARTS]
        return [Curve(series.key, f"metric-{number}", series.points) for number, series in enumerate(grown)]

    @property
    def told(self) -> str:
        """How many metrics are drawn: "the first 12 of 30 metrics, over steps"; "" where none is."""
        drawn, there = len(self.curves), len(self.metrics)
        if drawn == MAX_CHARTS < there:
            return f"the first {drawn} of {there} metrics, over steps"
        return f"{drawn} {plural('metric', drawn)} over steps" if drawn else ""

    @cached_property
    def table(self) -> list[tuple[int, list[float | None]]]:
        """The same curves as figures: the last steps, newest first."""
        by_step: dict[int, dict[str, float | None]] = {}
        for curve in self.curves:
            for step, _, value in curve.points:
                by_step.setdefault(step, {})[curve.key] = value if math.isfinite(value) else None
        steps = sorted(by_step, reverse=True)[:PER_PAGE]
        return [(step, [by_step[step].get(curve.key) for curve in self.curves]) for step in steps]

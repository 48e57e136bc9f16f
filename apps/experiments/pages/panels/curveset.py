"""Charts of some of a run's metrics, and the same as a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from apps.experiments import selectors
from apps.experiments.models import LatestMetric, Run
from apps.experiments.pages import charts
from apps.experiments.pages.panels.table import CHART_POINTS, PER_PAGE

MAX_CHARTS = 12


@dataclass(frozen=True)
class Curve:
    """A chart of one metric."""

    key: str
    name: str
    figure: Any
    points: int


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
        return [
            Curve(series.key, f"metric-{number}", charts.metric_chart(series.key, series.points), len(series.points))
            for number, series in enumerate(grown)
        ]

    @property
    def hides_some(self) -> bool:
        """Whether there may be more curves than are drawn."""
        return len(self.curves) == MAX_CHARTS < len(self.metrics)

    @cached_property
    def table(self) -> list[tuple[int, list[float | None]]]:
        """The same curves as figures: the last steps, newest first."""
        by_step: dict[int, dict[str, float | None]] = {}
        for curve in self.curves:
            trace = curve.figure.data[0]
            for step, value in zip(trace.x, trace.y, strict=True):
                by_step.setdefault(step, {})[curve.key] = value
        steps = sorted(by_step, reverse=True)[:PER_PAGE]
        return [(step, [by_step[step].get(curve.key) for curve in self.curves]) for step in steps]

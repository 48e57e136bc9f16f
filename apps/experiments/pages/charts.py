"""Figures of metrics: data and meaning only; colours are the theme's, but for those of runs, which are their own."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from apps.core.pages.charts import figure
from apps.experiments.tracking.curves import Point

# More curves than these have no legend: it would take the place of the chart.
MANY = 12
# Letters of a name or a word on an axis, and words on it.
LONGEST = 18
MOST_WORDS = 8
MAGNITUDES = 100


def _drawn(points: Sequence[Point]) -> tuple[list[int], list[float | None]]:
    # JSON has no NaN and Infinity; a gap in the line is what they look like anyway.
    return [step for step, _, _ in points], [value if math.isfinite(value) else None for _, _, value in points]


def number_of(value: Any) -> float | None:
    """A logged value as a number that can be drawn; None where it is none."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _plain(traces: list[dict[str, Any]], layout: dict[str, Any], *, many: int = MANY) -> dict[str, Any]:
    """A figure without Plotly's objects, which check each point and take longer for it than the page may."""
    usual: dict[str, Any] = figure().to_plotly_json()["layout"]
    usual.pop("template", None)
    few = 1 < len(traces) <= many
    return {"data": traces, "layout": {**usual, "showlegend": few, "hovermode": "closest", **layout}}


def metric_chart(key: str, points: Sequence[Point]) -> dict[str, Any]:
    """One metric of one run by step. Its name stands above it."""
    return overlaid_chart("", [(key, "series-1", points)])


def overlaid_chart(
    key: str, runs: Sequence[tuple[str, str, Sequence[Point]]], *, over_time: bool = False, log_y: bool = False
) -> dict[str, Any]:
    """One metric of many runs, each with its name and colour: over steps, or over the seconds since its first point."""
    traces = []
    few = len(runs) <= MANY
    for name, colour, points in runs:
        steps, values = _drawn(points)
        began = min((timestamp for _, timestamp, _ in points), default=0)
        x = [(timestamp - began) / 1000 for _, timestamp, _ in points] if over_time else steps
        mode = "lines+markers" if len(points) < 3 else "lines"
        about = {"name": name, "mode": mode, "line": {"width": 2 if few else 1.6}, "meta": {"role": colour}}
        traces.append({"type": "scatter", "x": x, "y": values, **about})
    x_axis = {"title": {"text": "seconds since its first point" if over_time else "step"}, "automargin": True}
    y_axis = {"title": {"text": key}, "automargin": True, "type": "log" if log_y else "linear"}
    # Of few curves all values at a step are told together.
    hover = {"hovermode": "x unified"} if few else {}
    return _plain(traces, {"xaxis": x_axis, "yaxis": y_axis, **hover})


def scatter_chart(
    names: Sequence[str], colours: Sequence[str], x: tuple[str, Sequence[Any]], y: tuple[str, Sequence[Any]]
) -> dict[str, Any] | None:
    """A dot for each run that has both numbers; None where no run has."""
    traces: list[dict[str, Any]] = []
    for name, colour, along, up in zip(names, colours, x[1], y[1], strict=True):
        at = number_of(along), number_of(up)
        if None not in at:
            about = {"name": name, "mode": "markers", "marker": {"size": 9}, "meta": {"role": colour}}
            traces.append({"type": "scatter", "x": [at[0]], "y": [at[1]], **about})
    scale = "log" if _spans(finite(x[1])) else "linear"
    x_axis = {"title": {"text": x[0]}, "automargin": True, "type": scale}
    y_axis = {"title": {"text": y[0]}, "automargin": True}
    return _plain(traces, {"xaxis": x_axis, "yaxis": y_axis}) if traces else None


def parallel_chart(
    names: Sequence[str], colours: Sequence[str], axes: Sequence[tuple[str, Sequence[Any]]]
) -> dict[str, Any]:
    """A line for each run through its value on each axis. An axis goes from the least value to the greatest, by their
    logarithms where they span magnitudes; words lie on it evenly."""
    placed = [_placed(values) for _, values in axes]
    # Names of axes may be the same for a param and a metric: they are told by their places.
    x = list(range(len(axes)))
    traces = [
        {
            "type": "scatter", "mode": "lines+markers", "name": name, "x": x,
            "y": [places[number] for places, _ in placed],
            "text": [f"{key}: {_said(values[number])}" for key, values in axes],
            "hovertemplate": "%{text}<extra>%{fullData.name}</extra>",
            "line": {"width": 1.6}, "marker": {"size": 5}, "meta": {"role": colour}, "connectgaps": False,
        }
        for number, (name, colour) in enumerate(zip(names, colours, strict=True))
    ]  # fmt: skip
    notes = [
        {"x": at, "y": place, "text": text, "showarrow": False, "xanchor": "left", "xshift": 6, "yshift": 8}
        for at, (_, ticks) in enumerate(placed)
        for place, text in ticks
    ]
    last = len(axes) - 0.6
    x_axis = {"tickvals": x, "ticktext": [key[:LONGEST] for key, _ in axes], "range": [-0.15, last], "zeroline": False}
    y_axis = {"visible": False, "range": [-0.06, 1.12], "fixedrange": True}
    return _plain(traces, {"xaxis": x_axis, "yaxis": y_axis, "annotations": notes})


def _placed(values: Sequence[Any]) -> tuple[list[float | None], list[tuple[float, str]]]:
    """The places of values on an axis from 0 to 1, and what is written at which place."""
    told = [value for value in values if value is not None]
    numbers = [number_of(value) for value in told]
    if told and None not in numbers:
        return _measured(values, finite(told))
    words = sorted({str(value) for value in told})
    place_of = {word: at / max(1, len(words) - 1) for at, word in enumerate(words)}
    places = [place_of[str(value)] if value is not None else None for value in values]
    step = max(1, math.ceil(len(words) / MOST_WORDS))
    return places, [(place_of[word], word[:LONGEST]) for word in words[::step]]


def _measured(values: Sequence[Any], numbers: Sequence[float]) -> tuple[list[float | None], list[tuple[float, str]]]:
    scale = math.log10 if _spans(numbers) else float
    least, most = scale(min(numbers)), scale(max(numbers))
    width = (most - least) or 1.0
    places = [(scale(number) - least) / width if (number := number_of(value)) is not None else None for value in values]
    ends = {0.0: min(numbers), (most - least) / width: max(numbers)}
    return places, [(place, _said(number)) for place, number in ends.items()]


def _spans(numbers: Sequence[float]) -> bool:
    """Whether numbers span so many magnitudes that only their logarithms show them all."""
    return bool(numbers) and min(numbers) > 0 and max(numbers) / min(numbers) >= MAGNITUDES


def _said(value: Any) -> str:
    number = number_of(value)
    return "none" if value is None else f"{number:.4g}" if number is not None else str(value)[:LONGEST]


def finite(values: Iterable[Any]) -> list[float]:
    """The numbers among values."""
    return [number for number in map(number_of, values) if number is not None]

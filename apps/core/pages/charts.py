"""Plotly figures as every app makes them: data and meaning only. Colours and fonts are the theme's (chart.js).

A trace names its colour by role in `meta.role` ("series-1" …, "muted", "limit"), which chart.js resolves from the
CSS tokens, so that a figure is right in both themes without being made twice.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from plotly import graph_objects as go

SERIES_COLOURS = 8
Points = tuple[Sequence[Any], Sequence[float | None]]


def figure(*traces: Any, x_title: str = "", y_title: str = "", log_y: bool = False) -> go.Figure:
    """A figure with the project's plain layout around `traces`."""
    layout = go.Layout(
        margin={"l": 48, "r": 16, "t": 12, "b": 36},
        showlegend=len(traces) > 1,
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        hovermode="x unified",
        xaxis={"title": {"text": x_title or None}, "automargin": True},
        yaxis={"title": {"text": y_title or None}, "automargin": True, "type": "log" if log_y else "linear"},
        # The same word at every update keeps the reader's zoom while the curve grows.
        uirevision="keep",
    )
    return go.Figure(data=list(traces), layout=layout)


def line(name: str, x: Sequence[Any], y: Sequence[float | None], *, series: int = 0, role: str = "") -> Any:
    """One curve. Many points are drawn with WebGL off and simplified lines: a browser takes 10,000 of them well."""
    return go.Scatter(
        name=name,
        x=list(x),
        y=list(y),
        mode="lines+markers" if len(x) < 3 else "lines",
        line={"width": 2},
        meta={"role": role or f"series-{series % SERIES_COLOURS + 1}"},
    )


def lines(
    series: Mapping[str, Points],
    *,
    x_title: str = "step",
    y_title: str = "",
    log_y: bool = False,
    limit: float | None = None,
) -> go.Figure:
    """Curves by name; `limit` draws a dashed line that must not be crossed."""
    traces = [line(name, x, y, series=index) for index, (name, (x, y)) in enumerate(series.items())]
    chart = figure(*traces, x_title=x_title, y_title=y_title, log_y=log_y)
    if limit is not None:
        chart.add_hline(y=limit, line={"dash": "dash", "width": 1.5}, name="limit")
    return chart


def bars(values: Mapping[str, float], *, x_title: str = "", y_title: str = "") -> go.Figure:
    """Bars by name."""
    trace = go.Bar(x=list(values), y=list(values.values()), meta={"role": "series-1"})
    chart = figure(trace, x_title=x_title, y_title=y_title)
    chart.update_layout(hovermode="closest", bargap=0.35)
    return chart

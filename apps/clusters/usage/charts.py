"""Figures of usage: data and meaning only; colours are the theme's."""

from collections.abc import Sequence
from html import escape
from typing import Any

from plotly import graph_objects as go

from apps.clusters.usage.consumption import GIB, Consumption
from apps.clusters.usage.history import Curve
from apps.core.pages.charts import figure, line

TOP, ROOM = 10, 4
# Longer names beside the bars would leave a phone no room for these; the pointer still says them whole.
NAME = 24


def cpu(curve: Curve) -> Any:
    """CPU in cores."""
    return _resource(curve, ("used_cpu_m", "used_cpu_max_m", "asked_cpu_m", "room_cpu_m"), 1000)


def memory(curve: Curve) -> Any:
    """Memory in GiB."""
    return _resource(curve, ("used_memory_b", "used_memory_max_b", "asked_memory_b", "room_memory_b"), GIB)


def gpu(curve: Curve) -> Any:
    """GPUs. How busy they are is not measured, only who holds them."""
    return _resource(curve, ("", "", "asked_gpu", "room_gpu"), 1)


def _resource(curve: Curve, columns: tuple[str, str, str, str], unit: float) -> Any:
    used, most, asked, room = columns
    at = [moment.isoformat() for moment in curve.at]
    traces = []
    if used and curve.has(used):
        traces.append(line("used", at, _in(curve, used, unit), series=0))
        if curve.values[most] != curve.values[used]:
            peak = line("highest", at, _in(curve, most, unit), series=0)
            peak.update(line={"width": 1, "dash": "dot"})
            traces.append(peak)
    traces.append(line("requested", at, _in(curve, asked, unit), series=1))
    if curve.has(room):
        limit = line("allocatable", at, _in(curve, room, unit), role="muted")
        limit.update(line={"width": 1.5, "dash": "dash"})
        traces.append(limit)
    chart = figure(*traces)
    # The card has one legend for all its charts.
    chart.update_layout(
        showlegend=False,
        margin={"l": 36, "r": 8, "t": 8, "b": 24},
        xaxis={"type": "date", "range": [curve.start.isoformat(), curve.end.isoformat()]},
        yaxis={"rangemode": "tozero"},
    )
    return chart


def _in(curve: Curve, column: str, unit: float) -> list[float | None]:
    return [None if value is None else round(value / unit, 4) for value in curve.values[column]]


def asked_and_used(rows: Sequence[Consumption]) -> Any:
    """Core-hours used inside core-hours requested, of the first rows, one above the other so that long names fit."""
    first = list(rows[:TOP])[::-1]
    # An experiment may have any name, and Plotly takes tags in texts for what they are.
    names = [escape(row.name, quote=False) for row in first]
    bars = [
        go.Bar(
            name=name,
            # A name may come twice, in two projects.
            y=list(range(len(first))),
            x=values,
            width=width,
            orientation="h",
            meta={"role": role},
            opacity=opacity,
            customdata=names,
            hovertemplate="%{customdata}: %{x:,.1f} core-hours " + name + "<extra></extra>",
        )
        for name, role, width, opacity, values in (
            ("requested", "muted", 0.62, 0.4, [round(row.cpu.asked, 3) for row in first]),
            ("used", "series-1", 0.3, 1, [round(row.cpu.used, 3) for row in first]),
        )
    ]
    chart = figure(*bars, x_title="core-hours")
    chart.update_layout(
        hovermode="closest",
        barmode="overlay",
        yaxis={
            "tickmode": "array",
            "tickvals": list(range(len(first))),
            "ticktext": [escape(shortened(row.name), quote=False) for row in first],
            # From the top, with room for some, so that a single bar does not fill the chart.
            "range": [len(first) - max(len(first), ROOM) - 0.5, len(first) - 0.5],
            "showgrid": False,
        },
    )
    return chart


def shortened(name: str) -> str:
    """A name with its middle left out where it is long: beginnings and ends tell names apart."""
    half = NAME // 2 - 1
    return name if len(name) <= NAME else f"{name[:half]}…{name[-half:]}"

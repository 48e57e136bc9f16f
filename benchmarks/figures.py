"""The output of a benchmark: one JSON line a figure, with its goal and the values measured in the same run."""

import json
import math
import os
import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One measured value. `goal` is the most it may be, or with `at_least` the least; None states the value alone.

    `beside` holds what makes the value readable: the floor or the peer of the same run, sizes, the spread.
    """

    name: str
    value: float
    unit: str
    goal: float | None = None
    at_least: bool = False
    beside: dict[str, Any] = field(default_factory=dict)

    @property
    def holds(self) -> bool | None:
        """Whether the goal is met; None where there is none."""
        if self.goal is None:
            return None
        return self.value >= self.goal if self.at_least else self.value <= self.goal

    def line(self) -> str:
        """The figure as one line of JSON."""
        goal = None if self.goal is None else f"{'>=' if self.at_least else '<='} {self.goal:g}"
        fields = {
            "name": self.name,
            "value": round(self.value, 3),
            "unit": self.unit,
            "goal": goal,
            "holds": self.holds,
        }
        return json.dumps(fields | self.beside)


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below which `percent` of the values lie (nearest rank). Raises ValueError when there are none."""
    if not values:
        raise ValueError("there is nothing to take a percentile of")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


def machine() -> Figure:
    """The noise of this machine: how much the same piece of arithmetic varies in time, as a coefficient in percent."""
    times = []
    for _ in range(20):
        started = time.perf_counter()
        sum(number * number for number in range(200_000))
        times.append((time.perf_counter() - started) * 1000)
    spread = statistics.pstdev(times) / statistics.mean(times) * 100
    beside = {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "median_ms": round(statistics.median(times), 2),
    }
    return Figure("machine_noise", spread, "%", beside=beside | {"load_1min": round(os.getloadavg()[0], 2)})

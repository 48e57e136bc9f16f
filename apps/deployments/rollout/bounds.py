"""What a person asks of a number: bounds, or how much worse than the earlier revision's it may be. Pure."""

import enum
from collections.abc import Mapping
from typing import Any

from apps.core.errors import Invalid

FIELDS = ("min", "max")
"""Bounds of the number itself."""
COMPARING = ("better", "tolerance", "tolerance_percent")
"""What `better` is may be worse than the earlier revision's by the tolerance, and no more."""
MAX_NUMBER = 1e300
MAX_PERCENT = 1000.0


class Better(enum.StrEnum):
    """Which of two numbers is better."""

    GREATER = "greater"
    LESS = "less"


def parse_bounds(value: Mapping[str, Any], place: str, *, compares: bool) -> dict[str, Any]:
    """What is asked of the number, out of the fields above. Raises Invalid, also where nothing is asked."""
    asked = {
        name: number(value[name], f"{place}.{name}", -MAX_NUMBER, MAX_NUMBER)
        for name in FIELDS
        if value.get(name) is not None
    }
    if "min" in asked and "max" in asked and asked["min"] > asked["max"]:
        raise Invalid(f"{place}.min is more than {place}.max: nothing could be good.", field=f"{place}.min")
    if compares and value.get("better") is not None:
        return asked | _comparison(value, place)
    stray = next((name for name in COMPARING[1:] if compares and value.get(name) is not None), None)
    if stray:
        field = f"{place}.{stray}"
        raise Invalid(f"{field} needs {place}.better: greater or less.", field=field)
    if not asked:
        known = "min, max or better" if compares else "min or max"
        raise Invalid(f"{place} does not say what is good: give {known}.", field=place)
    return asked


def _comparison(value: Mapping[str, Any], place: str) -> dict[str, Any]:
    better = value["better"]
    if not isinstance(better, str) or better not in tuple(Better):
        raise Invalid(f"{place}.better is one of: {', '.join(Better)}.", field=f"{place}.better")
    both = all(value.get(name) is not None for name in ("tolerance", "tolerance_percent"))
    if both:
        raise Invalid(f"{place} has two tolerances: give one.", field=f"{place}.tolerance_percent")
    if value.get("tolerance_percent") is not None:
        percent = number(value["tolerance_percent"], f"{place}.tolerance_percent", 0.0, MAX_PERCENT)
        return {"better": better, "tolerance_percent": percent}
    said = value.get("tolerance")
    return {
        "better": better,
        "tolerance": 0.0 if said is None else number(said, f"{place}.tolerance", 0.0, MAX_NUMBER),
    }


def number(value: Any, place: str, least: float, most: float) -> float:
    """A number within its bounds. Raises Invalid."""
    fits = isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most
    if not fits:
        wide = most >= MAX_NUMBER
        span = ("" if least < 0 else " from 0") if wide else f" from {least:g} to {most:g}"
        raise Invalid(f"{place} is a number{span}.", field=place)
    return float(value)

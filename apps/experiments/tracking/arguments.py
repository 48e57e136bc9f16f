"""What is wrong with an argument, in the words of MLflow's server: people and programs look for them in its answers."""

import json
from typing import Any

from apps.core.errors import Invalid

_SHOWN = 300


def missing(name: str, why: str = "") -> Invalid:
    """An argument that the call can't do without is not there."""
    return Invalid(f"Missing value for required parameter '{name}'.{why and ' '}{why}", field=name)


def wrong(name: str, value: Any, why: str) -> Invalid:
    """An argument has a value that it can't have. The value is shown as JSON, its first letters if it is long."""
    shown = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)[:_SHOWN]
    return Invalid(f"Invalid value {shown} for parameter '{name}' supplied: {why}", field=name)


def mistyped(name: str, value: Any, wanted: str) -> Invalid:
    """An argument is of another type than `wanted`, such as "a string"."""
    return wrong(name, value, f"It must be {wanted}. Hint: Value was of type '{type(value).__name__}'.")

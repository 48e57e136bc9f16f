"""What both revisions answer to the same requests, and what that says of the new one. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Any

from apps.deployments.rollout.analysis import Measurement
from apps.deployments.rollout.verdicts import Outcome


@dataclass(frozen=True)
class Reply:
    """What a revision said to one request: whether it answered, in how many milliseconds, and its outputs."""

    answered: bool
    milliseconds: float = 0.0
    outputs: Any = None


@dataclass(frozen=True)
class Exchange:
    """What both revisions said to one request on one target; `old` is None where no replica of it is ready."""

    new: Reply
    old: Reply | None = None

    @property
    def compares(self) -> bool:
        """Whether there are two answers."""
        return self.old is not None and self.new.answered and self.old.answered

    @property
    def agrees(self) -> bool:
        """Whether these are the same."""
        return self.old is not None and self.compares and alike(self.new.outputs, self.old.outputs)


def by_probe(
    asked: Mapping[str, Any], exchanges: Sequence[Exchange], now: datetime, *, silent: str = ""
) -> Measurement:
    """One look at what both revisions said to the same requests. `silent` says why nothing could be asked."""
    if silent or not exchanges:
        return Measurement(now, Outcome.INCONCLUSIVE, silent or "Nobody could be asked.", {"requests": len(exchanges)})
    errors = sum(not each.new.answered for each in exchanges)
    latency = round(median(each.new.milliseconds for each in exchanges))
    before = [each.old.milliseconds for each in exchanges if each.old is not None]
    compared = [each for each in exchanges if each.compares]
    value = {"requests": len(exchanges), "errors": errors, "latency_ms": latency}
    if before:
        value |= {"latency_before_ms": round(median(before))}
    if compared:
        value |= {"agreement": 100 * sum(each.agrees for each in compared) // len(compared)}
    return Measurement(now, *_judged(asked, value), value)


def _judged(asked: Mapping[str, Any], value: Mapping[str, int]) -> tuple[Outcome, str]:
    count = value["requests"]
    if 100 * value["errors"] > int(asked["max_errors"]) * count:
        return Outcome.FAILED, f"{value['errors']} of {count} requests failed."
    most, least = asked.get("max_latency_ms"), asked.get("min_agreement")
    if most is not None and value["latency_ms"] > most:
        return Outcome.FAILED, f"Half of the answers took longer than {value['latency_ms']} ms; {most} are allowed."
    if least is not None and "agreement" not in value:
        return Outcome.INCONCLUSIVE, "No replica of the earlier revision answered, so nothing can be compared."
    if least is not None and value["agreement"] < least:
        said = f"{value['agreement']} % of the answers agree with the earlier revision's; {least} % are wanted."
        return Outcome.FAILED, said
    agree = f", {value['agreement']} % agree" if "agreement" in value else ""
    return Outcome.SUCCESSFUL, f"{count - value['errors']} of {count} answered in {value['latency_ms']} ms{agree}."


def alike(one: Any, other: Any) -> bool:
    """Whether two answers are the same, but for what floating point makes of equal sums in another order."""
    if isinstance(one, float) or isinstance(other, float):
        numbers = isinstance(one, int | float) and isinstance(other, int | float)
        return numbers and math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-9)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    return bool(one == other)

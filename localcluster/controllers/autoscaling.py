"""The arithmetic of an autoscaler: the number of replicas that it wants. Pure.

https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#algorithm-details
https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#configurable-scaling-behavior
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kubevalues import quantities

#: How far the ratio may be from 1 without any scaling (--horizontal-pod-autoscaler-tolerance).
TOLERANCE = 0.1
_DEFAULT_UP = {
    "stabilizationWindowSeconds": 0,
    "selectPolicy": "Max",
    "policies": [
        {"type": "Percent", "value": 100, "periodSeconds": 15},
        {"type": "Pods", "value": 4, "periodSeconds": 15},
    ],
}
_DEFAULT_DOWN = {
    "stabilizationWindowSeconds": 300,
    "selectPolicy": "Max",
    "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
}

Why = tuple[str, str]  # (reason, message) of a condition


class NoMetricsError(ValueError):
    """No usable measurements; the message says why, as kube-controller-manager does."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A pod: what it uses of a resource (None: nobody knows) and asks for, in the units of `quantities.amount`.

    `settled` is False for one that is not ready yet, or was last measured before it was.
    """

    used: int | None
    requested: int
    settled: bool = True


@dataclass(frozen=True, slots=True)
class Target:
    """The usage to aim at: a percentage of the request, or an amount for each pod."""

    utilization: int | None = None
    average: int | None = None


@dataclass(frozen=True, slots=True)
class Proposal:
    """The replicas that one metric asks for, and the status's values: those of the pods that were counted at first."""

    replicas: int
    average: int
    utilization: int | None


@dataclass(frozen=True, slots=True)
class Tolerances:
    """The distances below and above 1 that the ratio may have without any scaling."""

    down: float = TOLERANCE
    up: float = TOLERANCE

    def hold(self, ratio: float) -> bool:
        """Is the ratio near enough to 1?"""
        return 1 - self.down <= round(ratio, 9) <= 1 + self.up


def _ratio(pods: Sequence[tuple[int, int]], target: Target) -> float:
    if target.utilization:
        return _utilization(pods) / target.utilization
    return sum(used for used, _ in pods) / len(pods) / (target.average or 1)


def _utilization(pods: Sequence[tuple[int, int]]) -> int:
    return sum(used for used, _ in pods) * 100 // max(sum(requested for _, requested in pods), 1)


def propose(samples: Sequence[Sample], target: Target, current: int, tolerances: Tolerances = Tolerances()) -> Proposal:
    """ceil(replicas * use / target), cautious about pods of which little is known. Raises NoMetricsError.

    Pods without figures are taken to use nothing where it goes up and all that is wanted where it goes down; pods
    that are not settled are taken to use nothing where it goes up. What then reverses the direction changes nothing.
    """
    known = [(each.used, each.requested) for each in samples if each.settled and each.used is not None]
    if not known:
        raise NoMetricsError("did not receive metrics for targeted pods (pods might be unready)")
    ratio = _ratio(known, target)
    average = sum(used for used, _ in known) // len(known)
    utilization = _utilization(known) if target.utilization else None

    def proposal(replicas: int) -> Proposal:
        return Proposal(replicas, average, utilization)

    missing = [each.requested for each in samples if each.settled and each.used is None]
    unsettled = [each.requested for each in samples if not each.settled] if ratio > 1 else []
    if not missing and not unsettled:
        return proposal(current if tolerances.hold(ratio) else _ceil(ratio * len(known)))
    guessed = [(0 if ratio > 1 else _wanted(requested, target), requested) for requested in missing]
    guessed += [(0, requested) for requested in unsettled]
    cautious = _ratio([*known, *guessed], target)
    if tolerances.hold(cautious) or (ratio < 1) != (cautious < 1):
        return proposal(current)
    replicas = _ceil(cautious * (len(known) + len(guessed)))
    reverses = replicas > current if cautious < 1 else replicas < current
    return proposal(current if reverses else replicas)


def _wanted(requested: int, target: Target) -> int:
    return requested * target.utilization // 100 if target.utilization else target.average or 0


def _ceil(value: float) -> int:
    return math.ceil(round(value, 9))


@dataclass(slots=True)
class History:
    """An autoscaler's memory: (Unix time, replicas) that it recommended, and (Unix time, change) that it made."""

    recommended: list[tuple[float, int]] = field(default_factory=list)
    changes: list[tuple[float, int]] = field(default_factory=list)

    def forget(self, before: float) -> None:
        """Drop what no window reaches."""
        self.recommended = [each for each in self.recommended if each[0] >= before]
        self.changes = [each for each in self.changes if each[0] >= before]


@dataclass(frozen=True, slots=True)
class Rules:
    """`spec.behavior` with its defaults: windows, policies and tolerances."""

    up: Mapping[str, Any]
    down: Mapping[str, Any]

    @classmethod
    def of(cls, behavior: Mapping[str, Any] | None) -> Rules:
        """From `spec.behavior`."""
        directions = behavior or {}
        return cls(_filled(directions.get("scaleUp"), _DEFAULT_UP), _filled(directions.get("scaleDown"), _DEFAULT_DOWN))

    @property
    def longest(self) -> float:
        """The longest time that matters, in seconds."""
        periods = [each["periodSeconds"] for rules in (self.up, self.down) for each in rules["policies"]]
        windows = [rules["stabilizationWindowSeconds"] for rules in (self.up, self.down)]
        return float(max([*periods, *windows]))

    @property
    def tolerances(self) -> Tolerances:
        """The tolerances of the rules, or the controller's where the rules name none."""
        up, down = (float(quantities.parse(rules.get("tolerance", TOLERANCE))) for rules in (self.up, self.down))
        return Tolerances(down, up)


def _filled(stated: Mapping[str, Any] | None, defaults: dict[str, Any]) -> dict[str, Any]:
    return {**defaults, **{name: value for name, value in (stated or {}).items() if value is not None}}


def stabilise(desired: int, current: int, history: History, rules: Rules, now: float) -> tuple[int, Why]:
    """Don't follow what lasts shorter than the windows. The recommendation is recorded.

    The way down goes to the highest that was recommended within its window, the way up to the lowest.
    """
    up_window, down_window = (float(each["stabilizationWindowSeconds"]) for each in (rules.up, rules.down))
    lowest = min([desired, *(count for at, count in history.recommended if at > now - up_window)])
    highest = max([desired, *(count for at, count in history.recommended if at > now - down_window)])
    history.recommended.append((now, desired))
    result = min(max(current, lowest), highest)
    if result == desired:
        return result, ("ReadyForNewScale", "recommended size matches current size")
    if desired > result:
        message = "recent recommendations were lower than current one, applying the lowest recent recommendation"
        return result, ("ScaleUpStabilized", message)
    message = "recent recommendations were higher than current one, applying the highest recent recommendation"
    return result, ("ScaleDownStabilized", message)


def limit(
    desired: int, current: int, bounds: tuple[int, int], history: History, rules: Rules, now: float
) -> tuple[int, Why | None]:
    """Within minReplicas and maxReplicas, and no faster than the policies allow; why, where that changed anything."""
    least, most = bounds
    if desired > current:
        fastest = max(_fastest(current, rules.up, history, now, 1), current)
        if desired > min(most, fastest):
            if most > fastest:
                message = "the desired replica count is increasing faster than the maximum scale rate"
                return fastest, ("ScaleUpLimit", message)
            return most, ("TooManyReplicas", "the desired replica count is more than the maximum replica count")
    elif desired < current:
        slowest = min(_fastest(current, rules.down, history, now, -1), current)
        if desired < max(least, slowest):
            if least < slowest:
                message = "the desired replica count is decreasing faster than the maximum scale rate"
                return slowest, ("ScaleDownLimit", message)
            return least, ("TooFewReplicas", "the desired replica count is less than the minimum replica count")
    return desired, None


def _fastest(current: int, rules: Mapping[str, Any], history: History, now: float, direction: int) -> int:
    """The replica count up to which the policies of a direction (1: up, -1: down) allow scaling now."""
    if rules["selectPolicy"] == "Disabled":
        return current
    proposals: list[int] = []
    for policy in rules["policies"]:
        began = current - sum(change for at, change in history.changes if at > now - policy["periodSeconds"])
        if policy["type"] == "Pods":
            proposals.append(began + direction * policy["value"])
        elif direction > 0:
            proposals.append(_ceil(began * (1 + policy["value"] / 100)))
        else:
            proposals.append(int(round(began * (1 - policy["value"] / 100), 9)))
    farthest = (rules["selectPolicy"] == "Max") == (direction > 0)
    return max(proposals) if farthest else min(proposals)

"""How many replicas an autoscaler wants, by the tables and examples of the documentation.

https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/
"""

from typing import Any

import pytest

from localcluster.controllers.autoscaling import (
    History,
    NoMetricsError,
    Rules,
    Sample,
    Target,
    limit,
    propose,
    stabilise,
)

HALF = Target(utilization=50)


def _pods(count: int, used: int | None, requested: int = 1000, *, settled: bool = True) -> list[Sample]:
    return [Sample(used, requested, settled)] * count


@pytest.mark.parametrize(
    ("samples", "target", "current", "replicas"),
    [
        # "if the current metric value is 200m, and the desired value is 100m, the number of replicas will be doubled"
        (_pods(3, 200), Target(average=100), 3, 6),
        # "If the current value is instead 50m, you'll halve the number of replicas"
        (_pods(4, 50), Target(average=100), 4, 2),
        (_pods(3, 50), Target(average=100), 3, 2),
        # KEP-4951's example: 50 replicas, 90% used of a wanted 75% is 60 replicas.
        (_pods(50, 900), Target(utilization=75), 50, 60),
        # "skips any scaling action if the ratio is sufficiently close to 1.0 (within ... tolerance, 0.1 by default)"
        (_pods(10, 110), Target(average=100), 10, 10),
        (_pods(10, 111), Target(average=100), 10, 12),
        (_pods(10, 90), Target(average=100), 10, 10),
        (_pods(10, 89), Target(average=100), 10, 9),
        # Utilization is the use of all pods over the requests of all pods.
        ([Sample(900, 1000), Sample(100, 1000)], HALF, 2, 2),
        # Missing metrics: "assuming those pods were consuming 100% of the desired value in case of a scale down".
        (_pods(3, 100) + _pods(1, None), HALF, 4, 2),
        # "... and 0% in case of a scale up. This dampens the magnitude of any potential scale."
        (_pods(2, 1000) + _pods(2, None), HALF, 4, 4),
        (_pods(3, 1000) + _pods(1, None), HALF, 4, 6),
        # Not yet ready: "conservatively assumes that the not-yet-ready pods are consuming 0% of the desired metric".
        (_pods(3, 1000) + _pods(1, 1000, settled=False), HALF, 4, 6),
        # On the way down they are left out.
        (_pods(3, 100) + _pods(1, 1000, settled=False), HALF, 4, 1),
        # "If the new ratio reverses the scale direction ... the controller doesn't take any scaling action."
        (_pods(1, 600) + _pods(3, None), HALF, 4, 4),
    ],
)
def test_the_algorithm(samples: list[Sample], target: Target, current: int, replicas: int) -> None:
    assert propose(samples, target, current).replicas == replicas


def test_the_status_shows_what_was_measured() -> None:
    """ "the original value for the average utilization is reported back", without the guesses."""
    proposal = propose(_pods(3, 1000) + _pods(1, None), HALF, 4)
    assert (proposal.utilization, proposal.average) == (100, 1000)


def test_nothing_known_is_an_error() -> None:
    with pytest.raises(NoMetricsError):
        propose(_pods(2, None), HALF, 2)


LIMITED_DOWN = {
    "scaleDown": {
        "policies": [
            {"type": "Pods", "value": 4, "periodSeconds": 60},
            {"type": "Percent", "value": 10, "periodSeconds": 60},
        ]
    }
}


def _steps(current: int, wanted: int, behavior: Any, *, seconds: float, count: int, bounds: Any = (1, 1000)) -> Any:
    """The sizes that follow each other when every `seconds` a step is made."""
    history, rules, sizes = History(), Rules.of(behavior), []
    for step in range(count):
        now = 1000.0 + step * seconds
        after, _ = limit(wanted, current, bounds, history, rules, now)
        if after != current:
            history.changes.append((now, after - current))
        sizes.append(current := after)
    return sizes


@pytest.mark.parametrize(
    ("start", "wanted", "behavior", "sizes"),
    [
        # "if there are 80 replicas and the target has to be scaled down to 10 replicas then during the first step 8
        # replicas will be reduced ... when the number of replicas is 72, ... rounded up to 8"
        (80, 10, LIMITED_DOWN, [72, 64, 57, 51]),
        # "When the number of replicas falls below 40 the first policy (Pods) is applied and 4 replicas will be reduced"
        (38, 10, LIMITED_DOWN, [34, 30, 26, 22]),
        # Limit scale down rate, with Min: "the policy that affects the smallest number of Pods".
        (
            100,
            1,
            {
                "scaleDown": {
                    "policies": [
                        {"type": "Percent", "value": 10, "periodSeconds": 60},
                        {"type": "Pods", "value": 5, "periodSeconds": 60},
                    ],
                    "selectPolicy": "Min",
                }
            },
            [95, 90, 85, 80],
        ),
        # "The selectPolicy value of Disabled turns off scaling the given direction."
        (10, 1, {"scaleDown": {"selectPolicy": "Disabled"}}, [10, 10, 10, 10]),
        # Default: "4 pods or a 100% of the currently running replicas will be added every 15 seconds".
        (1, 100, None, [5, 10, 20, 40]),
        # "a single policy for scaling down which allows a 100% of the currently running replicas to be removed".
        (80, 1, None, [1, 1, 1, 1]),
    ],
)
def test_scaling_policies(start: int, wanted: int, behavior: Any, sizes: list[int]) -> None:
    assert _steps(start, wanted, behavior, seconds=61, count=4) == sizes


def test_a_policy_holds_for_its_whole_period() -> None:
    """ "periodSeconds indicates the length of time in the past for which the policy must hold true"."""
    assert _steps(80, 10, LIMITED_DOWN, seconds=15, count=6) == [72, 72, 72, 72, 64, 64]


@pytest.mark.parametrize(
    ("wanted", "current", "bounds", "after", "reason"),
    [
        (8, 4, (1, 6), 6, "TooManyReplicas"),
        (1, 4, (2, 6), 2, "TooFewReplicas"),
        (100, 4, (1, 200), 8, "ScaleUpLimit"),
        (5, 4, (1, 6), 5, None),
    ],
)
def test_what_limits(wanted: int, current: int, bounds: tuple[int, int], after: int, reason: str | None) -> None:
    replicas, why = limit(wanted, current, bounds, History(), Rules.of(None), 0.0)
    assert (replicas, why and why[0]) == (after, reason)


def test_the_way_down_waits_for_the_window() -> None:
    """ "uses the highest value from the specified interval ... all desired states from the past 5 minutes"."""
    history, rules = History(), Rules.of(None)
    assert stabilise(10, 10, history, rules, 0.0)[0] == 10
    assert stabilise(4, 10, history, rules, 100.0) == (
        10,
        (
            "ScaleDownStabilized",
            "recent recommendations were higher than current one, applying the highest recent recommendation",
        ),
    )
    assert stabilise(6, 10, history, rules, 299.0)[0] == 10
    assert stabilise(2, 10, history, rules, 310.0)[0] == 6
    assert stabilise(2, 6, history, rules, 700.0) == (
        2,
        ("ReadyForNewScale", "recommended size matches current size"),
    )


def test_a_window_for_the_way_up() -> None:
    history, rules = History(), Rules.of({"scaleUp": {"stabilizationWindowSeconds": 60}})
    assert stabilise(2, 2, history, rules, 0.0)[0] == 2
    assert stabilise(9, 2, history, rules, 30.0) == (
        2,
        (
            "ScaleUpStabilized",
            "recent recommendations were lower than current one, applying the lowest recent recommendation",
        ),
    )
    assert stabilise(7, 2, history, rules, 61.0)[0] == 7


def test_a_tolerance_of_ones_own() -> None:
    """KEP-4951: `tolerance: 0.05` for the way down, none for the way up."""
    tolerances = Rules.of({"scaleDown": {"tolerance": "0.05"}, "scaleUp": {"tolerance": "0"}}).tolerances
    assert propose(_pods(10, 94), Target(average=100), 10, tolerances).replicas == 10
    assert propose(_pods(100, 94), Target(average=100), 100, tolerances).replicas == 94
    assert propose(_pods(100, 101), Target(average=100), 100, tolerances).replicas == 101

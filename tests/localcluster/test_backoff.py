"""Every back-off holds however often it failed: it grows to its longest and stays there, and never raises."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from apps.clusters.watcher.timing import Timing
from apps.core.work.outcomes import PROBE_MOST, RETRY_MOST, probe_pause, retry_pause
from controlplane.embedded.supervisor import LONGEST_DELAY_S, restart_delay
from localcluster.backoff import doubled
from localcluster.controllers.base import Controller, Key
from localcluster.controllers.jobrules import backoff_left
from localcluster.meta import time_of
from localcluster.registry import Registry
from localcluster.store import Store
from localcluster.traffic.balancer import Balancer

COUNTS = (0, 1, 2, 10, 60, 61, 1023, 1024, 1025, 2000, 10_000)


@pytest.mark.parametrize(("times", "seconds"), [(-1, 1.0), (0, 1.0), (1, 2.0), (4, 16.0), (5, 30.0), (10_000, 30.0)])
def test_a_pause_doubles_up_to_the_longest(times: int, seconds: float) -> None:
    assert doubled(1.0, times, 30.0) == seconds


class _Idle(Controller):
    name, resource = "idle", "pods"

    def sync(self, key: Key) -> float | None:
        return None


def _of_a_controller(count: int) -> float:
    """The pause before a key's next round after that many failures."""

    async def story() -> float:
        controller = _Idle(Registry(Store()))
        waits: list[float] = []
        controller.enqueue_after = lambda _key, seconds: waits.append(seconds)  # type: ignore[method-assign]
        controller._failures["default", "p"] = count
        controller._retry(("default", "p"))
        return waits[0]

    return asyncio.run(story())


def _of_a_job(count: int) -> float:
    failed: Any = {"metadata": {"creationTimestamp": time_of(1000)}, "status": {"phase": "Failed"}}
    return backoff_left([failed] * count, 1000)


def _of_an_endpoint(count: int) -> float:
    now = 0.0
    balancer = Balancer(lambda: now)
    endpoint = balancer.begin(("default", "web", ""), ("127.0.0.1", 1))
    endpoint.failures = count
    balancer.end(endpoint, "broken", 0.0, failed=True)
    return endpoint.ejected_until


@pytest.mark.parametrize(
    ("pause", "longest"),
    [
        (_of_a_controller, 30.0),
        (_of_a_job, 600.0),
        (_of_an_endpoint, 30.0),
        (restart_delay, LONGEST_DELAY_S),
        (retry_pause, RETRY_MOST),
        (probe_pause, PROBE_MOST),
        (Timing().backoff, Timing().backoff_most),
    ],
)
def test_no_count_of_failures_is_too_high(pause: Callable[[int], float], longest: float) -> None:
    pauses = [pause(count) for count in COUNTS]
    assert all(0 <= each <= longest for each in pauses), pauses
    assert pauses[0] < longest and pauses[-1] >= longest / 2, pauses  # those with jitter stay above the half

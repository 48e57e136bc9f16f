"""The results that a round may return, and the pause after each. Pure."""

import random
from dataclasses import dataclass

# Of one object whose round fails, in seconds: doubled each time.
RETRY_FIRST, RETRY_MOST = 1.0, 300.0
# Of a cluster that does not answer. Its watcher sees sooner that it is back; this is for when no watcher runs.
PROBE_FIRST, PROBE_MOST = 2.0, 120.0


@dataclass(frozen=True)
class Done:
    """Nothing is left to do until somebody asks again."""


@dataclass(frozen=True)
class Again:
    """Look again after so many seconds, although nobody may have asked: a deadline, a pause."""

    after: float


@dataclass(frozen=True)
class Retry:
    """The round could not do what it was to do; try again, each time after a longer pause.

    No later than after `at_most` seconds, where something is due then whether the next try does better or not.
    """

    reason: str = ""
    at_most: float | None = None


@dataclass(frozen=True)
class Away:
    """The object's cluster does not answer, refuses us or is disabled: all of its work waits for it, not only this."""

    reason: str = ""


Outcome = Done | Again | Retry | Away
DONE = Done()


def retry_pause(failures: int) -> float:
    """Seconds to wait after that many failed rounds of one object in a row."""
    return _pause(failures, RETRY_FIRST, RETRY_MOST)


def probe_pause(failures: int) -> float:
    """Seconds to wait after a cluster has not answered that often in a row."""
    return _pause(failures, PROBE_FIRST, PROBE_MOST)


def _pause(failures: int, first: float, most: float) -> float:
    """Doubled with each failure up to `most`, with jitter so that what failed together does not come back together.

    The jitter only shortens: `most` is a promise. https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    longest = min(most, first * 2 ** min(max(failures, 1) - 1, 30))
    return random.uniform(longest / 2, longest)  # noqa: S311 - spreads load, guards nothing

"""Every interval of the watcher, in seconds, in one place so that tests can shorten them."""

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """`watch` is what the server is asked for as the length of one watch; `grace` how much longer we wait.

    Bookmarks come about once a minute, so that a quiet watch and a half-open one look alike: the short `watch` is
    what bounds how long a half-open one goes unnoticed. Resuming it costs one small request.
    """

    poll: float = 1.0
    lease: float = 15.0
    renew: float = 5.0
    probe: float = 5.0
    probe_failed: float = 2.0
    probe_limit: float = 4.0
    metrics: float = 15.0
    batch: float = 0.1
    watch: int = 50
    grace: float = 10.0
    page_limit: float = 30.0
    backoff_first: float = 0.5
    backoff_most: float = 30.0

    def backoff(self, failures: int) -> float:
        """The pause after that many failures in a row: doubled each time, with jitter so that clusters spread."""
        longest = min(self.backoff_most, self.backoff_first * 2 ** min(failures - 1, 16))
        return random.uniform(longest / 2, longest)  # noqa: S311 - spreads load, guards nothing

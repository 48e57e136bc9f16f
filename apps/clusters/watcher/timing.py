"""Every interval of the watcher, in seconds, in one place so that tests can shorten them."""

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """`lease` bounds how long a watcher that died or hangs keeps a cluster, `renew` is how often it says that it lives.

    `touch` is how often the age of what is shown is written, `record` how often a state is written although nothing
    has changed. After `stale` without a word of a kind a cluster counts as not in step; for `resume` a new watcher
    shows what its predecessor recorded, until it knows better. An optional kind that is `missing` is asked for
    again after that long. Each kind is listed anew every `relist`, whatever its watch says: an event that was lost, by
    whomever, is not lost for good.

    A refusal is believed when it is said again after `opinion`. Every `handshake` a probe makes a connection of its
    own, so that certificates are seen again. A defect of ours is told of for `defect` after its last time.

    `watch` is what the server is asked for as the length of one watch; `grace` how much longer we wait.

    Bookmarks come about once a minute, so that a quiet watch and a half-open one look alike: the short `watch` is
    what bounds how long a half-open one goes unnoticed. Resuming it costs one small request.
    """

    poll: float = 1.0
    lease: float = 10.0
    renew: float = 3.0
    probe: float = 5.0
    probe_failed: float = 2.0
    probe_limit: float = 4.0
    metrics: float = 15.0
    batch: float = 0.1
    touch: float = 5.0
    record: float = 30.0
    missing: float = 300.0
    relist: float = 1800.0
    stale: float = 90.0
    resume: float = 60.0
    watch: int = 50
    grace: float = 10.0
    page_limit: float = 30.0
    opinion: float = 15.0
    handshake: float = 15.0
    defect: float = 60.0
    backoff_first: float = 0.5
    backoff_most: float = 30.0

    def backoff(self, failures: int) -> float:
        """The pause after that many failures in a row: doubled each time, with jitter so that clusters spread."""
        longest = min(self.backoff_most, self.backoff_first * 2 ** min(failures - 1, 16))
        return random.uniform(longest / 2, longest)  # noqa: S311 - spreads load, guards nothing

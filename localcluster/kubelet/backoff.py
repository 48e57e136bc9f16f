"""The wait before a container that ended starts again, as in the kubelet (client-go util/flowcontrol/backoff.go).

The first restart is immediate; the next waits 10 s after the end, then 20 s, 40 s … to 5 min. Ten minutes without an
end forget all of it.
"""

from __future__ import annotations

from dataclasses import dataclass

INITIAL_SECONDS = 10.0
MAX_SECONDS = 300.0


@dataclass(frozen=True)
class Backoff:
    """The back-off of one container (or one image pull). Immutable: `after` gives the next one."""

    seconds: float = 0.0
    updated: float = 0.0

    def wait(self, ended: float, now: float) -> float:
        """Seconds still to wait at `now` for what ended at `ended` (both Unix times); 0 means start now."""
        if self._expired(ended) or not self.seconds:
            return 0.0
        return max(0.0, ended + self.seconds - now)

    def after(self, now: float) -> Backoff:
        """The back-off after another start at `now`."""
        if not self.seconds or self._expired(now):
            return Backoff(INITIAL_SECONDS, now)
        return Backoff(min(self.seconds * 2, MAX_SECONDS), now)

    def _expired(self, moment: float) -> bool:
        return moment - self.updated > 2 * MAX_SECONDS


def in_words(seconds: float) -> str:
    """A duration as Go prints it: 10s, 1m20s, 5m0s."""
    whole = int(seconds)
    return f"{whole}s" if whole < 60 else f"{whole // 60}m{whole % 60}s"

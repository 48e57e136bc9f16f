"""The progress of a start, for a person: one line for each step, with the time that it took."""

import sys
import time

WIDTH = 72


class Progress:
    """Prints `✓ what  1.2 s` lines on standard output, and keeps the time."""

    def __init__(self) -> None:
        self.began = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since the first line could have been printed."""
        return time.monotonic() - self.began

    def done(self, text: str, *, since: float | None = None) -> None:
        """A step is done; `since` is its start on the monotonic clock (default: the very start)."""
        seconds = time.monotonic() - (self.began if since is None else since)
        self.say(f"  ✓ {text:<{WIDTH}} {seconds:5.1f} s")

    def warn(self, text: str) -> None:
        """Something went wrong that is being put right."""
        self.say(f"  ! {text}")

    def say(self, text: str = "") -> None:
        """A line as it is."""
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

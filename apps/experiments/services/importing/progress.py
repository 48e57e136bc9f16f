"""How far an import is: what was brought so far, how fast, and what is at work now."""

import threading
import time
from collections.abc import Callable

from apps.core.text.wording import bytes_text, duration_text

EACH_SECONDS = 5.0


class Progress:
    """Counts of what this process has brought. Threads share it."""

    NAMES = ("experiments", "runs", "points", "files", "file_bytes", "logged models", "models", "versions")

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._lock = threading.Lock()
        self._began = self._said = time.monotonic()
        self.counts = dict.fromkeys(self.NAMES, 0)
        self.passed = 0
        self._now = ""

    def at(self, what: str) -> None:
        """Say what is at work now."""
        with self._lock:
            self._now = what
        self._say(what)

    def add(self, **counts: int) -> None:
        """Count what was brought, and say it every few seconds."""
        with self._lock:
            for name, n in counts.items():
                self.counts[name.replace("_models", " models")] += n
            due = time.monotonic() - self._said > EACH_SECONDS
            if due:
                self._said = time.monotonic()
        if due:
            self._say(f"  {self.sentence()}, at {self._now}")

    def skip(self) -> None:
        """Count a run that was brought whole before."""
        with self._lock:
            self.passed += 1

    def sentence(self) -> str:
        """ "120 runs, 34,000 points, 56 files (1.2 GiB) in 12 s: 10 runs/s"."""
        counts, seconds = self.counts, time.monotonic() - self._began
        told = [f"{counts[name]:,} {name}" for name in ("runs", "points")]
        told.append(f"{counts['files']:,} files ({bytes_text(counts['file_bytes'])})")
        if self.passed:
            told.append(f"{self.passed:,} runs were here already")
        rate = counts["runs"] / seconds if seconds else 0.0
        return f"{', '.join(told)} in {duration_text(seconds)}: {rate:.1f} runs/s"

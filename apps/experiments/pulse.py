"""Hints about runs that log: at most two a second for each run, however fast its metrics come, and never a last one
missing. Costs the request one addition to a set; a thread publishes what was gathered in one round trip."""

import threading
import time

from apps.core.hints import publish

INTERVAL_SECONDS = 0.5


class Pulse:
    """Gathers topics and publishes them every `INTERVAL_SECONDS` while there are any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, int | None] = {}
        self._running = False

    def beat(self, topics: dict[str, int | None]) -> None:
        """Publish these topics (with the project that may see each) soon, once."""
        with self._lock:
            self._waiting.update(topics)
            if self._running:
                return
            self._running = True
        threading.Thread(target=self._run, name="pulse", daemon=True).start()

    def _run(self) -> None:
        while True:
            time.sleep(INTERVAL_SECONDS)
            with self._lock:
                topics = list(self._waiting.items())
                self._waiting.clear()
                if not topics:
                    # Quiet for a whole interval: the next beat starts another thread.
                    self._running = False
                    return
            publish(topics)


_pulse = Pulse()


def run_logged(run_pk: int, experiment_pk: int, project_pk: int) -> None:
    """Say soon that a run, and so the table of its experiment, shows something new."""
    _pulse.beat({f"run:{run_pk}": project_pk, f"experiment:{experiment_pk}": project_pk})

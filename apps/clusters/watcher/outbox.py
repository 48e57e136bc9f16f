"""Sends wake-ups and hints apart from the writes: a slow or missing Redis delays freshness, never the truth."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from apps.core.hints import publish
from apps.core.wake import send

PAUSE_SECONDS = 0.15


class Outbox:
    """Collects what is to be sent, each once, while the last lot is under way."""

    def __init__(self) -> None:
        self._wakes: dict[tuple[str, int], None] = {}
        self._topics: dict[str, None] = {}
        self._filled = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="outbox")

    def add(self, wakes: list[tuple[str, int]], topics: list[str]) -> None:
        """Queue wake-ups and hint topics."""
        self._wakes.update(dict.fromkeys(wakes))
        self._topics.update(dict.fromkeys(topics))
        self._filled.set()

    def add_threadsafe(self, wakes: list[tuple[str, int]], topics: list[str]) -> None:
        """The same from another thread."""
        self._loop.call_soon_threadsafe(self.add, wakes, topics)

    async def run(self) -> None:
        """Send for ever."""
        loop = asyncio.get_running_loop()
        while True:
            await self._filled.wait()
            self._filled.clear()
            wakes, topics = list(self._wakes), list(self._topics)
            self._wakes, self._topics = {}, {}
            await loop.run_in_executor(self._thread, _send, wakes, topics)
            # However fast things change, a viewer is told of one topic only so often.
            await asyncio.sleep(PAUSE_SECONDS)

    def close(self) -> None:
        """End the thread after what it does now."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def _send(wakes: list[tuple[str, int]], topics: list[str]) -> None:
    # Hints first: they are one round trip, and people wait for them.
    publish([(topic, None) for topic in topics])
    for task, pk in wakes:
        if not send(task, pk):
            # The broker is away, and the sweep finds all of them: trying the rest would only cost a time-out each.
            return

"""Sends wake-ups and hints apart from the writes: a slow or missing Redis delays freshness, never the truth."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from apps.core.hints import publish
from apps.core.wake import send

PAUSE_SECONDS = 0.15
Wake = tuple[str, int]
T = TypeVar("T")


class _Queue(Generic[T]):
    """Sends each thing at once when it has not been sent lately, else a moment later, and once.

    However fast things change, a viewer is told of one topic only so often.
    """

    def __init__(self, name: str, deliver: Callable[[list[T]], None]) -> None:
        self._waiting: dict[T, None] = {}
        # When what was sent lately was sent.
        self._sent: dict[T, float] = {}
        self._filled = asyncio.Event()
        self._deliver = deliver
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)

    def add(self, found: list[T]) -> None:
        if found:
            self._waiting.update(dict.fromkeys(found))
            self._filled.set()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._filled.wait()
            self._filled.clear()
            now = time.monotonic()
            self._sent = {found: at for found, at in self._sent.items() if at + PAUSE_SECONDS > now}
            lot = [found for found in self._waiting if found not in self._sent]
            if lot:
                for found in lot:
                    del self._waiting[found]
                await loop.run_in_executor(self._thread, self._deliver, lot)
                self._sent |= dict.fromkeys(lot, time.monotonic())
            if self._waiting:
                loop.call_later(PAUSE_SECONDS / 3, self._filled.set)

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)


class Outbox:
    """Hints and wake-ups have a queue each: people wait for hints, and thousands of wake-ups take their time."""

    def __init__(self) -> None:
        self._hints = _Queue[str]("hints", _publish)
        self._wakes = _Queue[Wake]("wakes", _send)
        self._loop = asyncio.get_running_loop()

    def add(self, wakes: list[Wake], topics: list[str]) -> None:
        """Queue wake-ups and hint topics."""
        self._hints.add(topics)
        self._wakes.add(wakes)

    def add_threadsafe(self, wakes: list[Wake], topics: list[str]) -> None:
        """The same from another thread."""
        self._loop.call_soon_threadsafe(self.add, wakes, topics)

    async def run(self) -> None:
        """Send for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._hints.run())
            tasks.create_task(self._wakes.run())

    def close(self) -> None:
        """End the threads after what they do now."""
        self._hints.close()
        self._wakes.close()


def _publish(topics: list[str]) -> None:
    publish([(topic, None) for topic in topics])


def _send(wakes: list[Wake]) -> None:
    for task, pk in wakes:
        if not send(task, pk):
            # The broker is away, and the sweep finds all of them: trying the rest would only cost a time-out each.
            return

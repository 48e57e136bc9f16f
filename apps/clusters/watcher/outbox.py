"""Sends wake-ups and hints apart from the writes: a slow or missing Redis delays freshness, never the truth."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from apps.core.hints import publish
from apps.core.wake import send

PAUSE_SECONDS = 0.15
Wake = tuple[str, int]
T = TypeVar("T")


class _Queue(Generic[T]):
    """Collects what is to be sent, each once, while the last lot is under way on a thread."""

    def __init__(self, name: str, deliver: Callable[[list[T]], None]) -> None:
        self._waiting: dict[T, None] = {}
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
            lot, self._waiting = list(self._waiting), {}
            await loop.run_in_executor(self._thread, self._deliver, lot)
            # However fast things change, a viewer is told of one topic only so often.
            await asyncio.sleep(PAUSE_SECONDS)

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

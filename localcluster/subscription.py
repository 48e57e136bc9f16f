"""Changes as an endless, ordered iterator, for parts that keep a picture of their own."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from localcluster.store import Change, Store

Obj = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Event:
    """A change as controllers see it. ``type`` is ADDED, MODIFIED or DELETED."""

    type: str
    resource: str
    object: Obj
    old: Obj | None


class Subscription(AsyncIterator[Event]):
    """Endless: first ADDED of everything that exists, then every change in order. Close it when done."""

    def __init__(self, store: Store, resources: tuple[str, ...]) -> None:
        self._events: deque[Event] = deque(
            Event("ADDED", resource, stored.obj, None) for resource in resources for stored in store.scan(resource)
        )
        self._wake = asyncio.Event()
        self._stop = store.listen(resources, self._put)

    def _put(self, change: Change) -> None:
        old = change.old.obj if change.old else None
        self._events.append(Event(change.type, change.resource, change.stored.obj, old))
        self._wake.set()

    async def __anext__(self) -> Event:
        while not self._events:
            self._wake.clear()
            await self._wake.wait()
        return self._events.popleft()

    def close(self) -> None:
        """Hear no more changes."""
        self._stop()

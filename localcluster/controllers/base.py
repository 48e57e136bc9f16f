"""The parts that all controllers share: a queue of keys, rounds, retries with back-off, an index of owners.

A controller is told *that* something about an object changed, never what. Its `sync` reads everything that it needs
and brings the world one step nearer; it can run at any time, any number of times. Everything happens in one thread
and the index follows every write at once, so a round never sees the past.
"""

from __future__ import annotations

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from localcluster.backoff import doubled
from localcluster.errors import StatusError
from localcluster.meta import controller_of, key_of
from localcluster.resources import BY_PLURAL

if TYPE_CHECKING:
    from localcluster.registry import Registry
    from localcluster.store import Change

log = logging.getLogger(__name__)

Object = dict[str, Any]
Key = tuple[str, ...]  # (namespace, name), with "" as the namespace of what has none

_FIRST_RETRY, _LAST_RETRY = 0.005, 30.0
# A round that took long (an object with a thousand pods) is followed by a pause of so many times its length, so that
# the changes of many pods become few rounds. A short round is followed by none: small objects react at once.
_PAUSE, _SHORT_ROUND, _LONGEST_PAUSE = 6.0, 0.002, 3.0


class Index:
    """The objects of some resources by their owners' uids, always current."""

    def __init__(self, registry: Registry, *resources: str) -> None:
        self._objects: dict[str, dict[str, dict[Key, Object]]] = {resource: {} for resource in resources}
        self._orphans: dict[str, dict[str, dict[Key, Object]]] = {resource: {} for resource in resources}
        for resource in resources:
            for obj in registry.list(resource):
                self._put(resource, obj)
        registry.store.listen(resources, self._changed)

    def owned(self, resource: str, uid: str) -> list[Object]:
        """Frozen objects whose controller has this uid, by name."""
        objects = self._objects[resource].get(uid, {})
        return [objects[key] for key in sorted(objects)]

    def orphans(self, resource: str, namespace: str) -> list[Object]:
        """Frozen objects of a namespace that have no controller, by name."""
        objects = self._orphans[resource].get(namespace, {})
        return [objects[key] for key in sorted(objects)]

    def _changed(self, change: Change) -> None:
        if change.old is not None:
            self._drop(change.resource, change.old.obj)
        if change.type != "DELETED":
            self._put(change.resource, change.stored.obj)

    def _put(self, resource: str, obj: Object) -> None:
        shelf, group = self._shelf(resource, obj)
        shelf.setdefault(group, {})[key_of(obj)] = obj

    def _drop(self, resource: str, obj: Object) -> None:
        shelf, group = self._shelf(resource, obj)
        members = shelf.get(group, {})
        members.pop(key_of(obj), None)
        if not members:
            shelf.pop(group, None)

    def _shelf(self, resource: str, obj: Object) -> tuple[dict[str, dict[Key, Object]], str]:
        owner = controller_of(obj)
        if owner is not None:
            return self._objects[resource], str(owner["uid"])
        return self._orphans[resource], str(obj["metadata"].get("namespace", ""))


class Controller(ABC):
    """Subclasses say what they look after (`resource`), what else wakes them (`also`), and do one round (`sync`)."""

    name: ClassVar[str]
    resource: ClassVar[str]
    also: ClassVar[tuple[str, ...]] = ()

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._queue: dict[Key, None] = {}
        self._failures: dict[Key, int] = {}
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._pauses: dict[Key, float] = {}  # not before this loop time
        self._awake = asyncio.Event()

    @abstractmethod
    def sync(self, key: Key) -> float | None:
        """One round for one object; returns the seconds after which it wants another, if it does."""

    def keys_for(self, resource: str, obj: Object) -> Iterable[Key]:
        """The keys of the objects that a change of this one concerns; by default its controller's."""
        owner = controller_of(obj)
        if owner is not None and owner["kind"] == self.kind:
            yield obj["metadata"].get("namespace", ""), owner["name"]

    @property
    def kind(self) -> str:
        """The kind that this controller looks after, as ownerReferences name it."""
        return BY_PLURAL[self.resource].kind

    def enqueue(self, key: Key) -> None:
        """Ask for a round soon. Many requests for one key become one round."""
        self._queue[key] = None
        self._awake.set()

    def enqueue_after(self, key: Key, seconds: float) -> None:
        """Ask for a round later; an earlier date stands."""
        loop = asyncio.get_running_loop()
        pending = self._timers.get(key)
        if pending is not None:
            if pending.when() <= loop.time() + seconds:
                return
            pending.cancel()
        self._timers[key] = loop.call_later(seconds, self._due, key)

    def give_up(self, key: Key, failure: StatusError, again: float | None) -> NoReturn:
        """End a round that told of a failure: it is tried again with back-off, and no later than after `again` seconds.

        Raises the failure.
        """
        if again is not None:
            self.enqueue_after(key, again)
        raise failure

    def _due(self, key: Key) -> None:
        self._timers.pop(key, None)
        self.enqueue(key)

    def _first_round(self) -> None:
        for obj in self.registry.list(self.resource):
            self.enqueue(key_of(obj))

    def _changed(self, change: Change) -> None:
        if change.resource == self.resource:
            self.enqueue(key_of(change.stored.obj))
        if change.resource in self.also:
            for stored in (change.stored, change.old):
                if stored is not None:
                    for key in self.keys_for(change.resource, stored.obj):
                        self.enqueue(key)

    async def run(self) -> None:
        """Work until cancelled. Everything that exists gets a first round."""
        stop = self.registry.store.listen({self.resource, *self.also}, self._changed)
        try:
            self._first_round()
            while True:
                await self._awake.wait()
                self._awake.clear()
                while self._queue:
                    key = next(iter(self._queue))
                    del self._queue[key]
                    if not self._paused(key):
                        self._round(key)
                        await asyncio.sleep(0)  # let requests in between two rounds
        finally:
            stop()
            for timer in self._timers.values():
                timer.cancel()

    def _paused(self, key: Key) -> bool:
        left = self._pauses.get(key, 0.0) - asyncio.get_running_loop().time()
        if left <= 0:
            self._pauses.pop(key, None)
            return False
        self.enqueue_after(key, left)
        return True

    def _round(self, key: Key) -> None:
        began = time.thread_time()  # not the clock: on a busy machine a short round may last long
        try:
            again = self.sync(key)
        except StatusError as error:
            log.debug("%s %s: %s", self.name, key, error.message)
            self._retry(key)
        except Exception:
            # One object that cannot be handled must not stop the others; it is tried again, ever more slowly.
            log.exception("%s failed for %s", self.name, "/".join(key))
            self._retry(key)
        else:
            self._failures.pop(key, None)
            if again is not None:
                self.enqueue_after(key, again)
        took = time.thread_time() - began
        if took > _SHORT_ROUND:
            self._pauses[key] = asyncio.get_running_loop().time() + min(took * _PAUSE, _LONGEST_PAUSE)

    def _retry(self, key: Key) -> None:
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        self.enqueue_after(key, doubled(_FIRST_RETRY, count, _LAST_RETRY))

"""The faults that are on: who runs into which, and when they end."""

from __future__ import annotations

import asyncio
import hmac
import itertools
from collections.abc import Callable

from localcluster.auth.attributes import Attributes
from localcluster.errors import not_found
from localcluster.faults.spec import AT_ONCE, OF_REQUESTS, Fault, Kind


class Faults:
    """Faults by id, for one event loop."""

    def __init__(self) -> None:
        self._on: dict[str, Fault] = {}
        self._undo: dict[str, Callable[[], None]] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._ids = itertools.count(1)

    def __bool__(self) -> bool:
        """Is any fault on that a request could meet?"""
        return any(fault.kind in OF_REQUESTS for fault in self._on.values())

    def all(self) -> list[Fault]:
        """All faults that are on."""
        return list(self._on.values())

    def add(self, fault: Fault, undo: Callable[[], None] | None) -> None:
        """Switch one on. It ends by itself after its seconds; ``undo`` is then called."""
        fault.id = str(next(self._ids))
        if fault.kind in AT_ONCE:
            return
        self._on[fault.id] = fault
        if undo:
            self._undo[fault.id] = undo
        if fault.seconds is not None:
            self._timers[fault.id] = asyncio.get_running_loop().call_later(fault.seconds, self._end, fault.id)

    def _end(self, id_: str) -> None:
        self._on.pop(id_, None)
        if timer := self._timers.pop(id_, None):
            timer.cancel()
        if undo := self._undo.pop(id_, None):
            undo()

    def remove(self, id_: str) -> None:
        """End one. Raises StatusError 404."""
        if id_ not in self._on:
            raise not_found("faults", id_)
        self._end(id_)

    def clear(self) -> None:
        """End all."""
        for id_ in list(self._on):
            self._end(id_)

    def met(self, wish: Attributes, agent: str, token: str, user: str) -> list[Fault]:
        """The faults that a request runs into; it counts for each of them."""
        faults = [
            fault
            for fault in self._on.values()
            if fault.kind in OF_REQUESTS and fault.match.fits(wish, agent, user) and _concerns(fault, token, user)
        ]
        if not faults or wish.verb != "watch":
            faults = [fault for fault in faults if fault.kind is not Kind.DROP_WATCH]
        for fault in faults:
            self.hit(fault)
        return faults

    def hit(self, fault: Fault) -> None:
        """Count a request that ran into a fault; the last of its ``count`` ends it."""
        fault.hits += 1
        if fault.count is not None and fault.hits >= fault.count:
            self._end(fault.id)


def _concerns(fault: Fault, token: str, user: str) -> bool:
    if fault.kind is not Kind.EXPIRE_TOKEN:
        return True
    expired = fault.parameters.get("token")
    if expired is None:
        return bool(fault.parameters["user"] == user)
    return hmac.compare_digest(expired.encode(), token.encode())

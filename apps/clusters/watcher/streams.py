"""One kind of one cluster: list it, watch it, and begin again after every failure, for ever."""

import asyncio
import logging
import math
import random
import time
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

from apps.clusters.kube.errors import (
    Forbidden,
    Gone,
    KubeError,
    NotServed,
    NotTheApiServer,
    RefusedOnce,
    Unauthorized,
)
from apps.clusters.kube.stream import StreamClient
from apps.clusters.watcher.kinds import WatchedKind
from apps.clusters.watcher.timing import Timing
from apps.clusters.watcher.writer import MAX_WAITING, Desk, Writer

logger = logging.getLogger(__name__)

# The longest pause that a server may ask for.
LONGEST_RETRY_AFTER = 60.0
# Failures in a row after which a server that says that the fault is in the request, or in itself, is asked for a list:
# it may be our version that it can't serve, as after a restore of its data.
FAILURES_UNTIL_LIST = 3
# Objects that are read at one go.
LOT = 100


class Stream:
    """Feeds a desk's inbox with one kind.

    `error` is None until the first list, "" while in step, else what is wrong; `refused` says that the credential is,
    `doubted` that it was just now, and that nobody believes it yet; `missing` says why an optional kind is not shown.
    `alive_at` is the last moment (wall clock) at which the server has shown that nothing is outstanding: by an event, a
    bookmark, a list, or the orderly end of a watch.
    `news` is called when the cluster's state may be another.
    """

    def __init__(
        self,
        client: StreamClient,
        watched: WatchedKind,
        desk: Desk,
        writer: Writer,
        news: Callable[[], None],
        timing: Timing,
    ) -> None:
        self.kind = watched.kind
        self.optional = watched.optional
        self._of_engine = watched.of_engine
        self.error: str | None = None
        self.refused = self.doubted = False
        self.missing = ""
        self.alive_at: float | None = None
        self._client = client
        self._api_version = watched.api_version
        self._desk = desk
        self._writer = writer
        self._news = news
        self._timing = timing
        # Where to go on watching; "" asks for a new list.
        self._version = ""
        self._listed_before = False
        self._list_due = math.inf
        self._opened_at = math.inf
        self._calm: asyncio.TimerHandle | None = None
        self._doubted_at = math.inf

    async def run(self) -> None:
        """List and watch until cancelled. No failure of the cluster ends this.

        Called again after a defect of ours it begins with a list: what came last may not have been taken.
        """
        failures, loop, self._version = 0, asyncio.get_running_loop(), ""
        while True:
            self._opened_at = math.inf
            try:
                absent = await self._follow()
                failures = 0
                if absent:
                    await asyncio.sleep(self._timing.missing * random.uniform(0.8, 1.2))  # noqa: S311 - spreads load
            except Gone:
                # Our version is older than what the server remembers: what happened meanwhile only a list can tell.
                self._version = ""
                failures += 1
                pause = 0.0 if failures == 1 else self._timing.backoff(failures)
                await asyncio.sleep(pause)
            except KubeError as error:
                # A watch that stood for a while and then broke is a first failure: proxies cut what is long.
                stood = loop.time() - self._opened_at > self._timing.backoff_first
                failures = 1 if stood else failures + 1
                self._note(error, failures)
                distrusted = error.status in {400, 500} or isinstance(error, NotTheApiServer)
                if isinstance(error, NotServed | Forbidden) or (failures >= FAILURES_UNTIL_LIST and distrusted):
                    self._version = ""
                retry_after = min(error.retry_after or 0.0, LONGEST_RETRY_AFTER)
                await asyncio.sleep(max(self._timing.backoff(failures), retry_after))

    async def _follow(self) -> bool:
        """List where that is due, and watch. True where the registered cluster has, or shows us, no such kind."""
        loop = asyncio.get_running_loop()
        await self._client.know_cluster(self._timing.probe_limit)
        try:
            if not self._version or loop.time() > self._list_due:
                # Where that fails the watch is resumed all the same.
                self._list_due = loop.time() + self._timing.relist / 10
                await self._list()
            await self._watch()
        except (NotServed, Forbidden) as error:
            if not self.optional:
                raise
            # Pages lose this kind's objects now, so the registered cluster itself must have said so.
            await self._client.confirm_identity(self._timing.probe_limit)
            self._without(error)
            return True
        return False

    def _without(self, error: KubeError) -> None:
        """The cluster has no such API, or we may not read it."""
        self._unsettle()
        self._version = ""
        self.missing = (
            "the cluster does not serve it" if isinstance(error, NotServed) else "the credential may not read it"
        )
        self.error, self.refused, self.doubted, self.alive_at = "", False, False, time.time()
        # The objects that were shown are no longer known to be true.
        self._desk.inbox.complete(self.kind, set())
        self._writer.filled(self._desk)
        self._news()

    def _note(self, error: KubeError, failures: int) -> None:
        self._unsettle()
        self.refused = isinstance(error, Unauthorized)
        self.doubted = isinstance(error, RefusedOnce) and isinstance(error.refused, Unauthorized)
        if self.missing and not self.refused:
            # Nothing of it is shown: that it can't be asked for once more makes nothing out of date.
            return
        if self._is_only_doubted():
            # It is the credential that is on trial, not this list.
            self._news()
            return
        if failures > 1 or self.error is None or isinstance(error, NotServed):
            # One broken watch is an ordinary event; a second failure in a row is worth showing.
            served = f"The cluster does not serve {self.kind}."
            self.error = served if isinstance(error, NotServed) else error.message
        self._news()
        level = logging.INFO if failures == 1 else logging.WARNING
        logger.log(level, "cluster %s: %s: %s (failure %d)", self._desk.cluster_id, self.kind, error, failures)

    def _is_only_doubted(self) -> bool:
        """Whether nothing but a refusal that nobody believes yet has kept the first list away. Who goes on saying so,
        and never for long enough to be believed, is broken like others."""
        if not self.doubted or self.error is not None:
            return False
        now = asyncio.get_running_loop().time()
        self._doubted_at = min(self._doubted_at, now)
        return now - self._doubted_at < 2 * self._timing.opinion

    async def _list(self) -> None:
        # "0" lets the server answer out of its cache, which is cheap. After a 410 that may be older than what we have
        # seen, so only the first list of a stream's life does it.
        from_version = "" if self._listed_before else "0"
        inbox, uids, version = self._desk.inbox, set[str](), ""
        pages = self._client.list(
            self._api_version,
            self.kind,
            resource_version=from_version,
            seconds=self._timing.page_limit,
            large=self._writer.large_pages,
        )
        async with aclosing(pages):
            async for objects, page_version in pages:
                many = len(objects) >= LOT
                while objects:
                    # Reading a hundred objects takes milliseconds: let other clusters through between two lots.
                    uids |= inbox.listed(self.kind, objects[-LOT:])
                    del objects[-LOT:]
                    await asyncio.sleep(0)
                version = version or page_version
                self._writer.filled(self._desk)
                if many:
                    await self._desk.stored()
        # Whatever the list did not have is taken for gone: that only the registered cluster may say.
        await self._client.confirm_identity(self._timing.probe_limit)
        inbox.complete(self.kind, uids)
        self._writer.filled(self._desk)
        # No page may claim that all is shown before it is.
        await self._desk.stored()
        self._version, self._listed_before = version, True
        later = self._timing.relist * random.uniform(0.8, 1.2)  # noqa: S311 - spreads load
        self._list_due = asyncio.get_running_loop().time() + later
        self.alive_at = time.time()

    async def _watch(self) -> None:
        seconds = random.randint(max(1, self._timing.watch * 4 // 5), self._timing.watch)  # noqa: S311 - spreads load
        events = self._client.watch(
            self._api_version,
            self.kind,
            self._version,
            server_seconds=seconds,
            grace_seconds=self._timing.grace,
            opened=self._open,
        )
        async with aclosing(events):
            async for event in events:
                self._take(event)
                if len(self._desk.inbox) > MAX_WAITING:
                    await self._desk.stored()
        self.alive_at = time.time()

    def _open(self) -> None:
        loop = asyncio.get_running_loop()
        self._opened_at = loop.time()
        if self.error or self.refused:
            # Only when it has stood for a while: a server that accepts each watch and breaks it off would make the
            # cluster's state go to and fro.
            self._unsettle()
            self._calm = loop.call_later(self._timing.backoff_first, self._well)
        elif self.error is None or self.missing:
            self._well()

    @property
    def lacks(self) -> str:
        """What people are told of a kind that is missing."""
        return "" if self._of_engine else self.missing

    def _unsettle(self) -> None:
        if self._calm is not None:
            self._calm.cancel()

    def _well(self) -> None:
        self.error, self.missing, self.refused, self.doubted = "", "", False, False
        self._news()

    def _take(self, event: dict[str, Any]) -> None:
        obj, kind = event["object"], str(event.get("type") or "")
        metadata = obj.get("metadata")
        version = str(metadata.get("resourceVersion") or "") if isinstance(metadata, dict) else ""
        if kind in {"ADDED", "MODIFIED", "DELETED"}:
            self._desk.inbox.event(self.kind, kind, obj)
            if self.kind == "Node":
                self._news()
        elif kind != "BOOKMARK":
            logger.warning("watch of %s: unknown event type %r", self.kind, kind[:40])
            return
        self.alive_at = time.time()
        self._version = version or self._version
        if kind != "BOOKMARK":
            self._writer.filled(self._desk)

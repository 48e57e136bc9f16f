"""One kind of one cluster: list it, watch it, and begin again after every failure, for ever."""

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Any

from apps.clusters.kube.errors import Gone, KubeError, NotFound, TooManyRequests, Unauthorized
from apps.clusters.kube.stream import StreamClient
from apps.clusters.watcher.inbox import Inbox
from apps.clusters.watcher.timing import Timing

logger = logging.getLogger(__name__)

# What is watched: (apiVersion, kind).
KINDS: tuple[tuple[str, str], ...] = (
    ("v1", "Node"),
    ("v1", "Pod"),
    ("v1", "Event"),
    ("batch/v1", "Job"),
    ("apps/v1", "Deployment"),
)


class Stream:
    """Feeds an inbox with one kind.

    `error` is None until the first list, "" while in step, else what is wrong; `refused` says that the credential is.
    `filled` is called when the inbox has something to write, `news` when the cluster's state may be another.
    """

    def __init__(
        self,
        client: StreamClient,
        api_version: str,
        kind: str,
        inbox: Inbox,
        filled: Callable[[], None],
        news: Callable[[], None],
        timing: Timing,
    ) -> None:
        self.kind = kind
        self.error: str | None = None
        self.refused = False
        self._client = client
        self._api_version = api_version
        self._inbox = inbox
        self._filled = filled
        self._news = news
        self._timing = timing
        # Where to go on watching; "" asks for a new list.
        self._version = ""
        self._listed_before = False

    async def run(self) -> None:
        """List and watch until cancelled. No failure of the cluster ends this."""
        failures = 0
        while True:
            try:
                if not self._version:
                    await self._list()
                await self._watch()
                failures = 0
            except Gone:
                # Our version is older than what the server remembers: what happened meanwhile only a list can tell.
                self._version = ""
                failures += 1
                pause = 0.0 if failures == 1 else self._timing.backoff(failures)
                await asyncio.sleep(pause)
            except KubeError as error:
                failures += 1
                self._note(error, failures)
                wanted = error.retry_after if isinstance(error, TooManyRequests) else None
                await asyncio.sleep(max(self._timing.backoff(failures), min(wanted or 0.0, 60.0)))

    def _note(self, error: KubeError, failures: int) -> None:
        self.refused = isinstance(error, Unauthorized)
        if isinstance(error, NotFound):
            # A cluster without this API (no batch/v1, say) has none of these objects.
            self.error = f"The cluster does not serve {self.kind}."
        elif failures > 1 or self.error is None:
            # One broken watch is an ordinary event; a second failure in a row is worth showing.
            self.error = error.message
        self._news()
        level = logging.INFO if failures == 1 else logging.WARNING
        logger.log(level, "watch of %s: %s (failure %d)", self.kind, error, failures)

    async def _list(self) -> None:
        # "0" lets the server answer out of its cache, which is cheap. After a 410 that may be older than what we have
        # seen, so only the first list of a stream's life does it.
        wanted = "" if self._listed_before else "0"
        uids: set[str] = set()
        version = ""
        pages = self._client.list(
            self._api_version, self.kind, resource_version=wanted, seconds=self._timing.page_limit
        )
        async for objects, found in pages:
            uids |= self._inbox.listed(self.kind, objects)
            version = version or found
            self._filled()
            # Parsing a page takes milliseconds: let other clusters' events through between two.
            await asyncio.sleep(0)
        self._inbox.complete(self.kind, uids)
        self._version, self._listed_before = version, True
        self._filled()

    async def _watch(self) -> None:
        seconds = random.randint(max(1, self._timing.watch * 4 // 5), self._timing.watch)  # noqa: S311 - spreads load
        events = self._client.watch(
            self._api_version,
            self.kind,
            self._version,
            server_seconds=seconds,
            grace_seconds=self._timing.grace,
        )
        if self.error != "":
            self.error, self.refused = "", False
            self._news()
        async for event in events:
            self._take(event)

    def _take(self, event: dict[str, Any]) -> None:
        obj = event.get("object") or {}
        kind = str(event.get("type") or "")
        version = str((obj.get("metadata") or {}).get("resourceVersion") or "")
        if kind in {"ADDED", "MODIFIED", "DELETED"}:
            self._inbox.event(self.kind, kind, obj)
            if self.kind == "Node":
                self._news()
        elif kind != "BOOKMARK":
            logger.warning("watch of %s: unknown event type %r", self.kind, kind[:40])
            return
        self._version = version or self._version
        if kind != "BOOKMARK":
            self._filled()

"""Writes the reports of all clusters of a process to Postgres: one transaction for many of them.

A cluster whose batch is under way is left alone until that is done, so that nothing old overwrites something new. One
cluster's trouble stays its own: what a shared transaction can't store is written again cluster by cluster.
"""

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from django.db import Error as DatabaseError
from django.db import transaction

from apps.clusters.observed import interests, store
from apps.clusters.watcher.database import Database
from apps.clusters.watcher.inbox import Inbox
from apps.clusters.watcher.timing import Timing
from apps.core import work
from apps.core.hints import publish

logger = logging.getLogger(__name__)

# Rows of one transaction; a cluster's whole batch goes into one, however large it is.
MAX_ROWS = 1000
# Changes come in bursts (a pod gets a node, pulls, starts): so much later one round sees all of them.
SETTLE_SECONDS = 0.2
# Transactions at once. More would only wait for each other's processor.
MAX_TRANSACTIONS = 2

MAX_LARGE_PAGES = 8
# A cluster with a row that Postgres refuses is written alone for so long: row by row costs a hundred times as much.
APART_SECONDS = 600.0
# Failed writes in a row, about a minute, after which a cluster is listed anew instead of keeping ever more in memory.
MAX_FAILURES = 7
# Rows that may wait for a write; streams read no further before they are stored.
MAX_WAITING = 5000
# The supervisor waits for this, and must not renew other leases too late.
LAST_WRITE_SECONDS = 2.0

Batches = dict[int, tuple[int, store.Batch]]


def tell_viewers(cluster_id: int) -> None:
    """Let pages that show the cluster look again."""
    publish([("clusters", None), (f"cluster:{cluster_id}", None)])


class Desk:
    """One cluster's place at the writer: its inbox, and why its watch must end."""

    def __init__(self, cluster_id: int, fencing: int) -> None:
        self.cluster_id = cluster_id
        self.fencing = fencing
        self.inbox = Inbox()
        # Held while something of this cluster is being written.
        self.lock = asyncio.Lock()
        self.failures = 0
        # Until when (monotonic clock) it shares no transaction with others.
        self.apart_until = -math.inf
        # The moment (wall clock) of the first report that is not stored yet; None when all are.
        self.behind_since: float | None = None
        self._taken_at = 0.0
        # How many batches were taken out, and how many of these, at least, are stored.
        self._taken = self._stored = 0
        self._written = asyncio.Event()
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def over(self) -> None:
        """Wait for the end. Raises LeaseLost, or whatever defect of ours keeps the cluster from being written."""
        await self._over

    def end(self, error: Exception) -> None:
        """Let `over` raise."""
        if not self._over.done():
            self._over.set_exception(error)

    async def stored(self) -> None:
        """Wait until all that the inbox has been given so far is in Postgres."""
        goal = self._taken + bool(self.inbox)
        while self._stored < goal:
            self._written.clear()
            await self._written.wait()

    def take(self) -> store.Batch:
        """Take out the batch that is to be written now."""
        self._taken, self._taken_at = self._taken + 1, time.time()
        return self.inbox.take()

    def close(self) -> None:
        """Nobody waits any more."""
        self._over.cancel()

    def tell_stored(self) -> None:
        """Note that the batch that was taken last is stored, and all before it: one at a time is under way."""
        self.failures = 0
        self.behind_since = self._taken_at if self.inbox else None
        self._stored = self._taken
        self._written.set()


class Writer:
    """Shared by all clusters of a process."""

    def __init__(self, database: Database, timing: Timing) -> None:
        self._database = database
        self._timing = timing
        self._desks: dict[int, Desk] = {}
        self._waiting: dict[int, Desk] = {}
        self._filled = asyncio.Event()
        self._slots = asyncio.Semaphore(MAX_TRANSACTIONS)
        # A stream that parses a large page holds one of these until its rows are written: fifty clusters listed at once
        # would otherwise all be in memory at once.
        self.large_pages = asyncio.Semaphore(MAX_LARGE_PAGES)

    @asynccontextmanager
    async def desk(self, cluster_id: int, fencing: int) -> AsyncIterator[Desk]:
        """A place for a cluster, for as long as its lease is held."""
        desk = self._desks[cluster_id] = Desk(cluster_id, fencing)
        try:
            yield desk
        finally:
            if self._desks.get(cluster_id) is desk:
                del self._desks[cluster_id]
                self._waiting.pop(cluster_id, None)
            desk.close()
            # The write under way must not come after the first write of the next watcher.
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_WRITE_SECONDS), desk.lock:
                    pass

    @asynccontextmanager
    async def alone(self, desk: Desk) -> AsyncIterator[None]:
        """While no batch of this cluster is under way: for other writes to the same rows."""
        async with desk.lock:
            yield
        if desk.cluster_id in self._waiting:
            self._filled.set()

    def filled(self, desk: Desk) -> None:
        """A cluster's inbox has something to write."""
        if desk.inbox and desk.behind_since is None:
            desk.behind_since = time.time()
        if self._desks.get(desk.cluster_id) is desk:
            self._waiting[desk.cluster_id] = desk
            self._filled.set()

    async def run(self) -> None:
        """Write for ever."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._filled.wait()
                await asyncio.sleep(self._timing.batch)
                self._filled.clear()
                while chosen := await self._choose():
                    await self._slots.acquire()
                    tasks.create_task(self._write(chosen))

    async def _choose(self) -> list[Desk]:
        """Clusters that wait longest, up to a transaction's worth of rows; their locks are taken."""
        chosen: list[Desk] = []
        size = 0
        for pk, desk in list(self._waiting.items()):
            if desk.lock.locked():
                # It is filled again, or its writer comes back to it, when the lock is free.
                continue
            apart = time.monotonic() < desk.apart_until
            if chosen and (apart or size + len(desk.inbox) > MAX_ROWS):
                break
            del self._waiting[pk]
            await desk.lock.acquire()  # it is free: this does not wait
            chosen.append(desk)
            size += len(desk.inbox)
            if apart:
                break
        return chosen

    async def _write(self, desks: list[Desk]) -> None:
        batches: Batches = {desk.cluster_id: (desk.fencing, desk.take()) for desk in desks}
        try:
            written = await self._store(batches)
        finally:
            self._slots.release()
            for desk in desks:
                desk.lock.release()
        for desk in desks:
            self._settle(desk, batches[desk.cluster_id][1], written.get(desk.cluster_id))
        if any(desk.cluster_id in self._waiting for desk in desks):
            self._filled.set()

    async def _store(self, batches: Batches) -> dict[int, store.Written | Exception]:
        """The outcome of each batch; a cluster whose lease is lost is not in the answer."""
        outcomes: dict[int, store.Written | Exception] = {}
        nonempty = {pk: entry for pk, entry in batches.items() if entry[1]}
        outcomes.update({pk: store.Written() for pk in batches if pk not in nonempty})
        if not nonempty:
            return outcomes
        try:
            outcomes.update(await self._database.run(self._store_now, nonempty))
        except Exception as error:  # noqa: BLE001 - a defect in what one cluster brings must not stop all of them
            if len(nonempty) == 1:
                return outcomes | dict.fromkeys(nonempty, error)
            for pk, entry in nonempty.items():
                outcomes.update(await self._store({pk: entry}))
        return outcomes

    def _store_now(self, batches: Batches) -> dict[int, store.Written]:
        """On a database thread: write, and in the same transaction ask for the work that the changes cause."""
        work_of: dict[str, dict[int, int | None]] = {}
        topics: list[str] = []
        with transaction.atomic():
            written = store.write_many(batches)
            for pk, outcome in written.items():
                concerned, hinted = interests.resolve(pk, outcome.changes)
                _, spoken_of = interests.resolve(pk, outcome.spoken_of)
                for kind, object_id in concerned:
                    work_of.setdefault(kind, {})[object_id] = pk
                topics += hinted + spoken_of
            for kind in sorted(work_of):
                work.ask_many(kind, work_of[kind].items(), after=SETTLE_SECONDS)
        for pk, outcome in written.items():
            if outcome.anything:
                topics.append(f"cluster:{pk}")
        if any(outcome.anything for outcome in written.values()):
            topics.append("clusters")
        publish((topic, None) for topic in topics)
        return written

    def _settle(self, desk: Desk, batch: store.Batch, outcome: store.Written | Exception | None) -> None:
        if outcome is None:
            desk.end(store.LeaseLost(f"cluster {desk.cluster_id} has another watcher than #{desk.fencing}"))
        elif isinstance(outcome, DatabaseError) and desk.failures < MAX_FAILURES:
            desk.failures += 1
            logger.warning("cluster %s: nothing written: %s", desk.cluster_id, type(outcome).__name__)
            desk.inbox.put_back(batch)
            pause = self._timing.backoff(desk.failures)
            asyncio.get_running_loop().call_later(pause, self.filled, desk)
        elif isinstance(outcome, Exception):
            desk.end(outcome)
        else:
            if outcome.refused:
                desk.apart_until = time.monotonic() + APART_SECONDS
            desk.tell_stored()

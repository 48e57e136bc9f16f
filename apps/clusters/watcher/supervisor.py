"""The clusters that this process watches: it takes and renews leases, and begins and ends the watch of each."""

import asyncio
import logging
import math
import time
from dataclasses import dataclass

from django.db import Error as DatabaseError
from django.db import InterfaceError, OperationalError

from apps.clusters import services
from apps.clusters.models import Cluster
from apps.clusters.observed.conditions import FAILURES_UNTIL_UNREACHABLE
from apps.clusters.observed.observation import Observation, defect_of
from apps.clusters.observed.store import LeaseLost
from apps.clusters.reconcile import recent_outages, record_ages, record_state
from apps.clusters.watcher import lease
from apps.clusters.watcher.cluster import ClusterWatch, Shared, Start
from apps.clusters.watcher.database import Database
from apps.clusters.watcher.shares import Member, shares, to_hand_over
from apps.clusters.watcher.timing import Timing
from apps.clusters.watcher.writer import Writer, tell_viewers
from apps.core.errors import FlotillaError

logger = logging.getLogger(__name__)

# Clusters that are handed over in one round: each is unwatched for the second or two until another has it.
HAND_OVER = 5


@dataclass
class _Held:
    """A cluster whose lease is ours, and the task that watches it."""

    generation: int
    fencing: int
    task: asyncio.Task[None]
    watch: ClusterWatch | None = None


class Supervisor:
    """Runs for ever; `limit` bounds how many clusters this process takes (0: its share)."""

    def __init__(self, *, timing: Timing | None = None, limit: int = 0) -> None:
        self._timing = timing or Timing()
        self._limit = limit
        self._holder = lease.holder_name()
        self._held: dict[int, _Held] = {}
        self._members: list[Member] = []
        self._renewed_at = self._touched_at = -math.inf

    async def run(self, stop: asyncio.Event) -> None:
        """Watch until `stop` is set, then give the leases back."""
        database = Database()
        writer = Writer(database, self._timing)
        self._shared = Shared(writer, database, Database(), self._timing)
        # Leases have a thread of their own: many clusters' writes must not make a renewal come too late.
        self._control = Database(threads=1)
        helpers = [asyncio.create_task(writer.run())]
        logger.info("watcher %s starts", self._holder)
        try:
            while not stop.is_set():
                for helper in helpers:
                    if helper.done():
                        # Nothing would be written any more, without a word: better to end, and be started again.
                        helper.result()
                try:
                    await self._round()
                except DatabaseError as error:
                    await self._without_database(error)
                await _wait(stop, self._timing.poll)
        finally:
            fencings = {pk: watched.fencing for pk, watched in self._held.items()}
            await self._end(list(self._held))
            await self._leave(fencings)
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
            for pool in (self._shared.resolver, database, self._control):
                await pool.close()

    async def _round(self) -> None:
        """One look at the clusters: end, renew, hand over and take watches as their leases demand."""
        enabled = await self._control.run(_enabled_clusters)
        # A watch that has ended by itself found its lease lost. It may be renewed all the same, as after a pause during
        # which no other watcher took it: it is taken anew, or it would be held and never watched.
        await self._end(
            [pk for pk, watched in self._held.items() if enabled.get(pk) != watched.generation or watched.task.done()]
        )
        if time.monotonic() - self._renewed_at >= self._timing.renew:
            await self._renew()
            await self._hand_over(len(enabled))
        await self._take(enabled)
        if time.monotonic() - self._touched_at >= self._timing.touch:
            self._touched_at = time.monotonic()
            ages = [watched.watch.age() for watched in self._held.values() if watched.watch is not None]
            if ages:
                await self._control.run(record_ages, ages)

    async def _renew(self) -> None:
        fencings = {pk: watched.fencing for pk, watched in self._held.items()}
        ours = await self._control.run(lease.renew, fencings, self._holder, self._timing.lease)
        self._members = await self._control.run(lease.announce, self._holder, self._limit, self._timing.lease)
        self._renewed_at = time.monotonic()
        lost = [pk for pk in fencings if pk not in ours]
        if lost:
            logger.warning("the leases of %d clusters were taken over", len(lost))
        await self._end(lost)

    async def _hand_over(self, clusters: int) -> None:
        """Give up what is above our share, the newest first: a few at a time, and only to watchers that last."""
        settled = 2 * self._timing.renew
        surplus = to_hand_over(len(self._held), clusters, self._members, self._holder, settled, HAND_OVER)
        if surplus:
            leaving = {pk: self._held[pk].fencing for pk in list(self._held)[-surplus:]}
            logger.info("handing %d of %d clusters over", surplus, len(self._held))
            await self._end(list(leaving))
            await self._control.run(lease.release, leaving, self._holder)

    async def _take(self, enabled: dict[int, int]) -> None:
        free = [pk for pk in enabled if pk not in self._held]
        room = shares(len(enabled), self._members).get(self._holder, 0) - len(self._held)
        if not free or room <= 0:
            return
        taken = await self._control.run(lease.acquire, free, self._holder, self._timing.lease, most=room)
        for pk, fencing in taken.items():
            self._start(pk, enabled[pk], fencing)

    async def _without_database(self, error: DatabaseError) -> None:
        logger.warning("Postgres can't be reached (%s); trying again", type(error).__name__)
        # Leases have surely ended by then, and somebody else may watch. Nothing can be written meanwhile anyway.
        if self._held and time.monotonic() - self._renewed_at > self._timing.lease:
            await self._end(list(self._held))

    def _start(self, pk: int, generation: int, fencing: int) -> None:
        logger.info("cluster %s: watching (generation %d, lease #%d)", pk, generation, fencing)
        self._held[pk] = _Held(generation, fencing, asyncio.create_task(self._watch(pk, fencing)))

    async def _watch(self, pk: int, fencing: int) -> None:
        """Watch one cluster for as long as its lease is ours; begin again after a defect of our own, and say so."""
        failures, lost, since, defect = 0, False, time.monotonic(), ""
        while not lost:
            began = time.monotonic()
            try:
                start = await self._shared.resolver.run(_start, pk, since, defect)
                watch = self._held[pk].watch = ClusterWatch(pk, fencing, start, self._shared)
                await watch.run()
            except* LeaseLost:
                logger.warning("cluster %s: the lease #%d was taken over", pk, fencing)
                lost = True
            except* FlotillaError as group:
                await self._tell(pk, fencing, _unusable(_first(group)))
            except* (OperationalError, InterfaceError) as group:
                logger.warning("cluster %s: %s", pk, type(_first(group)).__name__)
            except* Exception as group:
                logger.exception("cluster %s: the watch failed and begins again", pk)
                defect = defect_of(_first(group))
                await self._tell(pk, fencing, Observation(defect=defect))
            # One that ends soon each time would list everything each time, and that is felt by all others.
            failures = 1 if time.monotonic() - began > self._timing.backoff_most else failures + 1
            await asyncio.sleep(self._timing.backoff(failures))

    async def _tell(self, pk: int, fencing: int, seen: Observation) -> None:
        """Record the state of a cluster whose watch can't record it itself."""
        try:
            changed = await self._shared.database.run(record_state, pk, fencing, seen, answered=False)
        except (DatabaseError, LeaseLost) as failure:
            logger.warning("cluster %s: its state is not recorded: %s", pk, type(failure).__name__)
            return
        if changed:
            tell_viewers(pk)

    async def _end(self, pks: list[int]) -> None:
        tasks = []
        for pk in pks:
            task = self._held.pop(pk).task
            task.cancel()
            tasks.append(task)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _leave(self, fencings: dict[int, int]) -> None:
        try:
            await self._control.run(lease.leave, self._holder)
            await self._control.run(lease.release, fencings, self._holder)
        except DatabaseError as error:
            logger.warning("the leases were not given back (%s); they end by themselves", type(error).__name__)


def _enabled_clusters() -> dict[int, int]:
    return dict(Cluster.objects.filter(enabled=True).order_by("pk").values_list("pk", "generation"))


def _start(pk: int, since: float, defect: str) -> Start:
    cluster = Cluster.objects.get(pk=pk)
    return Start(
        services.connection_of(cluster),
        cluster.identity,
        cluster.generation,
        cluster.state,
        cluster.refusal,
        tuple(recent_outages(pk)),
        since,
        defect,
    )


def _unusable(error: BaseException) -> Observation:
    """No connection can even be tried: the name does not resolve, the address is refused, the key is lost."""
    sentence = services.impossible(error)[0] if isinstance(error, FlotillaError) else str(error)
    return Observation(failures=FAILURES_UNTIL_UNREACHABLE, error_reason="ConnectionImpossible", error_message=sentence)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return

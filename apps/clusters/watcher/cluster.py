"""One cluster: its streams, its probe and its metrics. What streams bring goes to the writer; this module says how the
cluster is and how old what is known of it is."""

import asyncio
import logging
import math
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.db import Error as DatabaseError

from apps.clusters import services
from apps.clusters.connect import addresses
from apps.clusters.kube import trust
from apps.clusters.kube.connection import Connection
from apps.clusters.kube.errors import Forbidden, KubeError, NotServed, RefusedOnce, TooManyRequests, Unauthorized
from apps.clusters.kube.identity import Identity
from apps.clusters.kube.opinions import Opinions
from apps.clusters.kube.stream import StreamClient
from apps.clusters.observed import rows, store
from apps.clusters.observed.clusterstate import derive
from apps.clusters.observed.conditions import FAILURES_UNTIL_UNREACHABLE, UNSTABLE_MINUTES, conditions
from apps.clusters.observed.observation import Observation, defect_of
from apps.clusters.observed.store import LeaseLost
from apps.clusters.reconcile import Age, record_state
from apps.clusters.states import ClusterState
from apps.clusters.watcher.database import Database
from apps.clusters.watcher.kinds import KINDS
from apps.clusters.watcher.streams import Stream
from apps.clusters.watcher.timing import Timing
from apps.clusters.watcher.writer import Desk, Writer, tell_viewers
from apps.core.errors import Conflict, FlotillaError

logger = logging.getLogger(__name__)

# Failed probes after which the name is resolved (and checked) again.
RESOLVE_EVERY = 5
# None of these is a lost request, and nothing else that the answering server says is believed.
CERTAIN = frozenset({"AnotherCluster", "CertificateInvalid", "ClientCertificateRefused", "PlainHttp"})


@dataclass(frozen=True)
class Shared:
    """The resources that all clusters of a process share. Names go to `resolver`: a dead name server, which blocks
    its threads, must not keep anything from being written."""

    writer: Writer
    database: Database
    resolver: Database
    timing: Timing


@dataclass(frozen=True)
class Start:
    """The start of a watch: the connection, and which cluster must answer there; the state that is recorded, and the
    `refusal` of the credential; when the cluster was lost lately; and since when (monotonic clock) this process has
    been trying, earlier watches that failed included, and by which `defect` of ours the last of them did."""

    connection: Connection
    identity: str
    generation: int
    state: str
    refusal: str
    outages: tuple[datetime, ...]
    since: float
    defect: str = ""


@dataclass
class _Contact:
    """The outcomes of the probes so far."""

    seen_at: float | None = None
    failures: int = 0
    successes: int = 0
    reason: str = ""
    message: str = ""
    # None until something that needs the credential was answered.
    authorized: bool | None = None
    version: str = ""
    metrics: bool | None = None
    streams: list[Stream] = field(default_factory=list)


class ClusterWatch:
    """Watches one cluster while this process holds its lease number `fencing`."""

    def __init__(self, cluster_id: int, fencing: int, start: Start, shared: Shared) -> None:
        self.cluster_id = cluster_id
        self.fencing = fencing
        self._connection = start.connection
        self._generation = start.generation
        self._identity = Identity(start.identity)
        self._stored_identity = start.identity
        self._was, self._refusal = start.state, start.refusal
        self._outages = deque(moment.timestamp() for moment in start.outages)
        self._shared = shared
        self._timing = shared.timing
        self._news = asyncio.Event()
        self._contact = _Contact()
        self._desk: Desk | None = None
        self._since = start.since
        self._recorded_at = self._shaken_at = -math.inf
        self._recorded: Any = None
        self._defect, self._defect_at = start.defect, time.monotonic()

    async def run(self) -> None:
        """Watch until cancelled. Raises LeaseLost when another watcher has taken over, Conflict when the TLS library
        can't read the stored certificates."""
        try:
            opinions = Opinions(self._timing.opinion)
            opinions.refused = bool(self._refusal)
            client = StreamClient(self._connection, self._identity, opinions)
        except KubeError as error:
            raise Conflict(error.message) from error
        try:
            async with self._shared.writer.desk(self.cluster_id, self.fencing) as desk, asyncio.TaskGroup() as tasks:
                self._desk = desk
                self._contact.streams = [
                    Stream(client, watched, desk, self._shared.writer, self._news.set, self._timing)
                    for watched in KINDS
                ]
                tasks.create_task(desk.over())
                works = [lambda: self._probe(client, desk), lambda: self._measure(client, desk)]
                for work in [*works, *(stream.run for stream in self._contact.streams)]:
                    tasks.create_task(self._go_on(work, desk))
        finally:
            await client.close()

    def age(self) -> Age:
        """The age of what is known now."""
        contact = self._contact
        needed = [stream.alive_at for stream in contact.streams if not stream.optional]
        known = [at for at in needed if at is not None]
        synced = min(known) if known and len(known) == len(needed) else None
        if synced is not None and self._desk is not None and self._desk.behind_since is not None:
            # Pages show only what is stored.
            synced = min(synced, self._desk.behind_since)
        return Age(
            self.cluster_id,
            self.fencing,
            seen_at=_moment(contact.seen_at),
            synced_at=_moment(synced),
            streams={
                stream.kind: {
                    "at": moment.isoformat() if (moment := _moment(stream.alive_at)) else None,
                    "error": (stream.error or stream.lacks)[:300] if stream.error is not None else None,
                }
                for stream in contact.streams
            },
        )

    async def _go_on(self, work: Callable[[], Awaitable[None]], desk: Desk) -> None:
        """Repeat a task for as long as the cluster is watched. A failure in it is reported, and costs nothing else."""
        failures = 0
        while True:
            began = time.monotonic()
            try:
                await work()
            except LeaseLost:
                raise
            except Exception as error:
                logger.exception("cluster %s: a part of its watch failed and begins again", self.cluster_id)
                self._defect, self._defect_at = defect_of(error), time.monotonic()
                await self._record(desk)
            failures = 1 if time.monotonic() - began > self._timing.backoff_most else failures + 1
            await asyncio.sleep(self._timing.backoff(failures))

    async def _probe(self, client: StreamClient, desk: Desk) -> None:
        contact = self._contact
        while True:
            answered = await self._ask(client)
            if answered:
                contact.seen_at = time.time()
                if contact.failures:
                    # Watches from before the outage may be half-open and would stay silent until they time out.
                    client.break_watches()
            contact.failures = 0 if answered else contact.failures + 1
            contact.successes = contact.successes + 1 if answered else 0
            await self._record(desk)
            if desk.inbox.settle(datetime.now(UTC)):
                self._shared.writer.filled(desk)
            pause = self._timing.probe if answered else self._timing.probe_failed
            # The same for probes: the first pause is a part of one.
            await self._report_news(desk, pause * (random.random() if contact.successes == 1 else 1.0))  # noqa: S311

    async def _ask(self, client: StreamClient) -> bool:
        """Whether the cluster answers now; its answer is noted."""
        contact, now = self._contact, time.monotonic()
        afresh = now - self._shaken_at >= self._timing.handshake
        try:
            contact.version = await client.version(self._timing.probe_limit)
            await client.confirm_identity(self._timing.probe_limit, afresh=afresh)
            contact.authorized = True
            contact.reason = contact.message = ""
            await self._remember_identity()
        except (Unauthorized, Forbidden) as error:
            # It answers, so it is not unreachable; the credential is what is wrong.
            ended = trust.expired_since(self._connection)
            ours = f"; Flotilla's client certificate expired on {ended}" if ended else ""
            contact.authorized, contact.message = False, f"{error.message.rstrip('.')}{ours}"
        except (TooManyRequests, RefusedOnce):
            # It answers, that it has too much to do, or has just begun; what it keeps from us the streams say.
            contact.reason = contact.message = ""
        except KubeError as error:
            contact.reason, contact.message = error.reason, error.message
            if error.reason in CERTAIN:
                contact.failures = max(contact.failures, FAILURES_UNTIL_UNREACHABLE - 1)
                client.break_watches()
            if (contact.failures + 1) % RESOLVE_EVERY == 0:
                await self._resolve_again(client)
            return False
        if afresh:
            self._shaken_at = now
        return True

    async def _remember_identity(self) -> None:
        """Store which cluster has answered first; where two processes try, the quicker one's word stands."""
        if self._identity.registered == self._stored_identity:
            return
        with self._tolerated("which cluster this is is stored later"):
            registered = await self._shared.database.run(
                services.remember_identity, self.cluster_id, self._generation, self._identity.registered
            )
            self._stored_identity = self._identity.registered = registered

    async def _resolve_again(self, client: StreamClient) -> None:
        """The name may point elsewhere by now, as a cloud's load balancer does after it was replaced."""
        try:
            address = await self._shared.resolver.run(
                addresses.checked_address, self._connection.server, settings.CLUSTER_ALLOWED_NETWORKS
            )
        except FlotillaError as error:
            logger.info("cluster %s: %s", self.cluster_id, error.message)
            return
        client.dial(address)

    async def _report_news(self, desk: Desk, seconds: float) -> None:
        """Until the next probe is due, record at once whatever the streams have found out about the cluster."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while (left := end - loop.time()) > 0:
            try:
                async with asyncio.timeout(left):
                    await self._news.wait()
            except TimeoutError:
                return
            await asyncio.sleep(self._timing.batch)
            self._news.clear()
            await self._record(desk)

    def _observation(self, desk: Desk) -> Observation:
        contact, now = self._contact, time.time()
        while self._outages and self._outages[0] < now - UNSTABLE_MINUTES * 60:
            self._outages.popleft()
        nodes, ready = desk.inbox.nodes
        silent = {stream.kind: now - (stream.alive_at or now) for stream in contact.streams if not stream.error}
        return Observation(
            ever_seen=contact.seen_at is not None,
            failures=contact.failures,
            successes=contact.successes,
            error_reason=contact.reason,
            error_message=contact.message,
            authorized=self._authorized(),
            doubted=any(stream.doubted for stream in contact.streams),
            refusal=self._refusal,
            streams={stream.kind: stream.error for stream in contact.streams},
            missing={stream.kind: stream.lacks for stream in contact.streams if stream.lacks},
            silent={
                kind: seconds
                for kind, seconds in silent.items()
                if seconds > self._timing.stale and not self._is_missing(kind)
            },
            nodes=nodes,
            nodes_ready=ready,
            outages=len(self._outages),
            was=self._was,
            resuming=time.monotonic() - self._since < self._timing.resume,
            defect=self._defect if time.monotonic() - self._defect_at < self._timing.defect else "",
        )

    def _authorized(self) -> bool | None:
        """/version is public on many clusters, so the lists have a say in it, too."""
        streams = self._contact.streams
        if self._contact.authorized is False or any(stream.refused for stream in streams):
            return False
        return True if any(stream.alive_at for stream in streams) else self._contact.authorized

    def _is_missing(self, kind: str) -> bool:
        return any(stream.missing for stream in self._contact.streams if stream.kind == kind)

    async def _record(self, desk: Desk) -> None:
        """Write the cluster's state where it differs from what is written; now and then also where it does not, since
        others (an administrator, tidying up) write it, too."""
        contact, seen = self._contact, self._observation(desk)
        view = (derive(seen), conditions(seen), contact.version, contact.metrics)
        if view == self._recorded and time.monotonic() - self._recorded_at < self._timing.record:
            return
        state = view[0][0]
        try:
            changed = await self._shared.database.run(
                record_state,
                self.cluster_id,
                self.fencing,
                seen,
                generation=self._generation,
                server_version=contact.version,
                has_metrics=contact.metrics,
                answered=contact.failures == 0 and contact.seen_at is not None,
            )
        except DatabaseError as error:
            logger.warning("cluster %s: its state is not recorded: %s", self.cluster_id, type(error).__name__)
            return
        if state == ClusterState.UNREACHABLE != self._was:
            self._outages.append(time.time())
        self._was, self._recorded, self._recorded_at = state, view, time.monotonic()
        if changed:
            tell_viewers(self.cluster_id)

    async def _measure(self, client: StreamClient, desk: Desk) -> None:
        # Rows for the first figures exist only once the first lists are written.
        await asyncio.sleep(min(2.0, self._timing.metrics))
        # Clusters that were taken together must not all be measured together: only the second round comes earlier.
        due = asyncio.get_running_loop().time() - self._timing.metrics * random.random()  # noqa: S311 - spreads load
        while True:
            try:
                await client.know_cluster(self._timing.probe_limit)
                nodes = await client.usage("NodeMetrics")
                pods = await client.usage("PodMetrics")
            except KubeError as error:
                await self._no_metrics(error, desk)
            else:
                self._contact.metrics = True
                # By another name than the objects: they are large, and are not needed any more.
                used = _usage(nodes), _usage(pods)
                del nodes, pods
                with self._tolerated("this round's use is not stored; the next one brings newer figures"):
                    async with self._shared.writer.alone(desk):
                        stored = await self._shared.database.run(
                            store.write_usage, self.cluster_id, self.fencing, *used
                        )
                    if stored:
                        tell_viewers(self.cluster_id)
            # At a steady pace, so that every 15 s of the usage history have their sample.
            due = max(due + self._timing.metrics, asyncio.get_running_loop().time())
            await asyncio.sleep(due - asyncio.get_running_loop().time())

    async def _no_metrics(self, error: KubeError, desk: Desk) -> None:
        """That it is not served, and 503, say that there is no metrics-server; silence says nothing.

        What is requested is known without one, but only while it is watched: what nobody sees is a gap in the history.
        """
        none = isinstance(error, NotServed | Forbidden) or error.status == 503
        if none and not self._contact.failures and self._contact.metrics is not False:
            self._contact.metrics = False
            with self._tolerated("old figures of use stay a little longer"):
                async with self._shared.writer.alone(desk):
                    await self._shared.database.run(store.forget_usage, self.cluster_id, self.fencing)
        # Watches stand for a while after the credential was refused, and this asks again each time.
        refused = isinstance(error, Unauthorized)
        needed = [stream for stream in self._contact.streams if not stream.optional]
        # Before its first list a stream's error is None, and what is there is not known.
        watched = all(stream.error == "" and not stream.refused for stream in needed)
        if self._contact.seen_at and not self._contact.failures and watched and not refused:
            with self._tolerated("the history of use has a gap"):
                async with self._shared.writer.alone(desk):
                    await self._shared.database.run(store.write_usage, self.cluster_id, self.fencing, [], [])

    @contextmanager
    def _tolerated(self, consequence: str) -> Iterator[None]:
        """Go on without a write that nothing depends on, and say what that costs."""
        try:
            yield
        except DatabaseError as error:
            logger.warning("cluster %s: %s (%s)", self.cluster_id, consequence, type(error).__name__)


def _usage(objects: Iterable[Any]) -> list[rows.Row]:
    """The rows of the objects that can be read."""
    usage = []
    for obj in objects:
        with suppress(AttributeError, TypeError, ValueError):
            usage.append(rows.usage_row(obj))
    return usage


def _moment(seconds: float | None) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds is not None else None

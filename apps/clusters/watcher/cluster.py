"""One cluster: its streams, its probe, its metrics, and the writer that puts all of it into Postgres in batches."""

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass, field

from django.conf import settings
from django.db import Error as DatabaseError

from apps.clusters import addresses, observed, routing, rows
from apps.clusters.kube.connection import Connection
from apps.clusters.kube.errors import Forbidden, KubeError, Unauthorized
from apps.clusters.kube.stream import StreamClient
from apps.clusters.reconcile import record_state
from apps.clusters.states import Observation
from apps.clusters.watcher.database import Database
from apps.clusters.watcher.inbox import Inbox
from apps.clusters.watcher.outbox import Outbox
from apps.clusters.watcher.streams import KINDS, Stream
from apps.clusters.watcher.timing import Timing
from apps.core.errors import FlotillaError

logger = logging.getLogger(__name__)

# Failed probes after which the name is resolved (and checked) again.
RESOLVE_EVERY = 5


@dataclass
class _Contact:
    """What probes have found."""

    seen: bool = False
    failures: int = 0
    reason: str = ""
    message: str = ""
    authorized: bool = True
    version: str = ""
    metrics: bool | None = None
    streams: list[Stream] = field(default_factory=list)


class ClusterWatch:
    """Watches one cluster while this process holds its lease number `fencing`."""

    def __init__(
        self, cluster_id: int, connection: Connection, fencing: int, database: Database, outbox: Outbox, timing: Timing
    ) -> None:
        self.cluster_id = cluster_id
        self.fencing = fencing
        self._connection = connection
        self._database = database
        self._outbox = outbox
        self._timing = timing
        self._inbox = Inbox()
        self._filled = asyncio.Event()
        self._news = asyncio.Event()
        self._contact = _Contact()

    async def run(self) -> None:
        """Watch until cancelled. Raises LeaseLost when another watcher has taken over."""
        client = StreamClient(self._connection)
        try:
            self._contact.streams = [
                Stream(client, api_version, kind, self._inbox, self._filled.set, self._news.set, self._timing)
                for api_version, kind in KINDS
            ]
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._probe(client))
                tasks.create_task(self._write())
                tasks.create_task(self._measure(client))
                for stream in self._contact.streams:
                    tasks.create_task(stream.run())
        finally:
            await client.close()

    async def _probe(self, client: StreamClient) -> None:
        contact = self._contact
        while True:
            answered = True
            try:
                contact.version = await client.version(self._timing.probe_limit)
                if contact.failures:
                    # Watches from before the outage may be half-open and would stay silent until they time out.
                    client.break_watches()
                contact.seen, contact.failures, contact.authorized = True, 0, True
                contact.reason = contact.message = ""
            except (Unauthorized, Forbidden) as error:
                # It answers, so it is not unreachable; the credential is what is wrong.
                contact.failures, contact.authorized, contact.message = 0, False, error.message
            except KubeError as error:
                answered = False
                contact.failures += 1
                contact.reason, contact.message = error.reason, error.message
                if contact.failures % RESOLVE_EVERY == 0:
                    await self._resolve_again(client)
            await self._record(answered=answered)
            await self._report_news(self._timing.probe if answered else self._timing.probe_failed)

    async def _resolve_again(self, client: StreamClient) -> None:
        """The name may point elsewhere by now, as a cloud's load balancer does after it was replaced."""
        try:
            address = await self._database.run(
                addresses.checked_address, self._connection.server, settings.CLUSTER_ALLOWED_NETWORKS
            )
        except FlotillaError as error:
            logger.info("cluster %s: %s", self.cluster_id, error.message)
            return
        client.dial(address)

    async def _report_news(self, seconds: float) -> None:
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
            await self._record(answered=False)

    async def _record(self, *, answered: bool) -> None:
        contact = self._contact
        nodes, ready = self._inbox.nodes
        seen = Observation(
            ever_seen=contact.seen,
            failures=contact.failures,
            error_reason=contact.reason,
            error_message=contact.message,
            # /version is public on many clusters, so the lists have a say in it, too.
            authorized=contact.authorized and not any(stream.refused for stream in contact.streams),
            streams={stream.kind: stream.error for stream in contact.streams},
            nodes=nodes,
            nodes_ready=ready,
        )
        try:
            changed = await self._database.run(
                record_state,
                self.cluster_id,
                self.fencing,
                seen,
                server_version=contact.version,
                has_metrics=contact.metrics,
                answered=answered,
            )
        except DatabaseError as error:
            logger.warning("cluster %s: its state is not recorded: %s", self.cluster_id, type(error).__name__)
            return
        if changed:
            self._outbox.add([], ["clusters", f"cluster:{self.cluster_id}"])

    async def _write(self) -> None:
        failures = 0
        while True:
            await self._filled.wait()
            await asyncio.sleep(self._timing.batch)
            self._filled.clear()
            batch, changes = self._inbox.take()
            if not batch and not changes:
                continue
            try:
                await self._database.run(self._store, batch, changes)
                failures = 0
            except DatabaseError as error:
                failures += 1
                logger.warning("cluster %s: nothing written: %s", self.cluster_id, type(error).__name__)
                self._inbox.put_back(batch, changes)
                self._filled.set()
                await asyncio.sleep(self._timing.backoff(failures))

    def _store(self, batch: observed.Batch, changes: list[routing.Changed]) -> None:
        """On a database thread: write, then find out whom it concerns."""
        written = observed.write(self.cluster_id, self.fencing, batch)
        wakes, topics = routing.resolve(self.cluster_id, [*written.changes, *changes])
        _, spoken_of = routing.resolve(self.cluster_id, written.spoken_of)
        topics += spoken_of
        if written.anything:
            topics += ["clusters", f"cluster:{self.cluster_id}"]
        if wakes or topics:
            self._outbox.add_threadsafe(wakes, topics)

    async def _measure(self, client: StreamClient) -> None:
        # Rows for the first figures exist only once the first lists are written.
        await asyncio.sleep(min(2.0, self._timing.metrics))
        due = asyncio.get_running_loop().time()
        while True:
            try:
                nodes = await client.usage("NodeMetrics")
                pods = await client.usage("PodMetrics")
            except KubeError as error:
                await self._no_metrics(error)
            else:
                self._contact.metrics = True
                with suppress(DatabaseError):  # the next round brings newer figures anyway
                    used = [[rows.usage_row(found) for found in kind] for kind in (nodes, pods)]
                    if await self._database.run(observed.write_usage, self.cluster_id, self.fencing, *used):
                        self._outbox.add([], ["clusters", f"cluster:{self.cluster_id}"])
            # At a steady pace, so that every 15 s of the usage history have their sample.
            due = max(due + self._timing.metrics, asyncio.get_running_loop().time())
            await asyncio.sleep(due - asyncio.get_running_loop().time())

    async def _no_metrics(self, error: KubeError) -> None:
        """404 and 503 say that there is no metrics-server; silence says nothing."""
        if error.status in {403, 404, 503} and self._contact.metrics is not False:
            self._contact.metrics = False
            with suppress(DatabaseError):  # old figures stay a little longer
                await self._database.run(observed.forget_usage, self.cluster_id, self.fencing)
        if self._contact.seen and not self._contact.failures:
            with suppress(DatabaseError):  # a gap in the history is all that this costs
                await self._database.run(observed.write_usage, self.cluster_id, self.fencing, [], [])

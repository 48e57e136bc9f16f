"""The hint stream: one Redis subscription a web process, fanned out to every open page.

A page subscribes first and reads after, so nothing that changes in between is missed. A slow reader loses hints
(its queue is bounded) and is told `resync`, upon which it fetches everything again.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator

import redis.asyncio as redis
from django.conf import settings
from redis.exceptions import RedisError

from apps.core.hints import CHANNEL

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 15.0
QUEUE_SIZE = 256
RESYNC = "resync"


class HintHub:
    """Holds the subscription of this process and the queues of its readers. Lives in one event loop."""

    def __init__(self) -> None:
        self._readers: dict[asyncio.Queue[str], frozenset[int] | None] = {}
        self._task: asyncio.Task[None] | None = None

    async def read(self, projects: frozenset[int] | None) -> AsyncIterator[str]:
        """Yield SSE frames for a reader who sees `projects` (None: all of them), a heartbeat when all is quiet."""
        queue: asyncio.Queue[str] = asyncio.Queue(QUEUE_SIZE)
        self._readers[queue] = projects
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._pump())
        try:
            yield "retry: 2000\nevent: hello\ndata: ok\n\n"
            while True:
                try:
                    topic = await asyncio.wait_for(queue.get(), HEARTBEAT_SECONDS)
                except TimeoutError:
                    # An event, not only a comment: a page can't see comments, and must notice a stream that died.
                    yield ": still here\nevent: beat\ndata: ok\n\n"
                else:
                    yield f"event: hint\ndata: {topic}\n\n"
        finally:
            del self._readers[queue]

    async def _pump(self) -> None:
        delay = 0.2
        while self._readers:
            try:
                await self._listen()
                delay = 0.2
            except (RedisError, OSError, TimeoutError) as error:
                logger.warning("hint stream lost (%s); again in %.1f s", type(error).__name__, delay)
                await asyncio.sleep(delay)
                delay = min(delay * 2, 10.0)

    async def _listen(self) -> None:
        client = redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=3)
        async with client, client.pubsub() as channel:
            await channel.subscribe(CHANNEL)
            # What was published while nobody listened is unknown: let every page look again.
            self._deliver(RESYNC, None)
            while self._readers:
                message = await channel.get_message(ignore_subscribe_messages=True, timeout=5.0)
                if message is not None:
                    topic, project = json.loads(message["data"])
                    self._deliver(str(topic), project)

    def _deliver(self, topic: str, project: int | None) -> None:
        for queue, projects in self._readers.items():
            if project is not None and projects is not None and project not in projects:
                continue
            if queue.full():
                with contextlib.suppress(asyncio.QueueEmpty):  # emptied by its reader meanwhile: just as well
                    while True:
                        queue.get_nowait()
                queue.put_nowait(RESYNC)
            else:
                queue.put_nowait(topic)


_hubs: dict[int, HintHub] = {}


def hub() -> HintHub:
    """The hub of the running event loop."""
    loop = asyncio.get_running_loop()
    key = id(loop)
    if key not in _hubs:
        _hubs.clear()
        _hubs[key] = HintHub()
    return _hubs[key]

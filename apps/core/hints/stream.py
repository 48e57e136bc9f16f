"""The hint stream: one Redis subscription a web process, fanned out to every open page.

A page subscribes first and reads after, so nothing that changes in between is missed. A slow reader loses hints
(what waits for it is bounded) and is told `resync`, upon which it fetches everything again.

The projects that a reader may see are read again every half minute or so, and at once when a service says that they
have changed. A reader whose session or access has ended is cut off.

The first hint after a pause goes out at once. Those that follow are gathered and go out together, each once: writing
to a thousand sockets costs some 50 ms of processor time, however much is written.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

import redis.asyncio as redis
from django.conf import settings
from django.db import DatabaseError
from redis.exceptions import RedisError

from apps.core.hints import CHANNEL, RESYNC, SIGHT, Topic

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 15.0
# After so long a reader's sight is old: it is asked for again at the next sign of life, a heartbeat at the latest.
SIGHT_SECONDS = 30.0
# After so long without a message the server is asked for a sign of life, and given as long to answer.
PING_SECONDS = 5.0
# Hints that may wait for one reader.
QUEUE_SIZE = 256
# Between two deliveries: at least this, and so long for each reader that writing takes a quarter of the time at most.
PAUSE_SECONDS = 0.02
PAUSE_EACH_SECONDS = 0.0002
# Seconds until a lost subscription is made again: doubled each time, from the first to the longest.
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0


Sight = frozenset[int]
"""The projects that a reader sees."""


class _Reader:
    """One open page: the projects that it sees (None: all), whose it is, and the frames that wait for it."""

    __slots__ = ("_count", "_frames", "doubtful", "news", "person", "projects")

    def __init__(self, projects: Sight | None, person: int | None) -> None:
        self.projects = projects
        self.person = person
        self.doubtful = False
        self.news = asyncio.Event()
        self._frames: list[str] = []
        self._count = 0

    def put(self, frames: str, count: int) -> None:
        """Let `count` hints wait; too many become one that says to look at everything."""
        self._count += count
        if self._count > QUEUE_SIZE:
            self._frames, self._count = [_frame(RESYNC)], 1
        else:
            self._frames.append(frames)
        self.news.set()

    def begin_anew(self) -> None:
        """Drop what waits, and say to look at everything."""
        self._frames, self._count = [_frame(RESYNC)], 1
        self.news.set()

    def doubt(self) -> None:
        """Note that somebody changed what its person may see."""
        self.doubtful = True
        self.news.set()

    def take(self) -> str:
        """All that waits, as one text."""
        text = "".join(self._frames)
        self._frames.clear()
        self._count = 0
        self.news.clear()
        return text


class HintHub:
    """Holds the subscription of this process and its readers. Lives in one event loop."""

    def __init__(self) -> None:
        self._readers: set[_Reader] = set()
        self._task: asyncio.Task[None] | None = None

    async def read(
        self,
        projects: Sight | None,
        *,
        person: int | None = None,
        look: Callable[[], Awaitable[Sight | None]] | None = None,
    ) -> AsyncIterator[str]:
        """Yield SSE frames for a reader who sees `projects` (None: all of them), a heartbeat when all is quiet.

        `look` says what the reader sees now; the stream ends when it says None: nothing at all. `person` is whose page
        it is, by primary key.
        """
        reader, clock = _Reader(projects, person), asyncio.get_running_loop().time
        looked = clock()
        self._readers.add(reader)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._pump())
        try:
            yield "retry: 2000\nevent: hello\ndata: ok\n\n"
            while True:
                try:
                    # Not wait_for, which makes a task of its own for each wait.
                    async with asyncio.timeout(HEARTBEAT_SECONDS):
                        await reader.news.wait()
                except TimeoutError:
                    # An event, not only a comment: a page can't see comments, and must notice a stream that died.
                    yield ": still here\nevent: beat\ndata: ok\n\n"
                while look is not None and (reader.doubtful or clock() - looked >= SIGHT_SECONDS):
                    looked = clock()
                    if not await _still_sees(reader, look):
                        return
                if text := reader.take():
                    yield text
        finally:
            self._readers.discard(reader)

    async def _pump(self) -> None:
        loop, delay = asyncio.get_running_loop(), FIRST_PAUSE
        while self._readers:
            began = loop.time()
            try:
                await self._listen()
            except (RedisError, OSError, TimeoutError) as error:
                logger.warning("hint stream lost (%s); again in %.1f s", type(error).__name__, delay)
            except Exception:
                # Pages that are open would hear nothing any more, and not know it.
                logger.exception("hint stream failed; again in %.1f s", delay)
            else:
                continue
            if loop.time() - began > LONGEST_PAUSE:
                delay = FIRST_PAUSE
            await asyncio.sleep(delay)
            delay = min(delay * 2, LONGEST_PAUSE)

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        client = redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=3)
        async with client, client.pubsub() as channel:
            await channel.subscribe(CHANNEL)
            # Hints published while nobody listened are lost: let every page look again.
            self._deliver([(RESYNC, None)])
            not_before = 0.0
            while self._readers:
                self._deliver(await _gather(channel, not_before))
                not_before = loop.time() + max(PAUSE_SECONDS, PAUSE_EACH_SECONDS * len(self._readers))

    def _deliver(self, topics: Iterable[Topic]) -> None:
        """Give every reader what it may know of; readers with the same projects share the text."""
        said: dict[frozenset[int] | None, tuple[str, int]] = {}
        shown = [topic for topic in topics if not self._is_about_sight(topic[0])]
        for reader in self._readers if shown else ():
            projects = reader.projects
            if projects not in said:
                seen = [_frame(topic) for topic, of in shown if of is None or projects is None or of in projects]
                said[projects] = "".join(seen), len(seen)
            text, count = said[projects]
            if count:
                reader.put(text, count)

    def _is_about_sight(self, topic: str) -> bool:
        """Whether the message is for us alone; then the readers that it is about are in doubt."""
        if not topic.startswith(SIGHT):
            return False
        for reader in self._readers:
            if str(reader.person) == topic.removeprefix(SIGHT):
                reader.doubt()
        return True


async def _still_sees(reader: _Reader, look: Callable[[], Awaitable[Sight | None]]) -> bool:
    """Ask again which projects the reader sees. If these have changed, the hints waiting for it are dropped unread."""
    reader.doubtful = False
    try:
        seen = await look()
    except DatabaseError as error:
        # Nobody's access changes while Postgres is away: it is asked for again later.
        logger.warning("what a reader may see is not known now (%s)", type(error).__name__)
        return True
    if seen is not None and reader.projects is not None and seen != reader.projects:
        reader.projects = seen
        reader.begin_anew()
    return seen is not None


async def _gather(channel: Any, not_before: float) -> list[Topic]:
    """The next hints, each once: the first as soon as it comes, or all until the loop's time `not_before`.

    Empty when all is quiet. Raises TimeoutError when the server gives no sign of life.
    """
    loop, timeout = asyncio.get_running_loop(), PING_SECONDS
    topics: dict[Topic, None] = {}
    while True:
        message = await channel.get_message(ignore_subscribe_messages=True, timeout=timeout)
        if message is None and not topics:
            await channel.ping()
            message = await channel.get_message(ignore_subscribe_messages=True, timeout=PING_SECONDS)
            if message is None:
                raise TimeoutError
        if message is not None and (topic := _topic(message)) is not None:
            topics[topic] = None
        timeout = not_before - loop.time()
        if not topics or timeout <= 0:
            return list(topics)


def _topic(message: dict[str, Any]) -> Topic | None:
    """The topic of a message. None for a pong, and for a message that makes no sense."""
    if message["type"] != "message":
        return None
    try:
        topic, project = json.loads(message["data"])
    except (ValueError, TypeError):
        logger.warning("a hint makes no sense and is left out")
        return None
    return str(topic), project if isinstance(project, int) else None


def _frame(topic: str) -> str:
    return f"event: hint\ndata: {topic}\n\n"


_hubs: dict[int, HintHub] = {}


def hub() -> HintHub:
    """The hub of the running event loop."""
    loop = asyncio.get_running_loop()
    key = id(loop)
    if key not in _hubs:
        _hubs.clear()
        _hubs[key] = HintHub()
    return _hubs[key]

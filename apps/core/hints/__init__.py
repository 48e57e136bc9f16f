"""Hints: "deployment:42 has changed", published after commit; a page that shows it fetches it again.

A hint carries no data, so it may be lost or come twice, and permissions are checked by the fetch.

Nobody waits for Redis: a transaction's hints are handed over together when it commits, and a thread of the process
publishes them in one round trip. While Redis is away they wait there, each once, and when too many wait, they become
one that says to look at everything.
"""

import atexit
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable

import redis
from django.conf import settings
from django.db import transaction

from apps.core.process.redisclient import redis_client

logger = logging.getLogger(__name__)

# Published messages know no databases, unlike keys: two Flotillas on one server must not hear each other.
CHANNEL = f"flotilla:hints:{redis.Redis.from_url(settings.REDIS_URL).get_connection_kwargs().get('db') or 0}"
RESYNC = "resync"
# Before a person's primary key: for the streams alone, which never pass it on.
SIGHT = "sight:"
# A topic that changes faster is hinted this often (seconds), and never a last time missing.
PAUSE_SECONDS = 0.15
# The longest `every` that `publish` takes: so long it is known when a topic was published last.
MEMORY_SECONDS = 1.0
# Hints that may wait for a Redis that is away.
MOST_WAITING = 5_000
SOCKET_SECONDS = 2.0
# Between two tries while Redis is away: doubled each time, from the first to the longest.
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.25, 5.0
# How long the end of a process may wait for its last hints.
EXIT_SECONDS = 2.0

Topic = tuple[str, int | None]


def hint(topic: str, project_id: int | None = None) -> None:
    """Publish `topic` after commit. `project_id` limits it to who sees that project; None reaches everyone."""
    connection = transaction.get_connection()
    if not connection.in_atomic_block:
        publish([(topic, project_id)])
        return
    batch = next((hook for _, hook, _ in connection.run_on_commit if isinstance(hook, _Batch)), None)
    if batch is None:
        batch = _Batch()
        # A savepoint that is rolled back takes the batch with it if the batch was begun in it; the next hint begins
        # another. If not, its hints go out for nothing, which harms nobody.
        transaction.on_commit(batch, robust=True)
    batch.topics[topic, project_id] = None


def sight_changed(person_pk: int) -> None:
    """After commit, let the open pages of a person be asked again what they may see, and whether at all."""
    hint(f"{SIGHT}{person_pk}")


class _Batch:
    """The hints of one transaction, each topic once. Called after its commit."""

    def __init__(self) -> None:
        self.topics: dict[Topic, None] = {}

    def __call__(self) -> None:
        publish(self.topics)


def publish(topics: Iterable[Topic], *, every: float = PAUSE_SECONDS) -> None:
    """Publish soon, together, without waiting for it; a topic that was published within `every` seconds after them."""
    _sender.add(topics, every)


def flush(timeout: float = EXIT_SECONDS) -> bool:
    """Publish what waits without a pause; False when it took more than `timeout` seconds, or Redis is away."""
    return _sender.flush(timeout)


def connect() -> "redis.Redis":
    """The client by which hints are published."""
    return redis_client(SOCKET_SECONDS)


class Sender:
    """Topics that wait, each with the time when it is due, and the thread that publishes them."""

    def __init__(self, connect: Callable[[], "redis.Redis"] = connect) -> None:
        self._connect = connect
        self.reset()

    def reset(self) -> None:
        """Forget everything, also the thread, the lock and the connection: a forked process has none of them."""
        self._changed = threading.Condition()
        self._waiting: dict[Topic, float] = {}
        self._sent: dict[Topic, float] = {}
        self._thread: threading.Thread | None = None
        self._client: redis.Redis | None = None
        self._sending = False
        # Seconds until the next try; 0 while Redis answers.
        self._retry = 0.0

    def add(self, topics: Iterable[Topic], every: float = PAUSE_SECONDS) -> None:
        """Let topics wait for the thread, which is started when there is none."""
        now = time.monotonic()
        with self._changed:
            for topic in topics:
                due = max(now, self._sent.get(topic, 0.0) + every)
                self._waiting[topic] = min(due, self._waiting.get(topic, due))
            self._bound(now)
            if self._waiting and (self._thread is None or not self._thread.is_alive()):
                self._thread = threading.Thread(target=self._run, name="hints", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self, timeout: float) -> bool:
        """Make everything due and wait until it is published; not for a Redis that is known to be away."""
        with self._changed:
            self._waiting = dict.fromkeys(self._waiting, 0.0)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._retry or not (self._waiting or self._sending), timeout)
            return not (self._waiting or self._sending)

    def _bound(self, now: float) -> None:
        if len(self._waiting) > MOST_WAITING:
            self._waiting = {(RESYNC, None): now}

    def _run(self) -> None:
        while True:
            lot = self._take()
            try:
                self._send(lot)
            except (redis.RedisError, OSError) as error:
                self._put_back(lot, error)
            else:
                self._note_sent()

    def _take(self) -> list[Topic]:
        """The topics that are due. Waits until there is one."""
        with self._changed:
            while True:
                now = time.monotonic()
                lot = [topic for topic, due in self._waiting.items() if due <= now]
                if lot:
                    break
                self._changed.wait(min(self._waiting.values()) - now if self._waiting else None)
            self._sent = {topic: at for topic, at in self._sent.items() if at + MEMORY_SECONDS > now}
            for topic in lot:
                del self._waiting[topic]
                # Now and not when Redis has answered: a change in between waits for its turn, too.
                self._sent[topic] = now
            self._sending = True
            return lot

    def _send(self, lot: list[Topic]) -> None:
        if self._client is None:
            self._client = self._connect()
        pipeline = self._client.pipeline(transaction=False)
        for topic in lot:
            pipeline.publish(CHANNEL, json.dumps(topic))
        pipeline.execute()

    def _note_sent(self) -> None:
        with self._changed:
            if self._retry:
                logger.info("hints are published again")
            self._retry, self._sending = 0.0, False
            self._changed.notify_all()

    def _put_back(self, lot: list[Topic], error: Exception) -> None:
        """Keep what could not be published, and pause before the next try."""
        with self._changed:
            if not self._retry:
                logger.warning("hints not published (%s); they wait until Redis is back", type(error).__name__)
            self._retry = min(self._retry * 2 or FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS)
            self._sending = False
            self._waiting = dict.fromkeys(lot, 0.0) | self._waiting
            self._bound(0.0)
            self._changed.notify_all()
        time.sleep(self._retry)


_sender = Sender()
os.register_at_fork(after_in_child=lambda: _sender.reset())
atexit.register(flush)

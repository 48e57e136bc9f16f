"""Ringing: "something is due", told to the workers after the commit. It may be lost: they look by themselves, too.

A thread of its own sends it, so that a Redis that is away costs a request nothing. Each lane has a bell of its own:
threads that are rung look for a while, and what the fleet does in a stream is nothing to those who wait for people.
"""

import logging
import os
import threading
import time

from celery import current_app
from django.db import connection, transaction
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from apps.core.work.kinds import Lane

logger = logging.getLogger(__name__)

DRAIN = "work.drain"
# A ring that nobody took within so many seconds is of no use any more.
EXPIRES = 5
# So many seconds lie between two messages of one process. A worker that was rung looks for longer (`worker.AWAKE`).
BETWEEN = 0.5
# After a failure nothing is tried for so long: workers look by themselves as often as that.
PAUSE_AFTER_FAILURE = 1.0


class Bell:
    """Sends one message for any number of rings that come while the one before is being sent."""

    def __init__(self, lane: Lane = Lane.FLEET) -> None:
        self._lane = lane
        self.reset()

    def reset(self) -> None:
        """Begin anew: a forked process has neither the thread nor whoever held the lock."""
        self._rung = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def ring(self) -> None:
        """Return at once; the message follows."""
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="bell", daemon=True)
                self._thread.start()
        self._rung.set()

    def _run(self) -> None:
        while True:
            self._rung.wait()
            self._rung.clear()
            time.sleep(BETWEEN if _send(self._lane) else PAUSE_AFTER_FAILURE)


_bells = {lane: Bell(lane) for lane in Lane}
for _bell in _bells.values():
    os.register_at_fork(after_in_child=_bell.reset)


def ring_after_commit(lane: Lane = Lane.FLEET) -> None:
    """Tell the workers to look once the open transaction is committed, and once only; at once where none is open."""
    bell = _bells[lane]
    waiting = connection.run_on_commit if connection.in_atomic_block else []
    # Bound methods of one object are equal, not the same.
    if not any(hook[1] == bell.ring for hook in waiting):
        transaction.on_commit(bell.ring, robust=True)


def _send(lane: Lane) -> bool:
    try:
        current_app.send_task(DRAIN, args=[int(lane)], expires=EXPIRES, retry=False)
    except (OperationalError, RedisError, OSError) as error:
        logger.warning("no worker is rung (%s); they look by themselves", type(error).__name__)
        return False
    return True

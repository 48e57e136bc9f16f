"""Waking: send a task by its name once the transaction is committed.

A wake-up may be lost (Redis away, a worker killed): the minute sweep finds what it left, so failing to send is
logged and never fails the request.
"""

import logging

from celery import current_app
from django.db import transaction
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)


def wake(task: str, pk: int, *, countdown: float | None = None) -> None:
    """Ask for `task(pk)` after commit; `countdown` in seconds delays it (keep it well below a minute)."""
    transaction.on_commit(lambda: send(task, pk, countdown=countdown), robust=True)


def send(task: str, *args: int | str, countdown: float | None = None) -> bool:
    """Send at once; False, and a log line, when the broker can't be reached."""
    try:
        current_app.send_task(task, args=list(args), countdown=countdown, retry=False)
    except (OperationalError, RedisError, OSError) as error:
        logger.warning("wake-up %s%s not sent (%s); the sweep will find it", task, args, type(error).__name__)
        return False
    return True

"""Hints: "deployment:42 has changed", published after commit; who shows it fetches it again.

A hint carries no data, so it may be lost or come twice, and permissions are checked by the fetch.
"""

import functools
import json
import logging

import redis
from django.conf import settings
from django.db import transaction

logger = logging.getLogger(__name__)

# Published messages know no databases, unlike keys: two Flotillas on one server must not hear each other.
CHANNEL = f"flotilla:hints:{redis.Redis.from_url(settings.REDIS_URL).get_connection_kwargs().get('db') or 0}"


@functools.cache
def _client() -> "redis.Redis":
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=2)


def hint(topic: str, project_id: int | None = None) -> None:
    """Publish `topic` after commit. `project_id` limits it to who sees that project; None reaches everyone."""
    transaction.on_commit(lambda: publish([(topic, project_id)]), robust=True)


def publish(topics: list[tuple[str, int | None]]) -> None:
    """Publish at once, all in one round trip. A lost hint costs freshness only, so failure is a log line."""
    if not topics:
        return
    try:
        pipeline = _client().pipeline(transaction=False)
        for topic, project_id in topics:
            pipeline.publish(CHANNEL, json.dumps([topic, project_id]))
        pipeline.execute()
    except redis.RedisError as error:
        logger.warning("%d hints not published: %s", len(topics), type(error).__name__)

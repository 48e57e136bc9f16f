"""The one Redis, for callers that would rather go on without it than wait."""

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry


def redis_client(seconds: float) -> "redis.Redis":
    """A client that gives up after `seconds` and leaves trying again to its caller."""
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=seconds,
        socket_connect_timeout=seconds,
        retry=Retry(NoBackoff(), 0),
    )

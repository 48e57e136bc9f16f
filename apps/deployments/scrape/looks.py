"""The last looks at a deployment's replicas, in Redis for a while, so that whoever looks next has an earlier one.

Where Redis is away there is no earlier look: figures wait, nothing fails.
"""

import functools
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import redis

from apps.core.process.redisclient import redis_client
from apps.deployments.scrape.exposition import Sample
from apps.deployments.scrape.figures import Look

logger = logging.getLogger(__name__)

KEPT_SECONDS = 900
_REDIS_SECONDS = 0.5


@dataclass(frozen=True)
class Round:
    """One look at all replicas at about a time: what they said, and why some said nothing, by the pods' uids."""

    at: float
    looks: Mapping[str, Look]
    troubles: Mapping[str, str]


@functools.cache
def _client() -> "redis.Redis":
    return redis_client(_REDIS_SECONDS)


def _key(deployment: int) -> str:
    return f"flotilla:scrape:{deployment}"


def earlier(deployment: int) -> list[Round]:
    """What was kept, the oldest first."""
    try:
        kept = cast("list[bytes]", _client().lrange(_key(deployment), 0, -1))
    except redis.RedisError as error:
        logger.info("earlier looks at deployment %s can't be read: %s", deployment, error)
        return []
    return [_read(each) for each in reversed(kept)]


def keep(deployment: int, seen: Round, most: int) -> None:
    """Keep this beside what is there, `most` in all."""
    looks = {uid: [look.at, [_plain(each) for each in look.samples]] for uid, look in seen.looks.items()}
    key = _key(deployment)
    try:
        with _client().pipeline() as commands:
            commands.lpush(key, json.dumps([seen.at, looks, dict(seen.troubles)]))
            commands.ltrim(key, 0, most - 1)
            commands.expire(key, KEPT_SECONDS)
            commands.execute()
    except redis.RedisError as error:
        logger.info("looks at deployment %s can't be kept: %s", deployment, error)


def _plain(sample: Sample) -> tuple[str, dict[str, str], float]:
    return sample.name, dict(sample.labels), sample.value


def _read(text: bytes) -> Round:
    at, said, troubles = json.loads(text)
    looks = {uid: Look(when, tuple(Sample(*each) for each in samples)) for uid, (when, samples) in said.items()}
    return Round(at, looks, troubles)

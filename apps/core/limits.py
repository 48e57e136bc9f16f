"""Rate limits, counted in Redis so that they hold over all processes.

Each caller has a budget that refills evenly (the generic cell rate algorithm). A caller without budget is told in
how many seconds the next request fits: soon, and not at the end of a minute.

Without Redis nothing is limited, rather than everything refused; that is logged, and Redis is left alone for some
seconds, so that a Redis that is away costs a request nothing.
"""

import functools
import hashlib
import logging
import math
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import redis
from django.core.exceptions import ImproperlyConfigured

from apps.core.process.redisclient import redis_client

logger = logging.getLogger(__name__)

# A Redis that is near answers within a millisecond.
SOCKET_SECONDS = 0.25
# How long Redis is not asked again after it failed.
PAUSE_SECONDS = 5.0
# How long a process may spend what it took out of a budget, and of how many callers it keeps that.
PART_SECONDS, MOST_PARTS = 1.0, 10_000
_UNITS = {"s": 1, "min": 60, "h": 3600}
_RATE = re.compile(r"([1-9][0-9]{0,8})/(s|min|h)")
# `tat`: the time at which all that was taken so far has been paid for. KEYS: the caller; ARGV: seconds that one request
# costs, seconds that may be owed.
_TAKE = """
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
local tat = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now) + tonumber(ARGV[1])
local wait = tat - now - tonumber(ARGV[2])
if wait > 0 then return string.format('%.6f', wait) end
redis.call('SET', KEYS[1], string.format('%.6f', tat), 'PX', math.ceil((tat - now) * 1000) + 1)
return '0'
"""


@dataclass(frozen=True)
class Rate:
    """`count` requests in `seconds`; all of them may come at once."""

    count: int
    seconds: float

    @classmethod
    def parse(cls, text: str) -> "Rate":
        """Read `6000/min`; units are s, min and h. Raises ImproperlyConfigured."""
        match = _RATE.fullmatch(text.replace(" ", ""))
        if match is None:
            raise ImproperlyConfigured(f"{text!r} is no rate. Write such as 6000/min; units are s, min and h.")
        return cls(int(match[1]), _UNITS[match[2]])


# Five wrong passwords for a name from an address, then one every three minutes.
LOGIN = Rate(5, 15 * 60)


class Limits:
    """Budgets in one Redis. `now` is a clock in seconds that never goes back."""

    def __init__(self, connect: Callable[[], "redis.Redis"], now: Callable[[], float] = time.monotonic) -> None:
        self._connect, self._now = connect, now
        self._not_before = -math.inf
        # The budget that this process has taken and not spent: how many requests, and until when.
        self._parts: dict[str, tuple[int, float]] = {}
        self._lock = threading.Lock()

    @functools.cached_property
    def _redis(self) -> "redis.Redis":
        return self._connect()

    def take(self, key: str, rate: Rate) -> float:
        """Take one request out of the budget `key`; seconds to wait when it is used up, 0 when the request fits."""
        if self._now() < self._not_before:
            return 0.0
        if self._spend(key):
            return 0.0
        # Large budgets are taken in parts of a thousandth, so that not every request costs a round trip.
        part = max(1, rate.count // 1000)
        cost = part * rate.seconds / rate.count
        try:
            wait = float(self._take([_name(key)], [f"{cost:.9f}", f"{rate.seconds:.6f}"]))
        except redis.RedisError as error:
            self._fail(error)
            return 0.0
        if not wait and part > 1:
            self._keep(key, part - 1)
        return wait

    def _spend(self, key: str) -> bool:
        """Whether the request fits into what this process has taken already."""
        with self._lock:
            left, until = self._parts.get(key, (0, 0.0))
            if not left or self._now() > until:
                return False
            self._parts[key] = (left - 1, until)
            return True

    def _keep(self, key: str, left: int) -> None:
        with self._lock:
            if len(self._parts) >= MOST_PARTS:
                self._parts.clear()
            self._parts[key] = (left, self._now() + PART_SECONDS)

    def give_back(self, key: str) -> None:
        """Make the budget `key` whole again."""
        if self._now() < self._not_before:
            return
        try:
            self._redis.delete(_name(key))
        except redis.RedisError as error:
            self._fail(error)

    @functools.cached_property
    def _take(self) -> Callable[[list[str], list[str]], bytes]:
        return self._redis.register_script(_TAKE)

    def _fail(self, error: Exception) -> None:
        self._not_before = self._now() + PAUSE_SECONDS
        logger.warning("nothing is limited for %.0f s: Redis can't be asked (%s)", PAUSE_SECONDS, type(error).__name__)


def _name(key: str) -> str:
    # Names of people and addresses need not lie in Redis in the clear.
    return f"limit:{hashlib.blake2b(key.encode(), digest_size=16).hexdigest()}"


def _connected() -> "redis.Redis":
    return redis_client(SOCKET_SECONDS)


LIMITS = Limits(_connected)


def login_key(username: str, address: str | None) -> str:
    """The budget of wrong passwords: of a name and an address, so that nobody locks out somebody elsewhere."""
    return f"login\n{username.strip().casefold()}\n{address}"


def whole(seconds: float) -> int:
    """Seconds as `Retry-After` takes them: at least 1, and never too few."""
    return max(1, math.ceil(seconds))

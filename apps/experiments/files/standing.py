"""Whether the store of artifacts can be used, as a web process last saw it: told by `/readyz` and the log."""

import logging
import time

from apps.core.errors import FlotillaError
from apps.experiments.files import stores

logger = logging.getLogger(__name__)
LOOK_SECONDS = 60.0


class _Seen:
    """The last look of this process."""

    problem = ""
    at = float("-inf")


def look_when_due() -> None:
    """Ask the store, once a minute. What changes is logged."""
    if time.monotonic() - _Seen.at < LOOK_SECONDS:
        return
    problem = problem_now()
    if problem != _Seen.problem:
        logger.warning("%s", problem or "The artifact store can be used again.")
    _Seen.problem, _Seen.at = problem, time.monotonic()


def last_seen() -> str:
    """Why the store could not be used when this process last looked; "" where it could, or nobody has looked yet."""
    return _Seen.problem


def problem_now() -> str:
    """The same, asked now."""
    try:
        return stores.current().problem()
    except FlotillaError as error:
        return error.sentence

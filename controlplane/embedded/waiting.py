"""Waiting for a condition, never for a time."""

import time
from collections.abc import Callable

from controlplane.embedded.errors import EmbeddedError


def wait_for(condition: Callable[[], bool], what: str, *, timeout: float = 30.0, interval: float = 0.02) -> None:
    """Return once `condition()` holds. Raises EmbeddedError that names `what` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise EmbeddedError(f"Waited {timeout:.0f} s for {what}.")
        time.sleep(interval)

"""Waiting for a condition, never for a time."""

import http.client
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


def says_ready(connection: http.client.HTTPConnection) -> bool:
    """Whether /readyz answers 200 by this connection, which is closed then."""
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()

"""Liveness of processes that listen on no port: each touches FLOTILLA_HEARTBEAT_FILE as long as its loop turns.

`controlplane.healthcheck` looks at the file's age. Without the variable nothing is written.
"""

import asyncio
import os
import time
from pathlib import Path

PERIOD_S = 2.0


def heartbeat_file() -> Path | None:
    """The file to touch, or None when nobody looks at it."""
    name = os.environ.get("FLOTILLA_HEARTBEAT_FILE")
    return Path(name) if name else None


class Heartbeat:
    """For a loop on a thread, which tells each of its turns: the file is touched every `PERIOD_S` seconds at most."""

    def __init__(self) -> None:
        self._file = heartbeat_file()
        self._due = time.monotonic()

    def turn(self) -> None:
        """The loop turns."""
        if self._file is not None and time.monotonic() >= self._due:
            self._file.touch()
            self._due = time.monotonic() + PERIOD_S


async def beat(period_s: float = PERIOD_S) -> None:
    """Touch the file for ever, for processes with an asyncio loop. Ends at once when nobody looks at it."""
    file = heartbeat_file()
    while file is not None:
        file.touch()
        await asyncio.sleep(period_s)

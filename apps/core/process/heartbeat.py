"""Liveness of processes that listen on no port: each touches FLOTILLA_HEARTBEAT_FILE as long as its loop turns.

`controlplane.healthcheck` looks at the file's age. Without the variable nothing is written.
"""

import asyncio
import os
from pathlib import Path
from typing import Any

from celery import bootsteps

PERIOD_S = 10.0


def heartbeat_file() -> Path | None:
    """The file to touch, or None when nobody looks at it."""
    name = os.environ.get("FLOTILLA_HEARTBEAT_FILE")
    return Path(name) if name else None


class WorkerHeartbeat(bootsteps.StartStopStep):
    """A timer in the worker's own loop, which is the one that could hang."""

    requires = ("celery.worker.components:Timer",)

    def __init__(self, worker: Any, **kwargs: Any) -> None:
        super().__init__(worker, **kwargs)
        self._timer: Any = None

    def start(self, worker: Any) -> None:
        """Touch the file now and every `PERIOD_S` seconds."""
        if file := heartbeat_file():
            file.touch()
            self._timer = worker.timer.call_repeatedly(PERIOD_S, file.touch)

    def stop(self, worker: Any) -> None:
        """No more."""
        if self._timer is not None:
            self._timer.cancel()


async def beat(period_s: float = PERIOD_S) -> None:
    """Touch the file for ever, for processes with an asyncio loop. Ends at once when nobody looks at it."""
    file = heartbeat_file()
    while file is not None:
        file.touch()
        await asyncio.sleep(period_s)

"""A watcher on a thread of the test's own process, with short intervals."""

import asyncio
import threading

from apps.clusters.watcher.supervisor import Supervisor
from apps.clusters.watcher.timing import Timing

FAST = Timing(
    poll=0.1, lease=3.0, renew=0.5, probe=0.2, probe_failed=0.1, probe_limit=0.5, metrics=0.3, batch=0.02,
    watch=30, grace=5.0, page_limit=2.0, backoff_first=0.05, backoff_most=0.3, touch=0.2, record=1.0, missing=0.5,
    opinion=0.4, handshake=0.3, defect=0.5,
)  # fmt: skip


class Watching:
    """A supervisor on a thread of its own."""

    def __init__(self, timing: Timing = FAST) -> None:
        self._timing = timing
        self._loop = asyncio.new_event_loop()
        self._stop: asyncio.Event | None = None
        self._task: asyncio.Task[None] | None = None
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        async def main() -> None:
            self._stop = asyncio.Event()
            self._task = asyncio.create_task(Supervisor(timing=self._timing).run(self._stop))
            await self._task

        try:
            self._loop.run_until_complete(main())
        except BaseException as error:  # noqa: BLE001 - shown by stop()
            self.error = error

    def stop(self) -> None:
        if self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(15)
        assert not self._thread.is_alive(), "the watcher did not stop"
        assert self.error is None, repr(self.error)

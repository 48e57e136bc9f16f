"""How many threads of this process may wait for one cluster's logs at a time: a slow cluster must not take them all."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore, Lock

from apps.core.errors import Unavailable

LOOKS = 16
# A download holds up to a hundred MB while it is put together.
DOWNLOADS = 2
LOOK_SECONDS, DOWNLOAD_SECONDS = 2.0, 10.0

_lock = Lock()
_looks: dict[int, BoundedSemaphore] = defaultdict(lambda: BoundedSemaphore(LOOKS))
_downloads = BoundedSemaphore(DOWNLOADS)


@contextmanager
def turn(cluster: int, *, download: bool = False) -> Iterator[None]:
    """Wait for a turn to ask the cluster with this primary key. Raises Unavailable when none comes soon."""
    with _lock:
        turns = _downloads if download else _looks[cluster]
    if not turns.acquire(timeout=DOWNLOAD_SECONDS if download else LOOK_SECONDS):
        what = "Other logs are being downloaded" if download else "Many read logs of this cluster"
        raise Unavailable(f"{what} just now; try again in a moment")
    try:
        yield
    finally:
        turns.release()

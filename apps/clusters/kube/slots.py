"""How many threads of this process may wait for one cluster at a time: a slow cluster must not take them all."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore, Lock

from apps.core.database import connections
from apps.core.errors import Unavailable

LOOKS = 16
PREDICTIONS = 24
# A download holds up to a hundred MB while it is put together.
DOWNLOADS = 2
# A look at the logs of many replicas holds up to 12 MB.
TOGETHER = 4
LOOK_SECONDS, DOWNLOAD_SECONDS = 2.0, 10.0

_lock = Lock()
_looks: dict[int, BoundedSemaphore] = defaultdict(lambda: BoundedSemaphore(LOOKS))
_predictions: dict[int, BoundedSemaphore] = defaultdict(lambda: BoundedSemaphore(PREDICTIONS))
_downloads = BoundedSemaphore(DOWNLOADS)
_together = BoundedSemaphore(TOGETHER)


@contextmanager
def turn(cluster: int, *, download: bool = False) -> Iterator[None]:
    """Wait for a turn to ask the cluster with this primary key for a log. Raises Unavailable when none comes soon."""
    with _lock:
        turns = _downloads if download else _looks[cluster]
    complaint = "Other logs are being downloaded" if download else "Many read logs of this cluster"
    with _turn(turns, DOWNLOAD_SECONDS if download else LOOK_SECONDS, complaint):
        yield


@contextmanager
def together() -> Iterator[None]:
    """Wait for a turn to ask for the logs of many replicas at once. Raises Unavailable when none comes soon."""
    with _turn(_together, LOOK_SECONDS, "Many read logs of many replicas"):
        yield


@contextmanager
def prediction(cluster: int) -> Iterator[None]:
    """Wait for a turn to ask a replica on this cluster. Raises Unavailable when none comes soon."""
    with _lock:
        turns = _predictions[cluster]
    with _turn(turns, LOOK_SECONDS, "Many ask models of this cluster"):
        yield


@contextmanager
def _turn(turns: BoundedSemaphore, seconds: float, complaint: str) -> Iterator[None]:
    connections.let_go()
    if not turns.acquire(timeout=seconds):
        raise Unavailable(f"{complaint} just now; try again in a moment")
    try:
        yield
    finally:
        turns.release()

"""One client per (cluster, generation) and process: a TLS handshake costs more than most requests."""

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from apps.clusters.kube.client import KubeClient

MAX_CLIENTS = 128
# A client dials the address that was checked when it was made; a new one, now and then, follows a name that moves.
MAX_AGE_SECONDS = 300.0

_clients: "OrderedDict[tuple[int, int], tuple[KubeClient, float]]" = OrderedDict()
_lock = threading.Lock()


def pooled(pk: int, generation: int, make: Callable[[], KubeClient]) -> KubeClient:
    """The client of this cluster and generation, made by `make` at the first call."""
    key, now = (pk, generation), time.monotonic()
    with _lock:
        known = _clients.get(key)
        if known is not None and now - known[1] < MAX_AGE_SECONDS:
            _clients.move_to_end(key)
            return known[0]
    client = make()
    with _lock:
        newer = _clients.get(key)
        if newer is not None and newer[1] >= now:
            # Another thread made one meanwhile.
            return newer[0]
        _clients[key] = (client, time.monotonic())
        for old in [other for other in _clients if other[0] == pk and other[1] < generation]:
            _clients.pop(old)
        while len(_clients) > MAX_CLIENTS:
            _clients.popitem(last=False)
    return client


def forget(pk: int) -> None:
    """Drop a cluster's clients, so that the next call resolves its address again."""
    with _lock:
        for key in [key for key in _clients if key[0] == pk]:
            _clients.pop(key)


def _forget_all() -> None:
    global _lock
    _lock = threading.Lock()
    _clients.clear()


# A forked child must not share its parent's TLS connections: both would write to one stream.
os.register_at_fork(after_in_child=_forget_all)

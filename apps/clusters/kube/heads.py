"""Bounds the head of an answer: a read limit starts anew with each byte, and headers may drip in for ever.

The standard library reads a head line by line, and gives no way in between; so the connection is cut from outside, by
one thread that looks after all of a process.
"""

import contextlib
import os
import socket
import threading
import time
from typing import Any

from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPSConnectionPool

# From the request's last byte to the head's, in seconds. Each read of it is bounded by the caller's own limit, too.
HEAD_SECONDS = 20.0
# The pause between two looks for late heads.
LOOK_SECONDS = 0.5


class Guard:
    """Cuts the connections whose answer is late."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew: a forked process has none of the threads."""
        self._waiting: dict[BoundedConnection, float] = {}
        self._filled = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def begin(self, connection: "BoundedConnection") -> None:
        """The connection waits for an answer."""
        self._waiting[connection] = time.monotonic() + HEAD_SECONDS
        if not self._filled.is_set():
            with self._lock:
                if self._thread is None or not self._thread.is_alive():
                    self._thread = threading.Thread(target=self._run, name="heads", daemon=True)
                    self._thread.start()
            self._filled.set()

    def end(self, connection: "BoundedConnection") -> bool:
        """The connection no longer waits. Returns whether it was cut."""
        return self._waiting.pop(connection, None) is None

    def _run(self) -> None:
        while True:
            self._filled.wait()
            time.sleep(LOOK_SECONDS)
            now = time.monotonic()
            for connection, end in list(self._waiting.items()):
                if end <= now and self._waiting.pop(connection, None) is not None:
                    connection.cut()
            if not self._waiting:
                self._filled.clear()
                # A thread that came between the two lines finds the flag as it was, and must not wait for the next one.
                if self._waiting:
                    self._filled.set()


_guard = Guard()
os.register_at_fork(after_in_child=_guard.reset)


class BoundedConnection(HTTPSConnection):
    """A connection that is cut when the head of an answer is not there in time."""

    def getresponse(self) -> Any:
        """The answer, its body unread. Raises TimeoutError when its head took too long."""
        _guard.begin(self)
        try:
            answer = super().getresponse()
        finally:
            late = _guard.end(self)
        if late:
            # To the library the end of the connection is the end of the headers, and of an empty body.
            raise TimeoutError("the head of the answer did not come in time")
        return answer

    def cut(self) -> None:
        """Cut the connection: a thread that reads from it fails."""
        if self.sock is not None:
            with contextlib.suppress(OSError):  # it is closed already
                self.sock.shutdown(socket.SHUT_RDWR)


class BoundedPool(HTTPSConnectionPool):
    """Connections of that kind."""

    ConnectionCls = BoundedConnection

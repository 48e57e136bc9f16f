"""Bounds the head of an answer: a read limit starts anew with each byte, and headers may drip in for ever.

The standard library reads a head line by line, and gives no way in between; so the connection is cut from outside.
"""

import contextlib
import socket
import threading
from typing import Any

from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPSConnectionPool

# From the request's last byte to the head's, in seconds. Each read of it is bounded by the caller's own limit, too.
HEAD_SECONDS = 20.0


class BoundedConnection(HTTPSConnection):
    """Cuts itself when the head of an answer is not there in time; the read then fails as on any broken connection."""

    def getresponse(self) -> Any:
        """The answer, its body unread. Raises TimeoutError when its head took too long."""
        late = threading.Event()
        watch = threading.Timer(HEAD_SECONDS, self._cut, [late])
        watch.daemon = True
        watch.start()
        try:
            answer = super().getresponse()
        finally:
            watch.cancel()
        if late.is_set():
            # To the library the end of the connection is the end of the headers, and of an empty body.
            raise TimeoutError("the head of the answer did not come in time")
        return answer

    def _cut(self, late: threading.Event) -> None:
        late.set()
        if self.sock is not None:
            with contextlib.suppress(OSError):  # it is closed already
                self.sock.shutdown(socket.SHUT_RDWR)


class BoundedPool(HTTPSConnectionPool):
    """Connections of that kind."""

    ConnectionCls = BoundedConnection

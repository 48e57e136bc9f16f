"""Requests over plain sockets that stay open: a client that costs next to nothing beside what it measures."""

import socket
import threading
import time
from dataclasses import dataclass, field

HOST = "127.0.0.1"
TIMEOUT_S = 20.0
LENGTH = b"content-length:"
END_OF_CHUNKS = b"0\r\n\r\n"


@dataclass(frozen=True)
class Ask:
    """One request, to be sent again and again."""

    path: str
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def encoded(self) -> bytes:
        """The bytes that go over the wire."""
        lines = [f"{self.method} {self.path} HTTP/1.1", f"Host: {HOST}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.method != "GET":
            lines += ["Content-Type: application/json", f"Content-Length: {len(self.body)}"]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


class Line:
    """A connection that is kept."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection((HOST, port), timeout=TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, sent: bytes) -> int:
        """Send a request and read its whole answer; returns the status."""
        self._socket.sendall(sent)
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._more()
        head, _, rest = received.partition(b"\r\n\r\n")
        lengths = [int(line[len(LENGTH) :]) for line in head.lower().split(b"\r\n") if line.startswith(LENGTH)]
        if lengths:
            left = lengths[0] - len(rest)
            while left > 0:
                left -= len(self._more())
        else:
            while not rest.endswith(END_OF_CHUNKS):
                rest += self._more()
        return int(head[9:12])

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _more(self) -> bytes:
        chunk = self._socket.recv(65536)
        if not chunk:
            raise ConnectionError("the web process hung up")
        return chunk


def in_turns(first: Line, second: Line, asks: tuple[bytes, bytes], rounds: int) -> tuple[list[float], list[float]]:
    """Milliseconds of each request, sent to one and the other by turns so that the machine's moods hit both."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for line, sent, kept in zip((first, second), asks, times, strict=True):
            started = time.perf_counter()
            status = line.ask(sent)
            kept.append((time.perf_counter() - started) * 1000)
            if status != 200:
                raise AssertionError(f"answered {status}: {sent[:200]!r}")
    return times


def rate(port: int, sent: bytes, *, clients: int, seconds: float) -> float:
    """Requests a second that `clients` connections together get answered."""
    counts = [0] * clients
    stop = time.perf_counter() + seconds

    def work(number: int) -> None:
        line = Line(port)
        while time.perf_counter() < stop:
            line.ask(sent)
            counts[number] += 1
        line.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds

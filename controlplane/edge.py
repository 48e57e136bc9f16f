"""The door of a web process: `/events` stays in the event loop, every other request is one call on one thread.

Django is run as plain WSGI, synchronous from end to end: a request changes threads once on its way in and once on its
way out, whatever middlewares it meets. There are four lanes, each with threads of its own, so that what waits for
slow clusters or slow senders waits in its own lane: requests, questions to clusters, large files, and whether the
process lives, which is asked while all the others wait for a Postgres that hangs, say. Small bodies are
read before a thread is taken, so that a slow sender holds none; a large file is read by its view as it comes, and a
long answer is sent as it is read: neither is ever held whole.

A few calls, which come by the thousand, don't go through Django at all (`short`): one function on the same threads.
"""

import asyncio
import contextvars
import io
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from django.db import close_old_connections

from controlplane.bodylimit import App, Receive, Scope, Send, TooLargeError

EVENTS = "/events"
LIVENESS = "/healthz"
# At most so much of an answer is read at once. A shorter one needs no second turn on a thread.
PART_BYTES = 256 * 1024
# A file of which nothing comes for so long is given up, and with it the thread that waits for it.
SILENCE_SECONDS = 60.0
# Threads that receive large files: people who upload slowly hold up each other, and nobody else.
FILE_THREADS = 16
# The doors that ask a cluster while somebody waits: logs, predictions, connection tests. The pages never do.
ASKS_A_CLUSTER = re.compile(r"/(logs?|predict|preview|example|test)/?\Z")
CLUSTER_THREADS = 48

Environ = dict[str, Any]
Short = Callable[[Scope, bytes], "tuple[int, dict[str, str], bytes] | None"]
"""Answers a request by itself: status, headers, body. None leaves it to Django."""
Wsgi = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


@dataclass
class Answer:
    """The application's answer. `rest` gives the unread rest of a long one; None when `body` is all of it."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    rest: "Iterator[bytes] | None"
    close: Callable[[], None]


class Edge:
    """An ASGI application out of one for streams and a WSGI one for all the rest, on `threads` threads.

    A body of up to `gathered` bytes is read before the application is called, a longer one by the application itself.
    `short` has the requests that others than Django answer, by method and path.
    """

    def __init__(
        self,
        streams: App,
        rest: Wsgi,
        *,
        threads: int,
        gathered: int,
        short: Mapping[tuple[str, str], Short] | None = None,
    ) -> None:
        self._streams, self._rest, self._short = streams, rest, short or {}
        self._gathered = gathered
        self._requests = ThreadPoolExecutor(threads, "request")
        self._clusters = ThreadPoolExecutor(CLUSTER_THREADS, "cluster")
        self._files = ThreadPoolExecutor(FILE_THREADS, "file")
        self._liveness = ThreadPoolExecutor(1, "liveness")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Raises TooLargeError when more bytes came than `BodyLimit` allows."""
        if scope["type"] != "http" or scope["path"] == EVENTS:
            await self._streams(scope, receive, send)
            return
        loop = asyncio.get_running_loop()
        body, state = await _gather(receive, self._gathered)
        if state is _GONE:
            return
        short = self._short.get((scope["method"], scope["path"]))
        if state is _WHOLE and short is not None:
            answer = await loop.run_in_executor(self._requests, self._call_short, short, scope, body)
        elif state is _WHOLE:
            environ = environ_of(scope, io.BytesIO(body), len(body))
            answer = await loop.run_in_executor(self._lane(scope["path"]), _in_own_context, self._call, environ)
        else:
            incoming = Incoming(body, receive, loop)
            # Chunks don't say their length. The reader ends by itself, so any number that is not less will do.
            length = int(dict(scope["headers"]).get(b"content-length", sys.maxsize))
            environ = environ_of(scope, io.BufferedReader(incoming, PART_BYTES), length)
            answer = await loop.run_in_executor(self._files, _in_own_context, self._call, environ)
            if incoming.too_large:
                await loop.run_in_executor(None, answer.close)
                raise TooLargeError
        await _send(answer, receive, send)

    def _lane(self, path: str) -> ThreadPoolExecutor:
        if path == LIVENESS:
            return self._liveness
        return self._clusters if ASKS_A_CLUSTER.search(path) else self._requests

    def _call_short(self, short: Short, scope: Scope, body: bytes) -> Answer:
        """Runs on a thread: what answers without Django, else Django."""
        try:
            said = short(scope, body)
        finally:
            close_old_connections()
        if said is None:
            return _in_own_context(self._call, environ_of(scope, io.BytesIO(body), len(body)))
        status, headers, content = said
        encoded = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        encoded.append((b"content-length", str(len(content)).encode()))
        return Answer(status, encoded, content, None, lambda: None)

    def _call(self, environ: Environ) -> Answer:
        """Runs on a thread: the application, and the first part of its answer."""
        said: list[tuple[int, list[tuple[bytes, bytes]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
            encoded = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
            said.append((int(status[:3]), encoded))

        chunks = self._rest(environ, start_response)
        close: Callable[[], None] = getattr(chunks, "close", lambda: None)
        is_head = environ["REQUEST_METHOD"] == "HEAD"
        try:
            rest = iter(chunks)
            # A HEAD gets no body: of what tells its length itself nothing is read, of the rest no more than a part.
            body, more = (b"", False) if is_head and said and _tells_length(said[-1][1]) else read_part(rest)
        except BaseException:
            close()
            raise
        status, headers = said[-1]
        if more and not is_head:
            # Whichever thread sends the rest, this one's database connection goes back to the pool now.
            close_old_connections()
            return Answer(status, headers, body, rest, close)
        close()
        if status >= 200 and status not in (204, 304) and not more and not _tells_length(headers):
            headers.append((b"content-length", str(len(body)).encode()))
        return Answer(status, headers, b"" if is_head else body, None, lambda: None)


def _tells_length(headers: list[tuple[bytes, bytes]]) -> bool:
    return any(name == b"content-length" for name, _ in headers)


class Incoming(io.RawIOBase):
    """A request's body as a file for the thread that reads it: `first`, then what comes from the event loop.

    Reading raises OSError when the client is gone, silent for too long, or sends more than it may.
    """

    def __init__(self, first: bytes, receive: Receive, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._ready = memoryview(first)
        self._receive, self._loop = receive, loop
        self._more = True
        self.too_large = False

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a part of `buffer`; 0 at the end."""
        while not self._ready and self._more:
            self._ready = memoryview(self._fetch())
        size = min(len(self._ready), len(buffer))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def _fetch(self) -> bytes:
        asked = asyncio.run_coroutine_threadsafe(self._receive_part(), self._loop)
        try:
            return asked.result(SILENCE_SECONDS)
        except TimeoutError as error:
            asked.cancel()
            raise OSError(f"Nothing came for {SILENCE_SECONDS:.0f} s.") from error
        except TooLargeError as error:
            self.too_large = True
            raise OSError("The body is larger than it may be.") from error

    async def _receive_part(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ConnectionResetError("The client is gone.")
        self._more = bool(message.get("more_body"))
        return bytes(message.get("body", b""))


def environ_of(scope: Scope, body: Any, length: int) -> Environ:
    """The WSGI environment (PEP 3333) of an ASGI request. `length` stands for the body's, in bytes.

    Headers with an underscore are left out: in an environment they would pass for those with a hyphen, which a proxy
    may have set or removed.
    """
    path = scope.get("raw_path") or scope["path"].encode()
    host, port = scope.get("server") or ("localhost", None)
    environ: Environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": host,
        "SERVER_PORT": str(port or 0),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": (scope.get("client") or ("", 0))[0],
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "wsgi.input": body,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in scope["headers"]:
        if b"_" in name:
            continue
        key = name.decode("latin-1").upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        text = value.decode("latin-1")
        if key in environ:
            text = f"{environ[key]}{'; ' if key == 'HTTP_COOKIE' else ','}{text}"
        environ[key] = text
    environ["CONTENT_LENGTH"] = str(length)
    return environ


def read_part(chunks: Iterator[bytes]) -> tuple[bytes, bool]:
    """(the next `PART_BYTES` or a little more, whether there may be more)."""
    kept: list[bytes] = []
    size = 0
    for chunk in chunks:
        kept.append(chunk)
        size += len(chunk)
        if size >= PART_BYTES:
            return b"".join(kept), True
    return b"".join(kept), False


# How reading a body ended: all of it is here, there is more than may be gathered, or the client left.
_WHOLE, _LONG, _GONE = "whole", "long", "gone"


async def _gather(receive: Receive, limit: int) -> tuple[bytes, str]:
    parts: list[bytes] = []
    size = 0
    while size <= limit:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b"", _GONE
        part = message.get("body", b"")
        if not message.get("more_body"):
            return (b"".join([*parts, part]) if parts else part), _WHOLE
        parts.append(part)
        size += len(part)
    return b"".join(parts), _LONG


def _in_own_context(call: Callable[[Environ], Answer], environ: Environ) -> Answer:
    """Answer in a new context: values left in context variables (the log's request id, say) end with the request."""
    return contextvars.Context().run(call, environ)


async def _send(answer: Answer, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
    if answer.rest is None:
        await send({"type": "http.response.body", "body": answer.body})
        return
    loop = asyncio.get_running_loop()
    left = asyncio.ensure_future(_until_gone(receive))
    try:
        body, more = answer.body, True
        while more and not left.done():
            await send({"type": "http.response.body", "body": body, "more_body": True})
            body, more = await loop.run_in_executor(None, read_part, answer.rest)
        if not more:
            await send({"type": "http.response.body", "body": body})
    finally:
        left.cancel()
        await loop.run_in_executor(None, answer.close)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue

"""The door of the web process: one thread a request, bodies and answers that are never held whole, clients that go."""

import asyncio
import io
import json
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

import pytest

from controlplane import edge
from controlplane.bodylimit import BodyLimit, Message, Receive, Scope, Send
from controlplane.edge import Edge, environ_of

FILE = "/api/2.0/mlflow-artifacts/artifacts/1/run/artifacts/model.pkl"
TOKEN = [(b"authorization", b"Bearer flt_x")]
Environ = dict[str, Any]


class Wire:
    """The server's side of one connection: what the client sends, as it is let out, and what it got."""

    def __init__(self, *parts: bytes, whole: bool = True) -> None:
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self.got: list[Message] = []
        for part in parts:
            self.send_part(part)
        if whole:
            self.send_part(b"", more=False)

    def send_part(self, part: bytes, *, more: bool = True) -> None:
        self._messages.put_nowait({"type": "http.request", "body": part, "more_body": more})

    def leave(self) -> None:
        self._messages.put_nowait({"type": "http.disconnect"})

    async def receive(self) -> Message:
        return await self._messages.get()

    async def send(self, message: Message) -> None:
        self.got.append(message)

    @property
    def status(self) -> int:
        return int(self.got[0]["status"])

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.got[1:])


def scope(path: str = "/", headers: list[tuple[bytes, bytes]] | None = None, **other: Any) -> Scope:
    return {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "http_version": "1.1",
        "headers": headers or [],
        **other,
    }


async def no_streams(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 299, "headers": []})


def served(app: Callable[..., Iterable[bytes]], *, threads: int = 2, gathered: int = 10) -> Edge:
    return Edge(no_streams, app, threads=threads, gathered=gathered)


def echo(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("X-Said", "yes")])
    return [environ["wsgi.input"].read()]


def run(work: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(work(), 20))


def test_a_request_is_answered_whole() -> None:
    async def work() -> None:
        wire = Wire(b"abc", b"def")
        await served(echo)(scope(), wire.receive, wire.send)
        assert (wire.status, wire.body) == (200, b"abcdef")
        assert wire.got[0]["headers"] == [(b"x-said", b"yes"), (b"content-length", b"6")]

    run(work)


def test_only_the_stream_stays_in_the_loop() -> None:
    async def work() -> None:
        for path, status in {"/events": 299, "/events/": 200, "/": 200}.items():
            wire = Wire(b"")
            await served(echo)(scope(path), wire.receive, wire.send)
            assert wire.status == status, path

    run(work)


def test_who_sends_slowly_takes_no_thread() -> None:
    async def work() -> None:
        door, slow, quick = served(echo, threads=1), Wire(b"ab", whole=False), Wire(b"x")
        waiting = asyncio.create_task(door(scope(), slow.receive, slow.send))
        await door(scope(), quick.receive, quick.send)
        assert quick.body == b"x"
        slow.send_part(b"c", more=False)
        await waiting
        assert slow.body == b"abc"

    run(work)


def test_a_long_body_is_read_as_it_comes() -> None:
    begun = threading.Event()

    def app(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        first = environ["wsgi.input"].read1(4)
        begun.set()
        start_response("200 OK", [])
        return [first, environ["wsgi.input"].read()]

    async def work() -> None:
        wire = Wire(b"0123456789", b"abcdef", whole=False)
        asked = asyncio.create_task(served(app)(scope(FILE, TOKEN), wire.receive, wire.send))
        assert await asyncio.to_thread(begun.wait, 10), "the view waits for the end of the body"
        wire.send_part(b"end", more=False)
        await asked
        assert wire.body == b"0123456789abcdefend"

    run(work)


def test_uploads_leave_the_other_threads_alone() -> None:
    async def work() -> None:
        door, quick = served(echo, threads=1), Wire(b"x")
        uploads = [Wire(b"0123456789+", whole=False) for _ in range(edge.FILE_THREADS + 1)]
        waiting = [asyncio.create_task(door(scope(FILE, TOKEN), wire.receive, wire.send)) for wire in uploads]
        await door(scope(), quick.receive, quick.send)
        assert quick.body == b"x"
        for wire in uploads:
            wire.send_part(b"", more=False)
        await asyncio.gather(*waiting)
        assert {wire.body for wire in uploads} == {b"0123456789+"}

    run(work)


def test_who_waits_for_a_cluster_leaves_the_other_threads_alone() -> None:
    answered = threading.Event()

    def app(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/":
            assert answered.wait(10)
        return echo(environ, start_response)

    async def work() -> None:
        door, quick = served(app, threads=1), Wire(b"x")
        paths = (
            "/api/v1/deployments/digits/predict",
            "/p/demo/deployments/digits/predict",
            "/p/demo/runs/1/log",
            "/clusters/local/pods/demo/serve-1/log/",
            f"/api/v1/runs/{'0' * 32}/logs",
            "/api/v1/clusters/local/test",
            "/admin/clusters/cluster/1/test/",
        )
        slow = {path: Wire(b"y") for path in paths}
        waiting = [asyncio.create_task(door(scope(path), wire.receive, wire.send)) for path, wire in slow.items()]
        await door(scope(), quick.receive, quick.send)
        assert quick.body == b"x"
        answered.set()
        await asyncio.gather(*waiting)
        assert {wire.body for wire in slow.values()} == {b"y"}

    run(work)


def test_who_asks_whether_the_process_lives_waits_for_nobody() -> None:
    answered = threading.Event()

    def app(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/healthz":
            assert answered.wait(10)
        return echo(environ, start_response)

    async def work() -> None:
        door, probe = served(app, threads=1), Wire(b"x")
        pages = [Wire(b"y") for _ in range(3)]
        waiting = [asyncio.create_task(door(scope("/p/demo/"), wire.receive, wire.send)) for wire in pages]
        await door(scope("/healthz"), probe.receive, probe.send)
        assert probe.body == b"x"
        answered.set()
        await asyncio.gather(*waiting)

    run(work)


def reports(seen: list[str]) -> Callable[..., Iterable[bytes]]:
    """An application that says what reading the body came to."""

    def app(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        try:
            environ["wsgi.input"].read()
        except OSError as error:
            seen.append(str(error))
        start_response("500 Oh", [])
        return [b"oh"]

    return app


def test_a_view_learns_that_its_sender_left() -> None:
    async def work() -> None:
        seen: list[str] = []
        wire = Wire(b"0123456789+", whole=False)
        wire.leave()
        await served(reports(seen))(scope(FILE, TOKEN), wire.receive, wire.send)
        assert seen == ["The client is gone."]

    run(work)


def test_a_view_learns_that_its_sender_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "SILENCE_SECONDS", 0.05)

    async def work() -> None:
        seen: list[str] = []
        wire = Wire(b"0123456789+", whole=False)
        await served(reports(seen))(scope(FILE, TOKEN), wire.receive, wire.send)
        assert seen == ["Nothing came for 0 s."]

    run(work)


def test_a_file_that_turns_out_too_large_is_413_whatever_the_view_makes_of_it() -> None:
    async def work() -> None:
        seen: list[str] = []
        wire = Wire(b"0123456789+", b"x" * 100)
        limited = BodyLimit(served(reports(seen)), usual=10, largest=50)
        await limited(scope(FILE, TOKEN), wire.receive, wire.send)
        assert (wire.status, json.loads(wire.body)["status"]) == (413, 413)
        assert seen == ["The body is larger than it may be."]

    run(work)


class Long:
    """An answer of parts, which counts those that were read."""

    def __init__(self, parts: int, headers: list[tuple[str, str]] | None = None) -> None:
        self.read, self.closed = 0, False
        self._parts, self._headers = parts, headers or []

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> "Long":
        start_response("200 OK", self._headers)
        return self

    def __iter__(self) -> Iterator[bytes]:
        for _ in range(self._parts):
            self.read += 1
            yield b"x" * edge.PART_BYTES

    def close(self) -> None:
        self.closed = True


def test_a_long_answer_is_sent_as_it_is_read() -> None:
    async def work() -> None:
        answer, wire = Long(5), Wire(b"")
        read_when_sent: list[int] = []

        async def send(message: Message) -> None:
            read_when_sent.append(answer.read)
            await wire.send(message)

        await served(answer)(scope(), wire.receive, send)
        assert len(wire.body) == 5 * edge.PART_BYTES
        assert read_when_sent == [1, 1, 2, 3, 4, 5, 5], "more was read than had been sent"
        assert answer.closed

    run(work)


@pytest.mark.parametrize(
    ("parts", "length", "read", "told"),
    [
        (1_000_000, b"7340032", 0, b"7340032"),
        (1_000_000, b"", 1, None),
        (0, b"", 0, b"0"),
    ],
)
def test_a_head_reads_no_file_and_tells_what_a_get_would(
    parts: int, length: bytes, read: int, told: bytes | None
) -> None:
    async def work() -> None:
        answer, wire = Long(parts, [("Content-Length", length.decode())] if length else []), Wire(b"")
        await served(answer)(scope(method="HEAD"), wire.receive, wire.send)
        assert (wire.status, wire.body, answer.read, answer.closed) == (200, b"", read, True)
        assert dict(wire.got[0]["headers"]).get(b"content-length") == told

    run(work)


def test_nobody_reads_on_for_a_client_that_left() -> None:
    async def work() -> None:
        answer, wire = Long(1_000_000), Wire(b"")

        async def send(message: Message) -> None:
            if answer.read == 3:
                wire.leave()

        await served(answer)(scope(), wire.receive, send)
        assert answer.read < 10
        assert answer.closed

    run(work)


def test_the_environment_of_a_request() -> None:
    headers = [
        *[(b"host", b"flotilla.example"), (b"content-type", b"application/json"), (b"content-length", b"99")],
        *[(b"cookie", b"a=1"), (b"cookie", b"b=2"), (b"accept", b"text/html"), (b"accept", b"*/*")],
        (b"x_forwarded_proto", b"https"),
    ]
    asked = scope("/p/caf%C3%A9/", headers, query_string=b"q=%C3%A9", client=("10.1.2.3", 9), server=("here", 8000))
    made = environ_of(asked, io.BytesIO(), 3)
    assert made["PATH_INFO"].encode("latin-1").decode() == "/p/café/"
    assert made["QUERY_STRING"] == "q=%C3%A9"
    assert (made["REMOTE_ADDR"], made["SERVER_NAME"], made["SERVER_PORT"]) == ("10.1.2.3", "here", "8000")
    assert (made["CONTENT_TYPE"], made["CONTENT_LENGTH"]) == ("application/json", "3")
    assert (made["HTTP_COOKIE"], made["HTTP_ACCEPT"]) == ("a=1; b=2", "text/html,*/*")
    assert not [name for name in made if "FORWARDED" in name], "a header with an underscore passes for another"

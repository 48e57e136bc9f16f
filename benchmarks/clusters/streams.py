"""1,000 pages hold an event stream open on one web process: what they cost, and how soon the last one has a hint.

The web process is uvicorn as production starts it, with a Postgres and a Valkey of its own. The readers are plain
sockets in this process, so that on a small machine they take some of the time that they measure.
"""

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import redis.asyncio as redis

from benchmarks.clusters._servers import Servers
from benchmarks.figures import Figure, percentile
from benchmarks.usage import cpu_seconds, memory_bytes
from controlplane.embedded import ports
from controlplane.embedded.waiting import wait_for

STREAMS = 1000
OPENING = 50
ROUNDS = 20
# Hints that follow each other sooner than this are gathered; the storm measures that.
ALONE_SECONDS = 0.4
STORM_HINTS, STORM_SECONDS = 300, 3.0
ALARM_SECONDS = 85
CHANNEL = "flotilla:hints:0"
HOST = "127.0.0.1"

# Makes the people and sessions that the readers use; runs in a process of its own, with the servers' settings.
SESSIONS = """
import os, sys
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
import django; django.setup()
from apps.core.models import Membership, Project, User
from benchmarks.web._session import opened
keys = []
projects = [Project.objects.create(name=f"p{n}") for n in range(10)]
for n in range(10):
    user = User.objects.create(username=f"u{n}")
    Membership.objects.create(project=projects[n], user=user, role="viewer")
    keys.append(opened(user))
open(sys.argv[1], "w").write(" ".join(keys))
"""


@dataclass
class Web:
    """One web process with its servers."""

    port: int
    pid: int
    redis_url: str
    sessions: list[str]


@dataclass
class Reader:
    """One open stream. `at` says when each topic came; `gaps` counts the times that it had to look again."""

    writer: asyncio.StreamWriter
    # Chunks and their moments, until `parse` reads them: parsing during a storm would slow what is measured.
    chunks: list[tuple[float, bytes]] = field(default_factory=list)
    rest: bytes = b""
    at: dict[str, float] = field(default_factory=dict)
    gaps: list[float] = field(default_factory=list)
    hints: int = 0

    def parse(self) -> "Reader":
        """Look into all that has come."""
        for now, chunk in self.chunks:
            *lines, self.rest = (self.rest + chunk).split(b"\n")
            for line in lines:
                if line.startswith(b"data: ") and line != b"data: ok":
                    self._note(line[6:].decode(), now)
        self.chunks.clear()
        return self

    def _note(self, topic: str, now: float) -> None:
        self.hints += 1
        if topic == "resync":
            self.gaps.append(now)
        else:
            self.at.setdefault(topic, now)

    def has_come(self, topic: bytes) -> bool:
        """Whether one of the last chunks tells the topic, or that all is to be looked at again."""
        return any(topic in chunk or b"resync" in chunk for _, chunk in self.chunks[-3:])


def run() -> Iterator[Figure]:
    """Measure; ends within a minute and a half, and leaves nothing behind."""
    with _web() as web:
        signal.alarm(ALARM_SECONDS)  # a hung server must not hang the benchmark; the context still cleans up
        previous = signal.signal(signal.SIGALRM, _too_long)
        try:
            yield from asyncio.run(_measure(web))
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, previous)


def _too_long(*_: object) -> None:
    raise TimeoutError(f"the streams were not measured within {ALARM_SECONDS} s")


async def _measure(web: Web) -> list[Figure]:
    before = memory_bytes(web.pid)
    started = time.perf_counter()
    readers = await _open(web)
    opened = time.perf_counter() - started
    tasks = [asyncio.create_task(_read(reader, stream)) for reader, stream in readers]
    people = [reader for reader, _ in readers]
    client = redis.Redis.from_url(web.redis_url)
    try:
        await _hint(client, people, "warm-up")
        held = memory_bytes(web.pid) - before
        cpu = cpu_seconds(web.pid)
        lasts, firsts = [], []
        for number in range(ROUNDS):
            sent = await _hint(client, people, f"cluster:{number}")
            times = [reader.at[f"cluster:{number}"] - sent for reader in people]
            lasts.append(max(times) * 1000)
            firsts.append(min(times) * 1000)
            await asyncio.sleep(ALONE_SECONDS)
        cpu_a_hint = (cpu_seconds(web.pid) - cpu) / ROUNDS * 1000
        storm = await _storm(client, people, web.pid)
    finally:
        await client.aclose()
        for task in tasks:
            task.cancel()
        for reader in people:
            reader.writer.close()
    beside = {"streams": STREAMS, "rounds": ROUNDS}
    return [
        Figure("streams_open", STREAMS / opened, "streams/s", beside={"streams": STREAMS}),
        Figure("streams_memory", held / 2**20, "MiB", beside={"idle_mib": round(before / 2**20, 1)}),
        Figure("stream_memory_each", held / STREAMS / 1024, "KiB"),
        Figure(
            "hint_last_stream_p95",
            percentile(lasts, 95),
            "ms",
            goal=1000,
            beside=beside | {"p50": round(percentile(lasts, 50), 1), "first_p50": round(percentile(firsts, 50), 1)},
        ),
        Figure("hint_web_cpu", cpu_a_hint, "ms", beside=beside),
        *storm,
    ]


async def _hint(client: "redis.Redis", people: list[Reader], topic: str) -> float:
    """Publish and wait until everybody has it; when it was sent."""
    sent = time.perf_counter()
    await client.publish(CHANNEL, json.dumps([topic, None]))
    await _until(lambda: all(topic in reader.parse().at for reader in people), f"everybody has {topic}")
    return sent


async def _storm(client: "redis.Redis", people: list[Reader], pid: int) -> list[Figure]:
    """Many hints in a short time, each about something else, as from a fleet in trouble."""
    before, cpu = [reader.hints for reader in people], cpu_seconds(pid)
    started = time.perf_counter()
    sent: dict[str, float] = {}
    for number in range(STORM_HINTS):
        topic = f"pod:{number}"
        sent[topic] = time.perf_counter()
        await client.publish(CHANNEL, json.dumps([topic, None]))
        await asyncio.sleep(max(0.0, started + (number + 1) * STORM_SECONDS / STORM_HINTS - time.perf_counter()))
    last = f"pod:{STORM_HINTS - 1}"
    end = f"{last}\n".encode()
    await _until(lambda: all(reader.has_come(end) for reader in people), "everybody has the storm's end")
    cpu_end, ended = cpu_seconds(pid), time.perf_counter()
    for reader in people:
        reader.parse()
    ends = [_knows(reader, last, sent[last]) - sent[last] for reader in people]
    late = [_knows(reader, topic, at) - at for reader in people for topic, at in sent.items()]
    beside = {
        "hints": STORM_HINTS,
        "seconds": STORM_SECONDS,
        "resyncs": sum(any(gap > started for gap in reader.gaps) for reader in people),
        "frames": sum(reader.hints for reader in people) - sum(before),
    }
    return [
        Figure("storm_last_stream", max(ends) * 1000, "ms", goal=1000, beside=beside),
        Figure("storm_hint_p95", percentile(late, 95) * 1000, "ms", goal=1000),
        Figure("storm_web_cpu", (cpu_end - cpu) / (ended - started) * 100, "% of a core"),
    ]


def _knows(reader: Reader, topic: str, sent: float) -> float:
    """The moment when the reader heard of the topic, or later of a gap that makes it read all again; 0 when neither."""
    moments = [at for at in [reader.at.get(topic, 0.0), *reader.gaps] if at >= sent]
    return min(moments, default=0.0)


async def _open(web: Web) -> list[tuple[Reader, asyncio.StreamReader]]:
    limit = asyncio.Semaphore(OPENING)

    async def one(number: int) -> tuple[Reader, asyncio.StreamReader]:
        async with limit:
            stream, writer = await asyncio.open_connection(HOST, web.port)
            cookie = web.sessions[number % len(web.sessions)]
            writer.write(
                f"GET /events HTTP/1.1\r\nHost: {HOST}:{web.port}\r\nAccept: text/event-stream\r\n"
                f"Cookie: sessionid={cookie}\r\n\r\n".encode()
            )
            head = await asyncio.wait_for(stream.readuntil(b"\r\n\r\n"), 60)
            if b" 200 " not in head.split(b"\r\n")[0]:
                raise RuntimeError(f"/events answered {head[:80]!r}")
            await asyncio.wait_for(stream.readuntil(b"event: hello"), 60)
            return Reader(writer), stream

    return list(await asyncio.gather(*(one(number) for number in range(STREAMS))))


async def _read(reader: Reader, stream: asyncio.StreamReader) -> None:
    with contextlib.suppress(ConnectionError):
        while chunk := await stream.read(1 << 16):
            reader.chunks.append((time.perf_counter(), chunk))


async def _until(check: Callable[[], object], awaited: str, seconds: float = 30.0) -> None:
    end = time.perf_counter() + seconds
    while not check():
        if time.perf_counter() > end:
            raise TimeoutError(f"not within {seconds} s: {awaited}")
        await asyncio.sleep(0.01)


@contextlib.contextmanager
def _web() -> Iterator[Web]:
    with Servers() as servers:
        sessions_file = servers.directory / "sessions"
        servers.run("-c", SESSIONS, str(sessions_file))
        port = ports.free_port()
        # Children inherit it; the servers' own settings know no address.
        os.environ |= {
            "FLOTILLA_ALLOWED_HOSTS": HOST,
            "FLOTILLA_PUBLIC_URL": f"http://{HOST}:{port}",
            "FLOTILLA_DB_POOL": "true",
        }
        # As the image does: see CMD in the Dockerfile.
        options = ("--host", HOST, "--port", str(port), "--no-server-header", "--no-access-log")
        uvicorn = ("-m", "uvicorn", "controlplane.asgi:application", *options, "--timeout-graceful-shutdown", "2")
        process = servers.start("web", *uvicorn)
        wait_for(lambda: not ports.is_free(port), "the web process to listen", timeout=60)
        yield Web(port, process.pid, servers.redis_url, sessions_file.read_text().split())

"""The hint stream: who may see what, and nothing is missed without notice."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import urlsplit

import pytest
import redis.asyncio as aioredis
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import OperationalError, connection
from django.test import AsyncClient, Client

from apps.core import services
from apps.core.access import Principal
from apps.core.hints import CHANNEL, stream
from apps.core.models import Project, User
from apps.core.states import Role


async def frames(source: AsyncIterator[str], count: int) -> list[str]:
    return [await asyncio.wait_for(anext(source), 10) for _ in range(count)]


async def topics(source: AsyncIterator[str], count: int) -> list[str]:
    """The next hints, however many come in one text."""
    told: list[str] = []
    while len(told) < count:
        text = (await frames(source, 1))[0]
        told += [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    return told


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(work(), 30)

    asyncio.run(bounded())


async def send(*messages: tuple[str, int | None]) -> None:
    client = aioredis.Redis.from_url(settings.REDIS_URL)
    for message in messages:
        await client.publish(CHANNEL, json.dumps(message))
    await client.aclose()


def test_readers_get_their_projects_hints_only() -> None:
    async def work() -> None:
        hub = stream.HintHub()
        member, everyone = hub.read(frozenset({1})), hub.read(None)
        assert (await frames(member, 2))[1] == "event: hint\ndata: resync\n\n", "the first sight is a full look"
        await frames(everyone, 1)
        await send(("deployment:1", 1), ("deployment:2", 2), ("clusters", None))
        assert await topics(member, 2) == ["deployment:1", "clusters"]
        # Whether the look at everything was before its time or is among them, its own hints follow.
        seen = await topics(everyone, 3)
        seen += await topics(everyone, 1) if "resync" in seen else []
        assert [topic for topic in seen if topic != "resync"] == ["deployment:1", "deployment:2", "clusters"]

    run(work)


def test_who_uses_another_database_of_the_same_server_is_not_heard() -> None:
    """Published messages cross databases, unlike keys."""
    here = urlsplit(settings.REDIS_URL).path.removeprefix("/") or "0"

    async def work() -> None:
        reader = stream.HintHub().read(None)
        await frames(reader, 2)
        client = aioredis.Redis.from_url(settings.REDIS_URL)
        for channel in ("flotilla:hints", "flotilla:hints:15"):
            assert not channel.endswith(f":{here}")
            await client.publish(channel, json.dumps(["run:1", None]))
        await client.aclose()
        await send(("clusters", None))
        assert await topics(reader, 1) == ["clusters"]

    run(work)


def test_a_slow_reader_is_told_to_look_again() -> None:
    async def work() -> None:
        hub = stream.HintHub()
        slow = hub.read(None)
        await frames(slow, 2)
        for number in range(stream.QUEUE_SIZE + 1):
            hub._deliver([(f"run:{number}", None)])
        assert await frames(slow, 1) == ["event: hint\ndata: resync\n\n"]
        hub._deliver([("run:1", None)])
        assert await topics(slow, 1) == ["run:1"], "and goes on from there"

    run(work)


def test_a_storm_comes_gathered_each_topic_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "PAUSE_SECONDS", 0.5)

    async def work() -> None:
        reader = stream.HintHub().read(None)
        await frames(reader, 2)
        await send(("first", None))
        await asyncio.sleep(0)
        assert await topics(reader, 1) == ["first"], "what comes alone goes out at once"
        await send(*[(f"pod:{number % 5}", None) for number in range(50)])
        chunk = await asyncio.wait_for(anext(reader), 10)
        assert [line for line in chunk.splitlines() if line.startswith("data")] == [f"data: pod:{n}" for n in range(5)]

    run(work)


def test_a_heartbeat_when_all_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_SECONDS", 0.05)

    async def work() -> None:
        reader = stream.HintHub().read(None)
        assert any(frame.startswith(":") for frame in await frames(reader, 4))

    run(work)


@pytest.mark.django_db
def test_the_stream_needs_a_session() -> None:
    assert Client().get("/events").status_code == 401


@pytest.mark.django_db(transaction=True)
def test_a_signed_in_person_gets_a_stream() -> None:
    user = User.objects.create_user("ada")
    Project.objects.create(name="theirs")

    async def work() -> None:
        client = AsyncClient()
        await client.aforce_login(user)
        response = await client.get("/events")
        assert response["Content-Type"] == "text/event-stream"
        first = await anext(aiter(response.streaming_content))  # type: ignore[attr-defined]
        assert b"hello" in first

    run(work)


def test_what_a_reader_sees_is_asked_again_where_it_has_changed_and_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_SECONDS", 0.05)
    sees: dict[int, frozenset[int] | None] = {7: frozenset({1, 2}), 8: frozenset({1})}

    def reader(hub: stream.HintHub, person: int) -> AsyncIterator[str]:
        async def look() -> frozenset[int] | None:
            return sees[person]

        return hub.read(sees[person], person=person, look=look)

    async def until(source: AsyncIterator[str], topic: str) -> list[str]:
        told: list[str] = []
        while topic not in told:
            told += [each for each in await topics(source, 1) if each != "ok"]
        return told

    async def work() -> None:
        hub = stream.HintHub()
        one, other = reader(hub, 7), reader(hub, 8)
        await frames(other, 1)
        await until(one, "resync")
        await send(("run:1", 2))
        assert await until(one, "run:1") == ["run:1"]
        sees[7] = frozenset({1})
        await send(("sight:7", None))
        assert await until(one, "resync") == ["resync"], "a page that sees less looks at everything again"
        await send(("run:2", 2), ("clusters", None))
        assert await until(one, "clusters") == ["clusters"]
        sees[7] = None
        await send(("sight:7", None), ("clusters", None))
        with pytest.raises(StopAsyncIteration):
            await frames(one, 100)
        assert (await until(other, "clusters"))[-1] == "clusters", "of somebody else's access nobody hears"
        monkeypatch.setattr(stream, "SIGHT_SECONDS", 0.1)
        sees[8] = None
        with pytest.raises(StopAsyncIteration):
            await frames(other, 100)

    run(work)


def test_while_postgres_is_away_nobody_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_SECONDS", 0.05)
    monkeypatch.setattr(stream, "SIGHT_SECONDS", 0.05)

    async def work() -> None:
        async def look() -> frozenset[int] | None:
            raise OperationalError("away")

        reader = stream.HintHub().read(frozenset({1}), person=7, look=look)
        await frames(reader, 5)
        await send(("run:1", 1))
        while "run:1" not in await topics(reader, 1):
            pass

    run(work)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("how", ["disabled", "another password", "deleted", "signed out", "no member any more"])
def test_an_open_stream_follows_what_its_reader_may(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_SECONDS", 0.1)
    if how == "signed out":
        monkeypatch.setattr(stream, "SIGHT_SECONDS", 0.2)
    root = Principal(user=User.objects.create_superuser("root"))
    user, project = User.objects.create_user("ada"), Project.objects.create(name="theirs")
    services.set_member(principal=root, project=project, username="ada", role=Role.VIEWER)

    def end() -> None:
        match how:
            case "disabled":
                services.update_person(principal=root, user=user, is_active=False)
            case "another password":
                services.set_password(principal=root, user=user, password="quite another one 7")
            case "deleted":
                services.delete_person(principal=root, user=user)
            case "signed out":
                Session.objects.all().delete()
            case _:
                services.set_member(principal=root, project=project, username="ada", role=None)
        connection.close()

    async def work() -> None:
        client = AsyncClient()
        await client.aforce_login(user)
        response = await client.get("/events")
        lines = aiter(response.streaming_content)  # type: ignore[attr-defined]
        while b"resync" not in await anext(lines):
            pass
        await send(("run:1", project.pk))
        while b"run:1" not in await anext(lines):
            pass
        await asyncio.to_thread(end)
        if how == "no member any more":
            while b"resync" not in await anext(lines):
                pass
            await send(("run:2", project.pk), ("clusters", None))
            while b"clusters" not in (said := await anext(lines)):
                assert b"run:2" not in said
            return
        with pytest.raises(StopAsyncIteration):
            while True:
                await anext(lines)

    run(work)


class Relay:
    """Stands between one hub and Redis, so that what is done to its connections concerns no other test."""

    def __init__(self) -> None:
        self.real = urlsplit(settings.REDIS_URL)
        # Of each connection: where it answers, and whether it carries nothing any more.
        self.connections: list[tuple[asyncio.StreamWriter, asyncio.Event]] = []

    async def start(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Listen, and let whoever connects to Redis come here."""
        server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setattr(settings, "REDIS_URL", settings.REDIS_URL.replace(f":{self.real.port}", f":{port}"))

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, away = await asyncio.open_connection(self.real.hostname, self.real.port)
        silent = asyncio.Event()
        self.connections.append((writer, silent))
        await asyncio.gather(self._carry(reader, away, silent), self._carry(there, writer, silent))

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, silent: asyncio.Event) -> None:
        while data := await source.read(65536):
            if not silent.is_set():
                sink.write(data)
        sink.close()


@pytest.mark.parametrize("how", ["it is closed", "it stands, and nothing comes"])
def test_a_subscription_that_is_lost_makes_every_page_look_again(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    monkeypatch.setattr(stream, "PING_SECONDS", 0.1)

    async def work() -> None:
        relay = Relay()
        await relay.start(monkeypatch)
        reader = stream.HintHub().read(None)
        await frames(reader, 2)
        writer, silent = relay.connections[0]
        if how == "it is closed":
            writer.close()
        else:
            silent.set()
        assert await topics(reader, 1) == ["resync"], "what was published meanwhile is not known"
        await send(("clusters", None))
        assert await topics(reader, 1) == ["clusters"]

    run(work)


def test_a_message_that_makes_no_sense_is_left_out() -> None:
    async def work() -> None:
        reader = stream.HintHub().read(None)
        await frames(reader, 2)
        client = aioredis.Redis.from_url(settings.REDIS_URL)
        for nonsense in ("no json", "{}", '["a"]', "7"):
            await client.publish(CHANNEL, nonsense)
        await client.aclose()
        await send(("clusters", None))
        assert await topics(reader, 1) == ["clusters"]

    run(work)

"""The hint stream: who may see what, and nothing is missed without notice."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import redis.asyncio as aioredis
from django.conf import settings
from django.test import AsyncClient, Client

from apps.core import stream
from apps.core.hints import CHANNEL
from apps.core.models import Project, User


async def frames(source: AsyncIterator[str], count: int) -> list[str]:
    return [await asyncio.wait_for(anext(source), 10) for _ in range(count)]


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
        assert await frames(member, 2) == ["event: hint\ndata: deployment:1\n\n", "event: hint\ndata: clusters\n\n"]
        seen = [frame for frame in await frames(everyone, 3) if "resync" not in frame]
        assert "event: hint\ndata: deployment:2\n\n" in seen

    run(work)


def test_a_slow_reader_is_told_to_look_again() -> None:
    async def work() -> None:
        hub = stream.HintHub()
        slow = hub.read(None)
        await frames(slow, 2)
        for number in range(stream.QUEUE_SIZE + 1):
            hub._deliver(f"run:{number}", None)
        assert await frames(slow, 1) == ["event: hint\ndata: resync\n\n"]

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

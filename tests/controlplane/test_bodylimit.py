"""Nobody fills the disk with a body before being asked who they are."""

import asyncio
import json
from typing import Any

import pytest

from controlplane.bodylimit import BodyLimit, Message, Receive, Scope, Send

FILE = "/api/2.0/mlflow-artifacts/artifacts/1/run/artifacts/model.pkl"
TOKEN = {b"authorization": b"Bearer flt_x"}


async def reading_app(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads the whole body, as Django does, then answers."""
    while (await receive()).get("more_body"):
        continue
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


def status_of(path: str, headers: dict[bytes, bytes], chunks: list[bytes]) -> tuple[int, bytes]:
    sent: list[Message] = []
    waiting = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    waiting.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive() -> Message:
        return waiting.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    scope: dict[str, Any] = {"type": "http", "path": path, "headers": list(headers.items())}
    asyncio.run(BodyLimit(reading_app, usual=10, largest=100)(scope, receive, send))
    return sent[0]["status"], sent[1]["body"]


@pytest.mark.parametrize(
    ("path", "headers", "chunks", "status"),
    [
        ("/api/v1/runs", {}, [b"x" * 10], 200),
        ("/api/v1/runs", {}, [b"x" * 11], 413),
        ("/api/v1/runs", TOKEN, [b"x" * 6, b"x" * 6], 413),
        ("/api/v1/runs", {b"content-length": b"11"}, [], 413),
        (FILE, {}, [b"x" * 50], 413),
        (FILE, {b"authorization": b"Basic x"}, [b"x" * 50], 413),
        (FILE, TOKEN, [b"x" * 50, b"x" * 50], 200),
        (FILE, TOKEN, [b"x" * 50, b"x" * 51], 413),
        (FILE, TOKEN | {b"content-length": b"101"}, [], 413),
    ],
)
def test_bodies_are_bounded(path: str, headers: dict[bytes, bytes], chunks: list[bytes], status: int) -> None:
    assert status_of(path, headers, chunks)[0] == status


def test_the_refusal_is_a_problem_that_says_the_limit() -> None:
    said = json.loads(status_of("/login/", {}, [b"x" * 11])[1])
    assert said["status"] == 413
    assert "at most 10 bytes" in said["detail"]

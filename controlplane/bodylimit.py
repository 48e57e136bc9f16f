"""Bounds every request body before Django reads it.

Up to the usual limit a body is gathered in memory before any view, and so before anybody is asked who they are. This
refuses what is too large at once, and lets only a request that carries a bearer token send a file.
"""

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Any, Any], Awaitable[None]]

FILES = "/api/2.0/mlflow-artifacts/artifacts/"


class TooLargeError(Exception):
    """More bytes came than the request may have."""


class BodyLimit:
    """An ASGI application around another: at most `largest` bytes for a file with a token, `usual` for the rest."""

    def __init__(self, app: App, *, usual: int, largest: int) -> None:
        self._app = app
        self._usual = usual
        self._largest = largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 413 for a body that says or turns out to be too large; pass everything else on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        limit = self._limit(str(scope["path"]), headers)
        if int(headers.get(b"content-length", b"0") or b"0") > limit:
            await _refuse(send, limit)
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, _counting(receive, limit), watched)
        except TooLargeError:
            if started:
                raise
            await _refuse(send, limit)

    def _limit(self, path: str, headers: dict[bytes, bytes]) -> int:
        has_token = headers.get(b"authorization", b"").lower().startswith(b"bearer ")
        return self._largest if has_token and path.startswith(FILES) else self._usual


def _counting(receive: Receive, limit: int) -> Receive:
    read = 0

    async def counted() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > limit:
            raise TooLargeError
        return message

    return counted


async def _refuse(send: Send, limit: int) -> None:
    detail = f"A request of this kind may have at most {limit} bytes."
    body = json.dumps({"type": "about:blank", "title": "Too large", "status": 413, "detail": detail}).encode()
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": body})

"""Requests and answers: what Kubernetes adds to Starlette's, such as its options, formats and ``Status`` for errors.

Of Starlette only these two are used. Routes are not: what a path is about is read once, for roles and handlers alike
(:mod:`localcluster.api.requestinfo`), and custom kinds come and go while the server runs.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from starlette import requests, responses

from kubevalues.numbers import is_whole, whole
from localcluster.api.documents import parse_document
from localcluster.errors import StatusError, bad_request
from localcluster.meta import dump

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

#: As kube-apiserver's ``--max-request-body-bytes``: objects are small.
MAX_BODY = 3 * 1024 * 1024

JSON = "application/json"

_NOT_KEPT = (b"cache-control", b"no-cache, private")
_ON, _OFF = ("", "true", "1"), ("false", "0")


@dataclass(frozen=True, slots=True)
class Accepted:
    """One media type of an Accept header, e.g. ``application/json;as=Table;v=v1;g=meta.k8s.io``."""

    media_type: str
    parameters: dict[str, str]

    @property
    def shape(self) -> str:
        """The ``as`` parameter: Table, PartialObjectMetadata, … or ''."""
        return self.parameters.get("as", "")


def parse_accept(header: str) -> list[Accepted]:
    """The accepted media types in order."""
    accepted = []
    for part in header.split(","):
        media_type, *parameters = (piece.strip() for piece in part.split(";"))
        if media_type:
            pairs = (parameter.partition("=") for parameter in parameters)
            accepted.append(Accepted(media_type.lower(), {name: value for name, _, value in pairs}))
    return accepted


class Request(requests.Request):
    """An HTTP request, with what is Kubernetes' own in it."""

    def __init__(self, scope: Message, receive: Receive) -> None:
        super().__init__(scope, receive)
        self.warnings: list[str] = []

    @property
    def path(self) -> str:
        """The path, decoded."""
        return str(self.scope["path"])

    @property
    def raw_path(self) -> str:
        """The path as it came."""
        return bytes(self.scope["raw_path"]).decode("latin-1")

    @property
    def raw_query(self) -> str:
        """The query as it came."""
        return bytes(self.scope["query_string"]).decode("latin-1")

    def repeated(self, name: str) -> list[str]:
        """Every value of a query parameter."""
        return self.query_params.getlist(name)

    def query(self, name: str) -> str:
        """A query parameter, the first one where it is repeated; '' where it is not given."""
        values = self.query_params.getlist(name)
        return values[0] if values else ""

    def flag(self, name: str) -> bool:
        """A query parameter that is on: ``true``, ``1``, or there without a value. Raises StatusError 400.

        A real API server takes all but ``false`` and ``0`` as on; here every other value is refused as a mistake.
        """
        if name not in self.query_params:
            return False
        text = self.query(name)
        if text.lower() not in _ON and text.lower() not in _OFF:
            raise bad_request(f'strconv.ParseBool: parsing "{text}": invalid syntax (parameter {name})')
        return text.lower() in _ON

    def number(self, name: str) -> int | None:
        """A query parameter that is a whole number of 64 bits; None where it is not given. Raises StatusError 400."""
        if name not in self.query_params:
            return None
        text = self.query(name)
        number = whole(text)
        if number is None:
            why = "value out of range" if is_whole(text) else "invalid syntax"
            raise bad_request(f'strconv.ParseInt: parsing "{text}": {why} (parameter {name})')
        return number

    @property
    def accepted(self) -> list[Accepted]:
        """The media types that the client accepts as an answer, best first."""
        return parse_accept(self.headers.get("accept", ""))

    @property
    def content_type(self) -> str:
        """The body's media type without parameters; '' when it is not stated."""
        return self.headers.get("content-type", "").split(";")[0].strip().lower()

    async def disconnected(self) -> None:
        """Return when the client is gone. Read the body before."""
        while (await self.receive())["type"] != "http.disconnect":
            continue

    async def body(self, limit: int = MAX_BODY) -> bytes:
        """The whole body, of at most ``limit`` bytes; it may be asked for again.

        Raises StatusError 413, and ClientDisconnect where the client leaves before its end.
        """
        if not hasattr(self, "_body"):
            parts: list[bytes] = []
            size = 0
            async for part in self.stream():
                size += len(part)
                if size > limit:
                    raise StatusError(413, "RequestEntityTooLarge", f"limit is {limit} bytes")
                parts.append(part)
            self._body = b"".join(parts)
        return self._body

    async def document(self) -> Any:
        """The body as JSON or YAML. Raises StatusError 400, 413, 415."""
        return parse_document(await self.body(), self.content_type)


class Response(responses.Response):
    """A complete answer."""

    media_type = JSON

    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:
        """Nothing that the API says may be kept for later."""
        super().init_headers(headers)
        self.raw_headers.append(_NOT_KEPT)


class Stream(responses.StreamingResponse):
    """An answer that comes in pieces. Its source is closed when the client goes, or the server."""

    media_type = JSON

    def __init__(
        self, parts: AsyncGenerator[bytes, None], status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(parts, status, headers)
        self._parts = parts

    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:
        """The headers of a complete answer."""
        super().init_headers(headers)
        self.raw_headers.append(_NOT_KEPT)

    async def stream_response(self, send: Send) -> None:
        """Send piece by piece. Cut off by us, it still has an end, so that the client sees no broken connection."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        try:
            async with contextlib.aclosing(self._parts) as parts:
                async for part in parts:
                    await send({"type": "http.response.body", "body": part, "more_body": True})
        finally:
            with contextlib.suppress(OSError):
                await send({"type": "http.response.body", "body": b"", "more_body": False})


def answer(obj: Any, status: int = 200) -> Response:
    """An object as JSON."""
    return Response(dump(obj), status)


def text(body: str, status: int = 200) -> Response:
    """Plain text."""
    return Response(body, status, media_type="text/plain")


def failure(error: StatusError) -> Response:
    """The ``Status`` of an error."""
    response = answer(error.status(), error.code)
    if error.code == 401:
        response.headers.append("www-authenticate", 'Bearer realm="localcluster"')
    if error.code in (429, 503) and (seconds := error.details.get("retryAfterSeconds")):
        response.headers.append("retry-after", str(seconds))
    return response

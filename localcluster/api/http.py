"""Requests and answers, thinly over ASGI: parsing, content negotiation, ``Status`` for errors."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote

import yaml

from localcluster.errors import StatusError, bad_request, unsupported_media_type
from localcluster.meta import dump
from localcluster.numbers import is_whole, whole
from localcluster.schema.wire import decode

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

#: As kube-apiserver's ``--max-request-body-bytes``: objects are small.
MAX_BODY = 3 * 1024 * 1024

JSON = "application/json"
PROTOBUF = "application/vnd.kubernetes.protobuf"

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
    found = []
    for part in header.split(","):
        media_type, *parameters = (piece.strip() for piece in part.split(";"))
        if media_type:
            pairs = (parameter.partition("=") for parameter in parameters)
            found.append(Accepted(media_type.lower(), {name: value for name, _, value in pairs}))
    return found


class Request:
    """An HTTP request, with its body read on demand."""

    def __init__(self, scope: Message, receive: Receive) -> None:
        self._receive = receive
        self.method: str = scope["method"]
        self.raw_path: str = scope.get("raw_path", scope["path"].encode()).decode("latin-1")
        self.path = unquote(self.raw_path)
        self.raw_query: str = scope.get("query_string", b"").decode("latin-1")
        self._query: dict[str, list[str]] = parse_qs(self.raw_query, keep_blank_values=True)
        self.raw_headers: list[tuple[bytes, bytes]] = scope["headers"]
        self.headers: dict[str, str] = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
        }
        self.client: Any = scope.get("client")
        self.warnings: list[str] = []
        self._body: bytes | None = None

    def values(self, name: str) -> list[str]:
        """Every value of a query parameter."""
        return self._query.get(name, [])

    def query(self, name: str) -> str:
        """A query parameter, the first one where it is repeated; '' where it is not given."""
        values = self._query.get(name)
        return values[0] if values else ""

    def flag(self, name: str) -> bool:
        """A query parameter that is on: ``true``, ``1``, or there without a value. Raises StatusError 400.

        A real API server takes all but ``false`` and ``0`` as on; here what is neither is refused, as somebody's error.
        """
        if name not in self._query:
            return False
        text = self.query(name)
        if text.lower() not in _ON and text.lower() not in _OFF:
            raise bad_request(f'strconv.ParseBool: parsing "{text}": invalid syntax (parameter {name})')
        return text.lower() in _ON

    def number(self, name: str) -> int | None:
        """A query parameter that is a whole number of 64 bits; None where it is not given. Raises StatusError 400."""
        if name not in self._query:
            return None
        text = self.query(name)
        number = whole(text)
        if number is None:
            why = "value out of range" if is_whole(text) else "invalid syntax"
            raise bad_request(f'strconv.ParseInt: parsing "{text}": {why} (parameter {name})')
        return number

    @property
    def accepted(self) -> list[Accepted]:
        """What the client would take as an answer, best first."""
        return parse_accept(self.headers.get("accept", ""))

    @property
    def content_type(self) -> str:
        """The body's media type without parameters; '' when it is not stated."""
        return self.headers.get("content-type", "").split(";")[0].strip().lower()

    async def disconnected(self) -> None:
        """Return when the client is gone. Read the body before."""
        while (await self._receive())["type"] != "http.disconnect":
            continue

    async def body(self, limit: int = MAX_BODY) -> bytes:
        """The whole body, of at most ``limit`` bytes; it may be asked for again. Raises StatusError 413."""
        if self._body is not None:
            return self._body
        parts: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            part = message.get("body", b"")
            size += len(part)
            if size > limit:
                raise StatusError(413, "RequestEntityTooLarge", f"limit is {limit} bytes")
            parts.append(part)
            if not message.get("more_body"):
                self._body = b"".join(parts)
                return self._body

    async def document(self) -> Any:
        """The body as JSON or YAML. Raises StatusError 400, 413, 415."""
        return parse_document(await self.body(), self.content_type)


def _finite(text: str) -> float:
    """What JSON can say: neither NaN nor Infinity, which would make every later answer unreadable."""
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text} is no number of JSON")
    return number


def parse_document(body: bytes, content_type: str) -> Any:
    """Read JSON (also when no type is stated), YAML or Kubernetes' protobuf. Raises StatusError 400 and 415."""
    if content_type == PROTOBUF:
        return decode(body)
    if content_type and not content_type.endswith(("json", "yaml")):
        raise unsupported_media_type(f"the body of the request was in an unknown format - {content_type}")
    try:
        if content_type.endswith("yaml"):
            return _yaml(body)
        return json.loads(body, parse_constant=_finite, parse_float=_finite)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise bad_request(f"the object provided is unrecognized: {error}") from error


def _yaml(body: bytes) -> Any:
    """Read YAML, in which an escape stands for a character, and half of a surrogate pair is none."""
    value = yaml.safe_load(body)
    if b"\\u" in body or b"\\U" in body:
        try:
            json.dumps(value, ensure_ascii=False, default=str).encode()
        except UnicodeEncodeError as error:
            raise ValueError("yaml: found invalid Unicode character escape code") from error
    return value


@dataclass(slots=True)
class Response:
    """A complete answer."""

    body: bytes
    status: int = 200
    content_type: str = JSON
    headers: list[tuple[str, str]] = field(default_factory=list)


@dataclass(slots=True)
class Stream:
    """An answer that comes in pieces; it is closed when the client goes."""

    parts: AsyncGenerator[bytes, None]
    status: int = 200
    content_type: str = JSON
    headers: list[tuple[str, str]] = field(default_factory=list)


def answer(obj: Any, status: int = 200) -> Response:
    """An object as JSON."""
    return Response(dump(obj), status)


def text(body: str, status: int = 200) -> Response:
    """Plain text."""
    return Response(body.encode(), status, "text/plain; charset=utf-8")


def failure(error: StatusError) -> Response:
    """The ``Status`` of an error."""
    response = answer(error.status(), error.code)
    if error.code == 401:
        response.headers.append(("www-authenticate", 'Bearer realm="localcluster"'))
    if error.code in (429, 503) and (seconds := error.details.get("retryAfterSeconds")):
        response.headers.append(("retry-after", str(seconds)))
    return response

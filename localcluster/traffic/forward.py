"""HTTP requests to an endpoint of a Service, and to another one where the first did not take it.

A request that was not sent goes to the next endpoint. One that was sent and not answered does so only where its method
says that doing it twice is doing it once (RFC 9110, 9.2.2), or its client by an `Idempotency-Key`, as for Go's client:
any other prediction that may have been made is not repeated.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from localcluster.traffic.balancer import Balancer, Port
from localcluster.traffic.endpoints import Address, Endpoints

#: A longer body, or one of unknown length, is passed on as it comes: it can be neither repeated nor mirrored.
KEPT_BODY = 8 * 1024 * 1024
#: A shorter answer is passed on when all of it is there: one that broke off half way can be asked for again.
_KEPT_ANSWER = 64 * 1024
_CONNECT_SECONDS = 2.0
#: Between two pieces of an answer.
_SILENT_SECONDS = 300.0
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})
_CONNECTION_ONLY = frozenset(
    ("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "expect")
)
#: What a client library would add to a request that lacks it.
_NOT_ADDED = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")

Headers = CIMultiDict[str]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request as it goes on. A body that is no bytes can be sent once."""

    method: str
    path: str
    headers: Headers
    body: bytes | aiohttp.StreamReader
    backend_timeout: float | None = None

    @property
    def repeatable(self) -> bool:
        """Whether it may be sent again after it may have been carried out."""
        is_idempotent = self.method in _IDEMPOTENT or "Idempotency-Key" in self.headers
        return is_idempotent and isinstance(self.body, bytes)


async def body_of(request: web.BaseRequest) -> bytes | aiohttp.StreamReader:
    """The body, whole where it is small enough to be kept."""
    if not request.can_read_body:
        return b""
    length = request.content_length
    return await request.content.read() if length is not None and length <= KEPT_BODY else request.content


def passed_on(headers: CIMultiDict[str] | CIMultiDictProxy[str]) -> Headers:
    """The headers without those of the connection."""
    dropped = _CONNECTION_ONLY | {name.strip().lower() for name in headers.get("connection", "").split(",")}
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in dropped)


def refusal(status: int, why: str) -> web.Response:
    """The proxy's own answer."""
    return web.Response(status=status, text=f"{why}\n")


class Forwarder:
    """Forwards requests; one client session and one balancer for all of them."""

    def __init__(self, endpoints: Endpoints, balancer: Balancer) -> None:
        self._endpoints = endpoints
        self.balancer = balancer
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._session:
            await self._session.close()

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=_SILENT_SECONDS)
            connector = aiohttp.TCPConnector(limit=0, force_close=True)
            self._session = aiohttp.ClientSession(
                timeout=timeout, connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._session

    async def forward(
        self,
        request: web.BaseRequest,
        outgoing: Outgoing,
        port: Port,
        change: Callable[[Headers], None] | None = None,
    ) -> web.StreamResponse:
        """Answer `request` with what an endpoint of the port says to `outgoing`; `change` may alter its headers."""
        tried: list[Address] = []
        trouble = f"no endpoint of Service {port[0]}/{port[1]} is ready"
        while (address := self.balancer.choose(port, self._endpoints.of(*port), tried)) is not None:
            tried.append(address)
            sent = _Sent(self.balancer, port, address)
            try:
                async with sent, self._ask(outgoing, address) as reply:
                    is_short = reply.content_length is not None and reply.content_length <= _KEPT_ANSWER
                    body = await reply.read() if is_short else None
                    sent.answered(reply.status)
                    return await _answer(request, reply, body, change)
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
                trouble = "no endpoint takes connections"
            except TimeoutError:
                return refusal(504, "the endpoint did not answer in time")
            except (aiohttp.ClientError, OSError) as error:
                if not outgoing.repeatable or sent.code:
                    return refusal(502, f"the endpoint broke off: {type(error).__name__}")
                trouble = "every endpoint broke off"
        return refusal(503 if trouble.startswith("no ") else 502, trouble)

    async def drop(self, outgoing: Outgoing, port: Port) -> None:
        """Send a request and read its answer to the end, which nobody sees. Raises what goes wrong."""
        address = self.balancer.choose(port, self._endpoints.of(*port))
        if address is not None:
            sent = _Sent(self.balancer, port, address)
            async with sent, self._ask(outgoing, address) as reply:
                sent.answered(reply.status)
                async for _ in reply.content.iter_any():
                    pass

    def _ask(self, outgoing: Outgoing, address: Address) -> _Asking:
        url = URL(f"http://{address[0]}:{address[1]}{outgoing.path}", encoded=True)
        call = self._client().request(
            outgoing.method,
            url,
            headers=outgoing.headers,
            data=outgoing.body or None,
            allow_redirects=False,
            skip_auto_headers=_NOT_ADDED,
        )
        return _Asking(call, outgoing.backend_timeout)


class _Asking:
    """The answer of an endpoint, its body unread; the time is for its head. Closes it at the end."""

    def __init__(self, call: Any, seconds: float | None) -> None:
        self._call, self._seconds = call, seconds
        self._reply: aiohttp.ClientResponse | None = None

    async def __aenter__(self) -> aiohttp.ClientResponse:
        async with asyncio.timeout(self._seconds):
            self._reply = await self._call
        return self._reply

    async def __aexit__(self, *_: object) -> None:
        if self._reply:
            self._reply.close()


class _Sent:
    """Counts one request of an endpoint, whatever becomes of it."""

    def __init__(self, balancer: Balancer, port: Port, address: Address) -> None:
        self._balancer, self._endpoint = balancer, balancer.begin(port, address)
        self._began = time.perf_counter()
        self.code = ""

    def answered(self, status: int) -> None:
        """Its head is there."""
        self.code = str(status)

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, *_: object) -> None:
        seconds = time.perf_counter() - self._began
        if error is None:
            self._balancer.end(self._endpoint, self.code, seconds, failed=False)
        elif isinstance(error, aiohttp.ClientConnectionResetError) and self.code:
            self._balancer.end(self._endpoint, self.code, seconds, failed=False)  # the client left
        elif isinstance(error, aiohttp.ClientError | OSError):
            word = "timeout" if isinstance(error, TimeoutError) else "broken"
            self._balancer.end(self._endpoint, word, seconds, failed=True)
        else:
            self._balancer.end(self._endpoint, self.code or "canceled", seconds, failed=None)


async def _answer(
    request: web.BaseRequest,
    reply: aiohttp.ClientResponse,
    body: bytes | None,
    change: Callable[[Headers], None] | None,
) -> web.StreamResponse:
    """Pass on the head and the body, as far as that was read, or as it comes."""
    headers = passed_on(reply.headers)
    if change:
        change(headers)
    response = web.StreamResponse(status=reply.status, reason=reply.reason, headers=headers)
    try:
        await response.prepare(request)
        if body:
            await response.write(body)
        async for piece in reply.content.iter_any():
            await response.write(piece)
        await response.write_eof()
    except BaseException:
        # The client must not take half of an answer for the whole.
        if request.transport:
            request.transport.abort()
        raise
    return response


def changed(headers: Headers, changes: Iterable[dict[str, Any]]) -> None:
    """Carry out the header modifiers of a route, in place."""
    for change in changes:
        for name in change.get("remove") or ():
            headers.popall(name, None)
        for each in change.get("set") or ():
            headers[each["name"]] = each["value"]
        for each in change.get("add") or ():
            headers.add(each["name"], each["value"])

"""A request that came to a Gateway goes on to a backend of the rule that it falls under, copies of it to mirrors."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Iterable, Sequence
from typing import Any

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from localcluster.controllers.endpointslice import SERVICE_LABEL
from localcluster.gateway.attach import covers
from localcluster.gateway.objects import Tables
from localcluster.gateway.routing import Asked, Backend, Rule, Shares, rule_for
from localcluster.kubeproxy import backends
from localcluster.registry import Registry

log = logging.getLogger(__name__)

MAX_BODY = 64 * 1024 * 1024
_CONNECT_SECONDS = 2.0
#: Between two pieces of an answer.
_SILENT_SECONDS = 300.0
_MIRROR_SECONDS = 30.0
#: Copies on their way at once; beyond that requests are not copied.
_MOST_MIRRORED = 64
_CONNECTION_ONLY = frozenset(
    ("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "expect")
)
#: What a client library would add to a request that lacks it.
_NOT_ADDED = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
Address = tuple[str, int]


class Forwarder:
    """Forwards requests; one client session for all of them."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._tables = Tables(registry)
        self._shares = Shares()
        self._session: aiohttp.ClientSession | None = None
        self._mirrored: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Let go of what is on its way."""
        for task in self._mirrored:
            task.cancel()
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

    async def handle(self, request: web.Request, gateway: tuple[str, ...], port: int) -> web.StreamResponse:
        """Answer a request that came to a port of a Gateway (namespace, name)."""
        rule = self._rule(request, gateway, port)
        if rule is None:
            return _refusal(404, "no HTTPRoute takes this host and path")
        body = await request.read()
        self._mirror(rule, request, body)
        backend = self._shares.choose(rule)
        if backend is None or backend.problem:
            return _refusal(500, backend.problem[1] if backend and backend.problem else "the rule has no backend")
        addresses = self._addresses(backend)
        if not addresses:
            return _refusal(503, f"no endpoint of Service {backend.namespace}/{backend.service} is ready")
        try:
            async with asyncio.timeout(rule.timeout):
                return await self._forward(rule, request, body, addresses)
        except TimeoutError:
            return _refusal(504, "the backend did not answer in time")

    def _rule(self, request: web.Request, gateway: tuple[str, ...], port: int) -> Rule | None:
        host = (request.host or "").partition(":")[0].lower()
        tables = {hostname: table for (at, hostname), table in self._tables.of(gateway).items() if at == port}
        fitting = [hostname for hostname in tables if covers(hostname, host)]
        if not fitting:
            return None
        # As with routes: the exact name goes before patterns, a long pattern before a short one.
        chosen = min(fitting, key=lambda hostname: (hostname.startswith("*") or not hostname, -len(hostname)))
        headers = {name.lower(): ",".join(request.headers.getall(name)) for name in request.headers}
        path = request.raw_path.partition("?")[0]
        return rule_for(tables[chosen], Asked(request.method, host, path, request.query, headers))

    def _addresses(self, backend: Backend) -> list[Address]:
        selector = f"{SERVICE_LABEL}={backend.service}"
        slices = self._registry.list("endpointslices", backend.namespace, label_selector=selector)
        found = backends(slices, backend.port_name)
        random.shuffle(found)
        return found

    async def _forward(
        self, rule: Rule, request: web.Request, body: bytes, addresses: Sequence[Address]
    ) -> web.StreamResponse:
        headers = _passed_on(request.headers, rule.request_headers)
        if request.remote:
            headers.add("X-Forwarded-For", request.remote)
        for address in addresses:
            try:
                async with asyncio.timeout(rule.backend_timeout):
                    reply = await self._send(request.method, request.raw_path, address, headers, body)
                async with reply:
                    return await _answer(request, reply, rule)
            except aiohttp.ClientConnectorError:
                continue  # nothing was sent: the next one
            except (aiohttp.ClientError, OSError) as error:
                return _refusal(502, f"the backend broke off: {type(error).__name__}")
        return _refusal(503, "no endpoint of the backend takes connections")

    async def _send(
        self, method: str, path: str, address: Address, headers: CIMultiDict[str], body: bytes
    ) -> aiohttp.ClientResponse:
        url = URL(f"http://{address[0]}:{address[1]}{path}", encoded=True)
        return await self._client().request(
            method, url, headers=headers, data=body or None, allow_redirects=False, skip_auto_headers=_NOT_ADDED
        )

    def _mirror(self, rule: Rule, request: web.Request, body: bytes) -> None:
        for mirror in rule.mirrors:
            chosen = random.uniform(0, 100) < mirror.percent  # noqa: S311 - a sample, no secret
            if not chosen or mirror.backend.problem or len(self._mirrored) >= _MOST_MIRRORED:
                continue
            headers = _passed_on(request.headers, rule.request_headers)
            work = self._copy(request.method, request.raw_path, self._addresses(mirror.backend), headers, body)
            task = asyncio.create_task(work)
            self._mirrored.add(task)
            task.add_done_callback(self._mirrored.discard)

    async def _copy(
        self, method: str, path: str, addresses: Sequence[Address], headers: CIMultiDict[str], body: bytes
    ) -> None:
        """Send a copy and read its answer to the end, which nobody sees, nor that it fails."""
        for address in addresses[:1]:
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                async with asyncio.timeout(_MIRROR_SECONDS):
                    reply = await self._send(method, path, address, headers, body)
                    async with reply:
                        async for _ in reply.content.iter_any():
                            pass


def _passed_on(headers: Any, changes: Iterable[dict[str, Any]]) -> CIMultiDict[str]:
    """The headers that go on, with the changes of header modifiers."""
    dropped = _CONNECTION_ONLY | {name.strip().lower() for name in headers.get("connection", "").split(",")}
    passed = CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in dropped)
    for change in changes:
        for name in change.get("remove") or ():
            passed.popall(name, None)
        for each in change.get("set") or ():
            passed[each["name"]] = each["value"]
        for each in change.get("add") or ():
            passed.add(each["name"], each["value"])
    return passed


async def _answer(request: web.Request, reply: aiohttp.ClientResponse, rule: Rule) -> web.StreamResponse:
    headers = _passed_on(reply.headers, rule.response_headers)
    response = web.StreamResponse(status=reply.status, reason=reply.reason, headers=headers)
    await response.prepare(request)
    try:
        async for piece in reply.content.iter_any():
            await response.write(piece)
        await response.write_eof()
    except BaseException:
        # The client must not take half of an answer for the whole.
        if request.transport:
            request.transport.abort()
        raise
    return response


def _refusal(status: int, why: str) -> web.Response:
    return web.Response(status=status, text=f"{why}\n")

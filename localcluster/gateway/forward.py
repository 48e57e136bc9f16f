"""A request that came to a Gateway goes on to a backend of the rule that it falls under, copies of it to mirrors."""

from __future__ import annotations

import asyncio
import contextlib
import random

import aiohttp
from aiohttp import web

from localcluster.gateway.attach import covers
from localcluster.gateway.objects import Tables
from localcluster.gateway.routing import Asked, Backend, Rule, Shares, rule_for
from localcluster.registry import Registry
from localcluster.traffic.balancer import Port
from localcluster.traffic.forward import Forwarder, Outgoing, body_of, changed, passed_on, refusal

_MIRROR_SECONDS = 30.0
#: Copies on their way at once; beyond that requests are not copied.
_MOST_MIRRORED = 64


class Router:
    """Finds the rule of a request and carries it out."""

    def __init__(self, registry: Registry, forwarder: Forwarder) -> None:
        self._forwarder = forwarder
        self._tables = Tables(registry)
        self._shares = Shares()
        self._mirrored: set[asyncio.Task[None]] = set()

    def close(self) -> None:
        """Let go of the copies that are on their way."""
        for task in self._mirrored:
            task.cancel()

    async def handle(self, request: web.BaseRequest, gateway: tuple[str, ...], port: int) -> web.StreamResponse:
        """Answer a request that came to a port of a Gateway (namespace, name)."""
        rule = self._rule(request, gateway, port)
        if rule is None:
            return refusal(404, "no HTTPRoute takes this host and path")
        headers = passed_on(request.headers)
        changed(headers, rule.request_headers)
        if request.remote:
            headers.add("X-Forwarded-For", request.remote)
        body = await body_of(request)
        outgoing = Outgoing(request.method, request.raw_path, headers, body, rule.backend_timeout)
        self._mirror(rule, outgoing)
        backend = self._shares.choose(rule)
        if backend is None or backend.problem:
            return refusal(500, backend.problem[1] if backend and backend.problem else "the rule has no backend")
        try:
            async with asyncio.timeout(rule.timeout):
                return await self._forwarder.forward(
                    request, outgoing, _port(backend), lambda answered: changed(answered, rule.response_headers)
                )
        except TimeoutError:
            return refusal(504, "the backend did not answer in time")

    def _rule(self, request: web.BaseRequest, gateway: tuple[str, ...], port: int) -> Rule | None:
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

    def _mirror(self, rule: Rule, outgoing: Outgoing) -> None:
        if not isinstance(outgoing.body, bytes):
            return
        for mirror in rule.mirrors:
            chosen = random.uniform(0, 100) < mirror.percent  # noqa: S311 - a sample, no secret
            if not chosen or mirror.backend.problem or len(self._mirrored) >= _MOST_MIRRORED:
                continue
            task = asyncio.create_task(self._copy(outgoing, _port(mirror.backend)))
            self._mirrored.add(task)
            task.add_done_callback(self._mirrored.discard)

    async def _copy(self, outgoing: Outgoing, port: Port) -> None:
        """Nobody sees the answer, nor that it fails."""
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
            async with asyncio.timeout(_MIRROR_SECONDS):
                await self._forwarder.drop(outgoing, port)


def _port(backend: Backend) -> Port:
    return backend.namespace, backend.service, backend.port_name

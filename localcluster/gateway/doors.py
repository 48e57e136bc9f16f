"""The listeners of Gateways: sockets, and one HTTP server behind all of them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from contextlib import AbstractAsyncContextManager
from types import TracebackType

from aiohttp import web

from localcluster.gateway.forward import MAX_BODY, Forwarder
from localcluster.kubeproxy import listen

Key = tuple[str, ...]
Place = tuple[str, int]

_STOP_SECONDS = 1.0


class Doors(AbstractAsyncContextManager["Doors"]):
    """Opens ports on Gateways' addresses. On hollow nodes nothing listens, and nothing is said of it (`real`)."""

    def __init__(self, forwarder: Forwarder, *, real: bool) -> None:
        self._forwarder = forwarder
        self._real = real
        self._open: dict[Key, dict[Place, socket.socket]] = {}
        self._gateways: dict[Place, Key] = {}
        self._runner: web.AppRunner | None = None
        self._connecting: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Doors:
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=_STOP_SECONDS)
        await self._runner.setup()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for key in list(self._open):
            self.keep(key, "", set())
        if self._runner is not None:
            await self._runner.cleanup()
        await self._forwarder.close()

    def keep(self, key: Key, address: str, ports: set[int]) -> dict[int, str]:
        """Listen on these ports of a Gateway's address and on no others; gives why some could not be opened."""
        if not self._real:
            return {}
        have = self._open.setdefault(key, {})
        want = {(address, port) for port in ports}
        for place in set(have) - want:
            self._close(place, have.pop(place))
        shut = {}
        for place in want - set(have):
            try:
                have[place] = listener = listen(*place)
            except OSError as error:
                shut[place[1]] = f"cannot listen on {address}:{place[1]}: {error.strerror}"
                continue
            self._gateways[place] = key
            asyncio.get_running_loop().add_reader(listener, self._accept, listener)
        if not have:
            del self._open[key]
        return shut

    def _close(self, place: Place, listener: socket.socket) -> None:
        self._gateways.pop(place, None)
        asyncio.get_running_loop().remove_reader(listener)
        listener.close()

    def _accept(self, listener: socket.socket) -> None:
        # Not asyncio's server: closing that one forgets connections that it is just accepting.
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):  # the client has gone already
            client, _ = listener.accept()
            client.setblocking(False)
            task = asyncio.create_task(self._connect(client))
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    async def _connect(self, client: socket.socket) -> None:
        server = self._runner.server if self._runner else None
        if server is None:
            client.close()
        else:
            await asyncio.get_running_loop().connect_accepted_socket(server, client)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        name = request.transport.get_extra_info("sockname") if request.transport else ("", 0)
        gateway = self._gateways.get((name[0], name[1]))
        if gateway is None:
            gone = web.Response(status=404, text="this Gateway is gone\n")
            gone.force_close()
            return gone
        return await self._forwarder.handle(request, gateway, name[1])

"""The listeners of Gateways."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from contextlib import AbstractAsyncContextManager
from types import TracebackType

from aiohttp import web

from localcluster.gateway.forward import Router
from localcluster.traffic.doors import HttpServer, listen
from localcluster.traffic.endpoints import Address

Key = tuple[str, ...]


class Doors(AbstractAsyncContextManager["Doors"]):
    """Opens ports on Gateways' addresses. On hollow nodes nothing listens, and nothing is said of it (`real`)."""

    def __init__(self, router: Router, *, real: bool) -> None:
        self._router = router
        self._real = real
        self._open: dict[Key, dict[Address, socket.socket]] = {}
        self._gateways: dict[Address, Key] = {}
        self._server = HttpServer(self._handle)
        self._connecting: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Doors:
        await self._server.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for key in list(self._open):
            self.keep(key, "", set())
        await self._server.stop()
        self._router.close()

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

    def _close(self, place: Address, listener: socket.socket) -> None:
        self._gateways.pop(place, None)
        asyncio.get_running_loop().remove_reader(listener)
        listener.close()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):  # the client has gone already
            client, _ = listener.accept()
            client.setblocking(False)
            task = asyncio.create_task(self._server.take(client))
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    async def _handle(self, request: web.BaseRequest, place: Address) -> web.StreamResponse:
        gateway = self._gateways.get(place)
        if gateway is None:
            gone = web.Response(status=404, text="this Gateway is gone\n")
            gone.force_close()
            return gone
        return await self._router.handle(request, gateway, place[1])

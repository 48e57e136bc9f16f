"""Listening sockets, and one HTTP server behind those that speak HTTP."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

from aiohttp import web

from localcluster.traffic.endpoints import Address

#: Answers a request that came to an address and port.
Handler = Callable[[web.BaseRequest, Address], Awaitable[web.StreamResponse]]
_STOP_SECONDS = 1.0


def listen(address: str, port: int) -> socket.socket:
    """A listening socket that does not block. Raises OSError."""
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(256)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


class HttpServer:
    """Serves HTTP/1 on connections that somebody else has accepted.

    Not asyncio's own server: closing that one forgets connections that it is just accepting.
    """

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._runner: web.ServerRunner | None = None

    async def start(self) -> None:
        """Be ready for connections."""
        self._runner = web.ServerRunner(
            web.Server(self._handle, access_log=None, handler_cancellation=True), shutdown_timeout=_STOP_SECONDS
        )
        await self._runner.setup()

    async def stop(self) -> None:
        """End what is under way."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def take(self, client: socket.socket) -> None:
        """Serve a connection."""
        if self._runner is None or self._runner.server is None:
            client.close()
        else:
            await asyncio.get_running_loop().connect_accepted_socket(self._runner.server, client)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        name = request.transport.get_extra_info("sockname") if request.transport else ("", 0)
        return await self._handler(request, (name[0], name[1]))

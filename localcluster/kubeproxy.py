"""Services that answer: a TCP listener on each Service's clusterIP shares connections out over the ready endpoints.

Where the address cannot be taken (ports below 1024 need a privilege on most machines), the Service still works
through the API's proxy and by its endpoints; an event on the Service says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from itertools import count

from localcluster.controllers.base import Controller, Key, Object
from localcluster.controllers.endpointslice import SERVICE_LABEL
from localcluster.registry import Registry

log = logging.getLogger(__name__)

_CHUNK = 64 * 1024
_CONNECT_SECONDS = 2.0

Listening = tuple[str, int, str]  # (address, port, name of the Service's port)


def wanted(service: Object) -> set[Listening]:
    """The addresses and ports on which the proxy listens for a Service."""
    spec = service["spec"]
    address = spec.get("clusterIP") or ""
    if not address.startswith("127.") or service["metadata"].get("deletionTimestamp"):
        return set()
    return {
        (address, int(port["port"]), port.get("name") or "")
        for port in spec.get("ports") or []
        if port.get("protocol", "TCP") == "TCP"
    }


def backends(slices: list[Object], port_name: str) -> list[tuple[str, int]]:
    """(address, port) of everyone who takes traffic for a port of a Service; (none is ready) those who still serve."""
    ready: list[tuple[str, int]] = []
    serving: list[tuple[str, int]] = []
    for each in slices:
        ports = [int(port["port"]) for port in each.get("ports") or [] if (port.get("name") or "") == port_name]
        for endpoint in each.get("endpoints") or []:
            conditions = endpoint.get("conditions") or {}
            addresses = [(address, port) for address in endpoint["addresses"] for port in ports]
            ready += addresses if conditions.get("ready", True) else []
            serving += addresses if conditions.get("serving") and conditions.get("terminating") else []
    return ready or serving


class KubeProxy(Controller):
    """Listens for every Service that has an address of its own."""

    name = "kube-proxy"
    resource = "services"

    def __init__(self, registry: Registry) -> None:
        super().__init__(registry)
        self._servers: dict[Key, dict[Listening, socket.socket]] = {}
        self._relays: set[asyncio.Task[None]] = set()
        self._turn = count()

    async def run(self) -> None:
        """Proxy until cancelled."""
        try:
            await super().run()
        finally:
            for key in list(self._servers):
                self._close(key, set(self._servers[key]))
            for task in self._relays:
                task.cancel()

    def sync(self, key: Key) -> float | None:
        """One round."""
        namespace, name = key
        service = (
            self.registry.get("services", name, namespace)
            if self.registry.exists("services", name, namespace)
            else None
        )
        want = wanted(service) if service is not None else set()
        have = self._servers.setdefault(key, {})
        self._close(key, set(have) - want)
        for listening in want - set(have):
            address, port, _ = listening
            try:
                listener = listen(address, port)
            except OSError as error:
                if service is not None:
                    message = f"cannot listen on {address}:{port}: {error.strerror}; use the API's proxy or an endpoint"
                    self.registry.record_event(service, "Warning", "FailedToListen", message, self.name)
                continue
            asyncio.get_running_loop().add_reader(listener, self._accept, key, listening[2], listener)
            have[listening] = listener
        if not have:
            self._servers.pop(key, None)
        return None

    def _close(self, key: Key, gone: set[Listening]) -> None:
        for listening in gone:
            listener = self._servers[key].pop(listening)
            asyncio.get_running_loop().remove_reader(listener)
            listener.close()

    def _accept(self, key: Key, port_name: str, listener: socket.socket) -> None:
        # Not asyncio.start_server: closing that one forgets connections that it is just accepting.
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):  # the client has gone already
            client, _ = listener.accept()
            client.setblocking(False)
            task = asyncio.create_task(self._relay(key, port_name, client))
            self._relays.add(task)
            task.add_done_callback(self._relays.discard)

    async def _relay(self, key: Key, port_name: str, client: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=client)
        with contextlib.closing(writer):
            await self._share(key, port_name, reader, writer)

    async def _share(
        self, key: Key, port_name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        namespace, name = key
        slices = self.registry.list("endpointslices", namespace, label_selector=f"{SERVICE_LABEL}={name}")
        addresses = backends(slices, port_name)
        first = next(self._turn)
        for number in range(len(addresses)):
            address, port = addresses[(first + number) % len(addresses)]
            try:
                async with asyncio.timeout(_CONNECT_SECONDS):
                    back_reader, back_writer = await asyncio.open_connection(address, port)
            except (OSError, TimeoutError):
                continue  # it has just died: the next one
            with contextlib.closing(back_writer):
                there = asyncio.create_task(_pump(reader, back_writer))
                try:
                    await _pump(back_reader, writer)  # when the answer is over, all is
                finally:
                    there.cancel()
            return


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


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    # Either side may hang up at any moment; then this direction is over.
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()

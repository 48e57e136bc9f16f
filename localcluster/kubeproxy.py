"""Services that answer: a listener on each Service's clusterIP shares requests out over the ready endpoints.

HTTP is shared out request by request (:mod:`localcluster.traffic.forward`), anything else connection by connection.
Where the address cannot be taken (ports below 1024 need a privilege on most machines), the Service still works
through the API's proxy and by its endpoints; an event on the Service says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import time

from aiohttp import web

from localcluster.controllers.base import Controller, Key, Object
from localcluster.registry import Registry
from localcluster.traffic.balancer import Balancer, Port
from localcluster.traffic.doors import HttpServer, listen
from localcluster.traffic.endpoints import Address, Endpoints
from localcluster.traffic.forward import Forwarder, Outgoing, body_of, passed_on

_CHUNK = 64 * 1024
_CONNECT_SECONDS = 2.0
#: The time in which the head of a request comes from whoever speaks HTTP at once.
_HEAD_SECONDS, _HEAD_BYTES = 0.2, 16 * 1024
_LOOK_SECONDS = 0.005
_REQUEST = re.compile(rb"(?:GET|HEAD|POST|PUT|DELETE|OPTIONS|PATCH|TRACE) \S+ HTTP/1\.[01]\r\n")
_UPGRADES = re.compile(rb"\r\nupgrade:", re.IGNORECASE)

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


def is_http(head: bytes) -> bool:
    """Does a connection begin with a whole head of an HTTP/1 request that asks for no other protocol?"""
    start, end, _ = head.partition(b"\r\n\r\n")
    return bool(end) and _REQUEST.match(start + b"\r\n") is not None and _UPGRADES.search(start) is None


class KubeProxy(Controller):
    """Listens for every Service that has an address of its own."""

    name = "kube-proxy"
    resource = "services"

    def __init__(self, registry: Registry, forwarder: Forwarder, endpoints: Endpoints) -> None:
        super().__init__(registry)
        self._forwarder, self._endpoints = forwarder, endpoints
        self._servers: dict[Key, dict[Listening, socket.socket]] = {}
        self._ports: dict[Address, Port] = {}
        self._http = HttpServer(self._answer)
        self._relays: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Proxy until cancelled."""
        await self._http.start()
        try:
            await super().run()
        finally:
            for key in list(self._servers):
                self._close(key, set(self._servers[key]))
            for task in self._relays:
                task.cancel()
            await self._http.stop()
            await self._forwarder.close()

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
            address, port, port_name = listening
            try:
                listener = listen(address, port)
            except OSError as error:
                if service is not None:
                    message = f"cannot listen on {address}:{port}: {error.strerror}; use the API's proxy or an endpoint"
                    self.registry.record_event(service, "Warning", "FailedToListen", message, self.name)
                continue
            self._ports[address, port] = (namespace, name, port_name)
            asyncio.get_running_loop().add_reader(listener, self._accept, (namespace, name, port_name), listener)
            have[listening] = listener
        if not have:
            self._servers.pop(key, None)
        return None

    def _close(self, key: Key, gone: set[Listening]) -> None:
        for listening in gone:
            listener = self._servers[key].pop(listening)
            self._ports.pop(listening[:2], None)
            asyncio.get_running_loop().remove_reader(listener)
            listener.close()

    def _accept(self, port: Port, listener: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):  # the client has gone already
            client, _ = listener.accept()
            client.setblocking(False)
            task = asyncio.create_task(self._take(port, client))
            self._relays.add(task)
            task.add_done_callback(self._relays.discard)

    async def _take(self, port: Port, client: socket.socket) -> None:
        if is_http(await _head_of(client)):
            await self._http.take(client)
            return
        reader, writer = await asyncio.open_connection(sock=client)
        with contextlib.closing(writer):
            await self._relay(port, reader, writer)

    async def _answer(self, request: web.BaseRequest, place: Address) -> web.StreamResponse:
        port = self._ports.get(place)
        if port is None:
            gone = web.Response(status=503, text="this Service is gone\n")
            gone.force_close()
            return gone
        headers = passed_on(request.headers)
        outgoing = Outgoing(request.method, request.raw_path, headers, await body_of(request))
        return await self._forwarder.forward(request, outgoing, port)

    async def _relay(self, port: Port, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Join a connection with one to an endpoint; one that takes none has not been sent anything."""
        balancer, tried = self._forwarder.balancer, list[Address]()
        while (address := balancer.choose(port, self._endpoints.of(*port), tried)) is not None:
            tried.append(address)
            endpoint, began = balancer.begin(port, address), time.perf_counter()
            word, failed = "canceled", None
            try:
                async with asyncio.timeout(_CONNECT_SECONDS):
                    back_reader, back_writer = await asyncio.open_connection(*address)
                with contextlib.closing(back_writer):
                    await _join(reader, writer, back_reader, back_writer)
                word, failed = "connection", False
                return
            except (OSError, TimeoutError):
                word, failed = "broken", True  # it has just died: the next one
            finally:
                balancer.end(endpoint, word, time.perf_counter() - began, failed=failed)


def make_forwarder(registry: Registry) -> tuple[Forwarder, Endpoints]:
    """What Services and Gateways share: endpoints and one balancer of them."""
    endpoints = Endpoints(registry)
    return Forwarder(endpoints, Balancer()), endpoints


async def _head_of(client: socket.socket) -> bytes:
    """What a client says first, left where it is; what has come by then where it takes its time."""
    head, end = b"", time.monotonic() + _HEAD_SECONDS
    while time.monotonic() < end:
        try:
            head = client.recv(_HEAD_BYTES, socket.MSG_PEEK)
        except BlockingIOError:
            # Nothing has come yet.
            await asyncio.sleep(_LOOK_SECONDS)
            continue
        except OSError:
            break
        if not head or b"\r\n\r\n" in head or len(head) == _HEAD_BYTES:
            break
        await asyncio.sleep(_LOOK_SECONDS)
    return head


async def _join(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    back_reader: asyncio.StreamReader,
    back_writer: asyncio.StreamWriter,
) -> None:
    there = asyncio.create_task(_pump(reader, back_writer))
    try:
        await _pump(back_reader, writer)  # when the answer is over, all is
    finally:
        there.cancel()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    # Either side may hang up at any moment; then this direction is over.
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()

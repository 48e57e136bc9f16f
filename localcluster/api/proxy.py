"""``pods/proxy`` and ``services/proxy``: HTTP to a pod through the API server.

https://kubernetes.io/docs/tasks/access-application-cluster/access-cluster-services/#manually-constructing-apiserver-proxy-urls
"""

from __future__ import annotations

import asyncio
import os
import random
import re
from collections.abc import AsyncGenerator
from typing import Any

import aiohttp
from yarl import URL

from kubevalues.numbers import whole
from localcluster.api.http import Request, Stream
from localcluster.api.requestinfo import Target
from localcluster.errors import bad_request, not_found, unavailable
from localcluster.registry import Registry

Obj = dict[str, Any]

#: Headers that belong to one connection, and the credential, which is for the API server alone.
_NOT_FORWARDED = frozenset(
    ("connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "host", "authorization", "expect")
)
_NOT_RETURNED = frozenset(("connection", "keep-alive", "transfer-encoding", "upgrade", "trailer"))
_CONNECT_SECONDS = 5.0
#: A body for a pod may be larger than an object.
MAX_PROXIED_BODY = 64 * 1024 * 1024


def parse_target_name(name: str) -> tuple[str, str, str]:
    """(scheme, name, port) of ``name``, ``name:port`` or ``scheme:name:port``. Raises StatusError 400."""
    pieces = name.split(":")
    if len(pieces) == 1:
        return "http", pieces[0], ""
    if len(pieces) == 2:
        return "http", pieces[0], pieces[1]
    if len(pieces) == 3 and pieces[0] in ("http", "https", ""):
        return pieces[0] or "http", pieces[1], pieces[2]
    raise bad_request(f"invalid proxy target {name!r}: write name, name:port or scheme:name:port")


def _pod_address(registry: Registry, target: Target) -> tuple[str, str, int]:
    scheme, name, port = parse_target_name(target.name or "")
    pod = registry.get("pods", name, target.namespace)
    address = (pod.get("status") or {}).get("podIP")
    if not address:
        raise bad_request(f"address not allowed: pod {name} has no address yet")
    if not port:
        declared = [each for container in pod["spec"]["containers"] for each in container.get("ports") or ()]
        return scheme, address, int(declared[0]["containerPort"]) if declared else 80
    if (number := whole(port)) is not None:
        return scheme, address, number
    for container in pod["spec"]["containers"]:
        for each in container.get("ports") or ():
            if each.get("name") == port:
                return scheme, address, int(each["containerPort"])
    raise not_found("pods", f"{name}:{port}")


def _service_address(registry: Registry, target: Target) -> tuple[str, str, int]:
    scheme, name, port = parse_target_name(target.name or "")
    service = registry.get("services", name, target.namespace)
    ports = service["spec"].get("ports") or []
    matching = [each for each in ports if port in ("", each.get("name"), str(each["port"]))]
    if not matching:
        raise unavailable(f'no service port "{port}" found for service "{name}"')
    label = f"kubernetes.io/service-name={name}"
    slices = registry.list("endpointslices", target.namespace, label_selector=label)
    addresses = [
        (endpoint["addresses"][0], int(each["port"]))
        for piece in slices
        for each in piece.get("ports") or ()
        if (each.get("name") or "") == (matching[0].get("name") or "")
        for endpoint in piece.get("endpoints") or ()
        if (endpoint.get("conditions") or {}).get("ready", True) is not False
    ]
    if not addresses:
        raise unavailable(f'no endpoints available for service "{name}"')
    address, number = random.choice(addresses)  # noqa: S311 - balances load
    return scheme, address, number


def trouble(error: Exception, address: str) -> str:
    """The failure on the way to a pod, in the words of Go's HTTP client: clients tell by them if the request was sent.

    An error of the operation "dial" came before anything was sent; the others may have come after the pod acted.
    """
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno
        return f"dial tcp {address}: connect: {os.strerror(number).lower() if number else error.os_error}"
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return f"dial tcp {address}: i/o timeout"
    if isinstance(error, ConnectionResetError | aiohttp.ClientOSError):
        return f"read tcp {address}: read: connection reset by peer"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "EOF"
    return f"net/http: HTTP/1.x transport connection broken: {error}"


class Proxy:
    """Forwards requests; one client session for all of them."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._session:
            await self._session.close()

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS)
            connector = aiohttp.TCPConnector(limit=0, force_close=True, ssl=False)
            self._session = aiohttp.ClientSession(
                timeout=timeout, connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._session

    async def _call(self, method: str, url: URL, headers: list[tuple[str, str]], body: bytes) -> aiohttp.ClientResponse:
        return await self._client().request(method, url, headers=headers, data=body or None, allow_redirects=False)

    async def handle(self, target: Target, request: Request) -> Stream:
        """Forward a request and stream its answer. Raises StatusError 400, 404 and 503."""
        address_of = _pod_address if target.resource == "pods" else _service_address
        scheme, address, port = address_of(self._registry, target)
        # The raw path is passed on as it came: decoding and encoding it again could change it.
        match = re.search(r"/proxy(/.*)?$", request.raw_path.partition(f"/{target.resource}/")[2])
        path = (match.group(1) if match else None) or "/"
        query = f"?{request.raw_query}" if request.raw_query else ""
        headers = [(name, value) for name, value in request.headers.items() if name not in _NOT_FORWARDED]
        headers += [("Host", f"{address}:{port}"), ("X-Forwarded-Uri", request.path)]
        url = URL(f"{scheme}://{address}:{port}{path}{query}", encoded=True)
        body = await request.body(MAX_PROXIED_BODY)
        call = asyncio.ensure_future(self._call(request.method, url, headers, body))
        gone = asyncio.ensure_future(request.disconnected())
        try:
            await asyncio.wait((call, gone), return_when=asyncio.FIRST_COMPLETED)
            if not call.done():
                raise unavailable("the client did not wait for the answer")
            reply = call.result()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise unavailable(f"error trying to reach service: {trouble(error, f'{address}:{port}')}") from error
        finally:
            # A pod that never answers must not hold the request of a client that has left.
            for task in (call, gone):
                task.cancel()
        stream = Stream(_pieces(reply), reply.status, {})
        del stream.headers["content-type"]
        for name, value in reply.headers.items():
            if name.lower() not in _NOT_RETURNED:
                stream.headers.append(name, value)
        return stream


async def _pieces(reply: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
    try:
        async for piece in reply.content.iter_any():
            yield piece
    finally:
        reply.close()

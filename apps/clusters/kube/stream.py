"""The asynchronous side of the adapter, for the watcher: paged lists and watches as plain JSON.

aiohttp itself instead of `kubernetes.aio`: its watch has no bookmarks, no time limit on a silent socket, and parses
each event into a typed model.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp

from apps.clusters.kube import paths
from apps.clusters.kube.client import PAGE
from apps.clusters.kube.connection import Connection, tls_context
from apps.clusters.kube.errors import KubeError, Unreachable, error_from
from apps.clusters.kube.transport import CONNECT_SECONDS, MAX_ANSWER_BYTES, decode, unreachable

# One event is one line; objects are at most 1.5 MB in etcd, and twice that as escaped JSON is plenty.
MAX_EVENT_BYTES = 8 * 1024 * 1024

Object = dict[str, Any]


class StreamClient:
    """Lists and watches of one cluster. Belongs to one event loop; close it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._watches: set[aiohttp.ClientResponse] = set()
        # Each kind holds a connection for its watch; a few more serve lists, probes and metrics.
        connector = aiohttp.TCPConnector(limit=24, ssl=tls_context(connection), keepalive_timeout=4)
        self._session = aiohttp.ClientSession(
            connector=connector, auto_decompress=True, cookie_jar=aiohttp.DummyCookieJar()
        )

    async def close(self) -> None:
        """Close all connections, and with them all watches."""
        await self._session.close()

    def dial(self, address: str) -> None:
        """Use another (checked) address of the same server from now on."""
        self._connection = replace(self._connection, address=address)

    async def version(self, seconds: float) -> str:
        """The server's version, such as "v1.37.1"; `seconds` bound the whole call."""
        found = await self._get("/version", {}, seconds)
        return str(found.get("gitVersion") or "")

    async def list(
        self, api_version: str, kind: str, *, resource_version: str = "", seconds: float = 30.0
    ) -> AsyncIterator[tuple[list[Object], str]]:
        """Pages of a whole kind: (objects, the list's resource version); `seconds` bound each.

        Raises Gone when a page has expired.
        """
        path, token = paths.collection(api_version, kind), ""
        while True:
            query = {"limit": str(PAGE)} | ({"continue": token} if token else {})
            if resource_version and not token:
                query["resourceVersion"] = resource_version
            page = await self._get(path, query, seconds)
            metadata = page.get("metadata") or {}
            token = metadata.get("continue") or ""
            yield page.get("items") or [], str(metadata.get("resourceVersion") or "")
            if not token:
                return

    async def watch(
        self, api_version: str, kind: str, resource_version: str, *, server_seconds: int, grace_seconds: float
    ) -> AsyncIterator[Object]:
        """Events after `resource_version`, bookmarks included, until the server ends the watch.

        The server is asked to end it after `server_seconds`; a watch that outlives that by `grace_seconds` is taken
        for half-open and raises Unreachable. An ERROR event raises its error, Gone for an expired version.
        """
        query = {
            "watch": "true",
            "resourceVersion": resource_version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(server_seconds),
        }
        path = paths.collection(api_version, kind)
        limits = aiohttp.ClientTimeout(total=server_seconds + grace_seconds, sock_connect=CONNECT_SECONDS)
        async with self._request(path, query, limits) as response:
            self._watches.add(response)
            try:
                async for line in _lines(response.content):
                    event = decode(line)
                    if event.get("type") == "ERROR":
                        status = event.get("object") or {}
                        raise error_from(int(status.get("code") or 500), json.dumps(status).encode())
                    yield event
            finally:
                self._watches.discard(response)

    def break_watches(self) -> None:
        """Close the connections of all watches; each of them raises Unreachable."""
        for response in list(self._watches):
            response.close()

    async def usage(self, kind: str) -> Sequence[Object]:
        """All NodeMetrics or PodMetrics. Raises NotFound where there is no metrics-server."""
        return [obj async for page, _ in self.list("metrics.k8s.io/v1beta1", kind, seconds=10.0) for obj in page]

    async def _get(self, path: str, query: dict[str, str], seconds: float) -> Object:
        limits = aiohttp.ClientTimeout(total=seconds, sock_connect=CONNECT_SECONDS)
        async with self._request(path, query, limits) as response:
            return decode(await _body(response))

    @asynccontextmanager
    async def _request(
        self, path: str, query: dict[str, str], limits: aiohttp.ClientTimeout
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        try:
            async with self._session.get(
                f"{self._connection.pinned_url}{path}",
                params=query,
                # Asked anew each time: a token of the pod's own service account rotates in its file.
                headers=self._connection.headers(),
                timeout=limits,
                allow_redirects=False,
                server_hostname=self._connection.expected_name,
            ) as response:
                if not 200 <= response.status < 300:
                    pause = response.headers.get("Retry-After")
                    raise error_from(response.status, await _body(response), retry_after=pause)
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise unreachable(error) from error


async def _body(response: aiohttp.ClientResponse) -> bytes:
    parts, size = [], 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            raise Unreachable(0, "AnswerTooLarge", f"The answer is larger than {MAX_ANSWER_BYTES} bytes.")
        parts.append(part)
    return b"".join(parts)


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Complete lines. aiohttp's own reader refuses lines above its buffer, and a pod may be larger than that."""
    rest = bytearray()
    async for part in content.iter_any():
        rest += part
        if b"\n" in part:
            *complete, last = bytes(rest).split(b"\n")
            rest = bytearray(last)
            for line in complete:
                if line:
                    yield line
            # Many events in one packet must not keep other clusters waiting.
            await asyncio.sleep(0)
        if len(rest) > MAX_EVENT_BYTES:
            raise KubeError(0, "EventTooLarge", f"A watch event is larger than {MAX_EVENT_BYTES} bytes.")

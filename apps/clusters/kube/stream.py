"""The asynchronous side of the adapter, for the watcher: paged lists and watches as plain JSON.

aiohttp itself instead of `kubernetes.aio`: its watch has no bookmarks and no time limit on a silent socket, and its
models cost thirteen times the CPU for each event (decision 8).
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from typing import Any

import aiohttp

from apps.clusters.kube import answers, identity, paths
from apps.clusters.kube.client import MAX_VERSION, PAGE, groups_in
from apps.clusters.kube.connection import Connection, tls_context
from apps.clusters.kube.errors import Forbidden, KubeError, NotServed, NotTheApiServer, Unreachable, error_from
from apps.clusters.kube.failures import unreachable
from apps.clusters.kube.identity import Identity
from apps.clusters.kube.opinions import Opinions
from apps.clusters.kube.transport import CONNECT_SECONDS, MAX_ANSWER_BYTES
from apps.core.text.jsontext import plain

# One event is one line; objects are at most 1.5 MB in etcd, and twice that as escaped JSON is plenty.
MAX_EVENT_BYTES = 8 * 1024 * 1024
# Parsing holds the event loop, and with it all clusters, for about 10 ms a megabyte: larger pages are asked for anew
# with fewer objects in them.
MAX_PAGE_BYTES = 8 * 1024 * 1024
# metrics-server knows no pages: 10,000 pods are about 5 MB.
MAX_METRICS_BYTES = 32 * 1024 * 1024
# At most this much is read of a refusing server's answer.
MAX_ERROR_BYTES = 64 * 1024
LARGE_PAGE_BYTES = 256 * 1024
SMALLEST_PAGE = 20

Object = dict[str, Any]


class StreamClient:
    """Lists and watches of one cluster. Belongs to one event loop; close it.

    With an `identity`, `confirm_identity` tells whether that cluster answers; without one it takes the first that does.
    """

    def __init__(
        self, connection: Connection, identity: Identity | None = None, opinions: Opinions | None = None
    ) -> None:
        self._connection = connection
        self._cluster = identity or Identity()
        self._opinions = opinions or Opinions()
        self._watches: set[aiohttp.ClientResponse] = set()
        # Each kind holds a connection for its watch; a few more serve lists, probes and metrics. They are kept for
        # longer than the pause between two probes: with fifty clusters handshakes would be most of what is done.
        context = tls_context(connection)
        self._session = _session(aiohttp.TCPConnector(limit=24, ssl=context, keepalive_timeout=10))
        # A standing connection is trusted for as long as it stands: only a new one shows certificates.
        self._afresh = _session(aiohttp.TCPConnector(limit=1, ssl=context, force_close=True))

    async def close(self) -> None:
        """Close all connections, and with them all watches."""
        await self._session.close()
        await self._afresh.close()

    def dial(self, address: str) -> None:
        """Use another (checked) address of the same server from now on."""
        self._connection = replace(self._connection, address=address)

    async def version(self, seconds: float) -> str:
        """The server's version, such as "v1.37.1"; `seconds` bound the whole call."""
        version = plain(answers.decode(await self._fetch("/version", {}, seconds)).get("gitVersion"), MAX_VERSION)
        if not version:
            raise NotTheApiServer(200)
        return version

    async def confirm_identity(self, seconds: float, *, afresh: bool = False) -> None:
        """Ask now whether the cluster is the registered one; `seconds` bound the call. Raises AnotherCluster.

        `afresh` does so by a connection of its own, so that both sides show their certificates again.
        """
        asked_at, session = time.monotonic(), self._afresh if afresh else self._session
        try:
            body = await self._fetch(paths.item("v1", "Namespace", identity.NAMESPACE), {}, seconds, session=session)
        except Forbidden as error:
            self._cluster.withheld(error)
        else:
            self._cluster.confirm(answers.item(body, "v1", "Namespace", identity.NAMESPACE), asked_at)

    async def know_cluster(self, seconds: float) -> None:
        """The same, unless it has just been asked."""
        if not self._cluster.is_fresh:
            await self.confirm_identity(seconds)

    async def list(
        self,
        api_version: str,
        kind: str,
        *,
        resource_version: str = "",
        seconds: float = 30.0,
        large: asyncio.Semaphore | None = None,
        page_bytes: int = MAX_PAGE_BYTES,
    ) -> AsyncGenerator[tuple[list[Object], str], None]:
        """Pages of a whole kind: (objects, the list's resource version); `seconds` bound each.

        `large` is held while a large page is in the caller's hands. Raises Gone when a page has expired, NotServed when
        the server does not list this API among its own.
        """
        path, token, limit = paths.collection(api_version, kind), "", PAGE
        while True:
            query = {"limit": str(limit)} | ({"continue": token} if token else {})
            if resource_version and not token:
                query["resourceVersion"] = resource_version
            try:
                body = await self._fetch(path, query, seconds, page_bytes)
            except NotTheApiServer as error:
                if error.http_status == 404 and not await self._serves(api_version, seconds):
                    raise NotServed(404, "NotServed", f"The cluster serves no {api_version}.") from error
                raise
            except Unreachable as error:
                if error.reason != "AnswerTooLarge" or limit <= SMALLEST_PAGE:
                    raise
                # Out of its cache ("0") a server may answer with everything at once, whatever the limit says:
                # https://kubernetes.io/docs/reference/using-api/api-concepts/#semantics-for-get-and-list
                resource_version, limit = "", limit if resource_version and not token else limit // 5
                continue
            async with large if large is not None and len(body) > LARGE_PAGE_BYTES else nullcontext():
                items, metadata = answers.page(body, api_version, kind)
                del body
                token = str(metadata.get("continue") or "")
                version = str(metadata.get("resourceVersion") or "")
                del metadata
                yield items, version
                # The next page is awaited without this one in memory.
                del items
            if not token:
                return

    async def _serves(self, api_version: str, seconds: float) -> bool:
        """Whether the server lists this API group: its 404 alone could be any web server's."""
        group, _, version = api_version.rpartition("/")
        return not group or version in groups_in(await self._fetch("/apis", {}, seconds)).get(group, ())

    async def watch(
        self,
        api_version: str,
        kind: str,
        resource_version: str,
        *,
        server_seconds: int,
        grace_seconds: float,
        opened: Callable[[], None] = lambda: None,
    ) -> AsyncGenerator[Object, None]:
        """Events after `resource_version`, bookmarks included, until the server ends the watch.

        `opened` is called when the server has accepted it. The server is asked to end it after `server_seconds`; a
        watch that outlives that by `grace_seconds` is taken for half-open and raises Unreachable. An ERROR event raises
        its error, Gone for an expired version.
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
            opened()
            try:
                async for line in _lines(response.content):
                    event = answers.decode(line)
                    status = event.get("object")
                    if not isinstance(status, dict):
                        raise NotTheApiServer(200)
                    if event.get("type") == "ERROR":
                        code = status.get("code")
                        error = error_from(code if isinstance(code, int) else 500, answers.encode(status))
                        raise self._opinions.judge("WATCH", paths.subject(path), error)
                    yield event
            finally:
                self._watches.discard(response)

    def break_watches(self) -> None:
        """Close the connections of all watches; each of them raises Unreachable."""
        for response in list(self._watches):
            response.close()

    async def usage(self, kind: str) -> Sequence[Object]:
        """All NodeMetrics or PodMetrics. Raises NotServed where there is no metrics-server."""
        pages = self.list("metrics.k8s.io/v1beta1", kind, seconds=10.0, page_bytes=MAX_METRICS_BYTES)
        return [obj async for page, _ in pages for obj in page]

    async def _fetch(
        self,
        path: str,
        query: dict[str, str],
        seconds: float,
        most: int = MAX_ANSWER_BYTES,
        session: aiohttp.ClientSession | None = None,
    ) -> bytes:
        limits = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
        try:
            # Not aiohttp's own limit: while a head is awaited that takes a cancellation of the same moment for its own,
            # and who should have ended goes on.
            async with asyncio.timeout(seconds), self._request(path, query, limits, session) as response:
                return await _body(response, most)
        except TimeoutError as error:
            raise unreachable(error, self._connection) from error

    @asynccontextmanager
    async def _request(
        self,
        path: str,
        query: dict[str, str],
        limits: aiohttp.ClientTimeout,
        session: aiohttp.ClientSession | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        try:
            async with (session or self._session).get(
                f"{self._connection.pinned_url}{path}",
                params=query,
                # Asked anew each time: a token of the pod's own service account rotates in its file.
                headers=self._connection.headers(),
                timeout=limits,
                allow_redirects=False,
                server_hostname=self._connection.expected_name,
            ) as response:
                about = paths.subject(path)
                method = "WATCH" if "watch" in query else "GET"
                if not 200 <= response.status < 300:
                    pause = response.headers.get("Retry-After")
                    error = error_from(response.status, await _beginning(response), retry_after=pause, about=about)
                    raise self._opinions.judge(method, about, error)
                self._opinions.accepted(method, about)
                yield response
        except aiohttp.ServerDisconnectedError as error:
            raise unreachable(ConnectionResetError(), self._connection) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise unreachable(error, self._connection) from error


def _session(connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=connector, auto_decompress=True, cookie_jar=aiohttp.DummyCookieJar())


async def _body(response: aiohttp.ClientResponse, most: int = MAX_ANSWER_BYTES) -> bytes:
    parts, size = [], 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > most:
            raise Unreachable(0, "AnswerTooLarge", f"The answer is larger than {most} bytes.")
        parts.append(part)
    return b"".join(parts)


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    beginning = b""
    async for part in response.content.iter_any():
        beginning += part
        if len(beginning) > MAX_ERROR_BYTES:
            break
    return beginning[:MAX_ERROR_BYTES]


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

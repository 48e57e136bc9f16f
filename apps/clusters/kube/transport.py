"""The synchronous transport: the official client's `ApiClient` sends, plain JSON goes in and comes out.

What is kept of it are requests; its typed models drop fields that they do not know and cost seconds on large lists.
"""

import time
from dataclasses import dataclass
from typing import Any

import urllib3

from apps.clusters.kube import official, paths
from apps.clusters.kube.answers import encode
from apps.clusters.kube.connection import Connection
from apps.clusters.kube.errors import Invalid, NotTheApiServer, RefusedOnce, Unauthorized, Unreachable, error_from
from apps.clusters.kube.failures import unreachable
from apps.clusters.kube.opinions import Opinions
from apps.core.database import connections
from apps.core.work import contact

CONNECT_SECONDS = 3.0
READ_SECONDS = 10.0
# urllib3 raises these when there was no connection on which anything could have been sent.
_NOT_CONNECTED = (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError)
MAX_ANSWER_BYTES = 128 * 1024 * 1024
# A read limit starts anew with each byte: this bounds an answer that drips in.
BODY_SECONDS = 60.0
APPLY = "application/apply-patch+yaml"


@dataclass(frozen=True)
class Answer:
    """An HTTP answer: status, headers with lower-case names, body."""

    status: int
    headers: dict[str, str]
    body: bytes


class Transport:
    """Sends requests to one API server. Threads may share it. Never retries and never follows a redirect.

    With a `budget` in seconds, all its requests together take no longer than that. With `opinions` a refusal is
    believed only when it is said again a while later.
    """

    def __init__(
        self, connection: Connection, budget: float | None = None, *, opinions: Opinions | None = None
    ) -> None:
        self.opinions = opinions
        self._connection = connection
        self._api = official.api_client(connection)
        self._failures = official.failures()
        # From here on: the first client of a process waits for an import.
        self._end = None if budget is None else time.monotonic() + budget

    def call(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
        timeout: float = READ_SECONDS,
    ) -> bytes:
        """The body of a 2xx answer to a JSON request. Raises a KubeError for anything else."""
        answer = self._send(
            method, path, query, body, {"Content-Type": content_type} if body is not None else {}, timeout
        )
        about = paths.subject(path)
        if not 200 <= answer.status < 300:
            error = error_from(answer.status, answer.body, retry_after=answer.headers.get("retry-after"), about=about)
            judged = self.opinions.judge(method, about, error) if self.opinions else error
            if not isinstance(judged, Unreachable | Unauthorized | RefusedOnce):
                contact.answered()
            raise judged
        if answer.headers.get("content-type", "").startswith("text/html"):
            raise NotTheApiServer(answer.status, answer.body)
        contact.answered()
        if self.opinions:
            self.opinions.accepted(method, about)
        return answer.body

    def raw(self, method: str, path: str, *, body: bytes, content_type: str, timeout: float) -> Answer:
        """Any answer to a request whose body is sent byte for byte. Raises Unreachable when there is none."""
        headers = {"Content-Type": content_type, "Accept": "*/*"} if body else {"Accept": "*/*"}
        return self._send(method, path, None, body, headers, timeout)

    def close(self) -> None:
        """Close the pooled connections."""
        self._api.close()

    def _send(
        self, method: str, path: str, query: dict[str, str] | None, body: Any, headers: dict[str, str], timeout: float
    ) -> Answer:
        text = body if isinstance(body, bytes) or body is None else _encoded(body)
        connections.let_go()
        contact.tried()
        now = time.monotonic()
        end = now + BODY_SECONDS if self._end is None else self._end
        if now >= end:
            raise _too_slow()
        limits = (min(CONNECT_SECONDS, end - now), min(timeout, end - now))
        # The client would write a dict with escapes, and an apply is read as YAML, which has no surrogate pairs.
        sent = text if headers.get("Content-Type") == APPLY else body
        try:
            return _read(self._ask(method, path, query, sent, headers, limits), end)
        except self._failures as error:
            failure = unreachable(error, self._connection)
            failure.sent = not isinstance(error, _NOT_CONNECTED) and failure.reason != "CertificateInvalid"
            raise failure from error

    def _ask(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None,
        body: Any,
        headers: dict[str, str],
        limits: tuple[float, float],
    ) -> Any:
        """The answer, its body unread; `limits` are the seconds to connect and to wait for each part of it."""
        complete = self._connection.headers() | headers
        method, url, complete, *_ = self._api.param_serialize(method, path, query_params=query, header_params=complete)
        if not isinstance(body, bytes) or complete.get("Content-Type") == APPLY:
            return self._api.call_api(method, url, complete, body, _request_timeout=limits).response
        # Past the client, which takes no JSON as bytes.
        connect, read = limits
        return self._api.rest_client.pool_manager.request(
            method,
            url,
            body=body or None,
            headers=complete,
            timeout=urllib3.Timeout(connect=connect, read=read),
            redirect=False,
            preload_content=False,
        )


def _encoded(body: Any) -> bytes:
    try:
        return encode(body)
    except ValueError as error:
        message = "A value holds an invalid text, such as half of an emoji, or an invalid number, such as infinity."
        raise Invalid(0, "BadText", message) from error


def _read(response: Any, end: float) -> Answer:
    body, complete = bytearray(), False
    try:
        while part := response.read1(1 << 16, decode_content=True):
            body += part
            if len(body) > MAX_ANSWER_BYTES:
                raise Unreachable(0, "AnswerTooLarge", f"The answer is larger than {MAX_ANSWER_BYTES} bytes.")
            if time.monotonic() > end:
                raise _too_slow()
        complete = True
    finally:
        if not complete:
            response.close()
        response.release_conn()
    return Answer(response.status, {name.lower(): value for name, value in response.headers.items()}, bytes(body))


def _too_slow() -> Unreachable:
    return Unreachable(0, "Timeout", "The API server answers too slowly.")

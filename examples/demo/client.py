"""A small REST client: bearer token, JSON, problem details as exceptions, retries where repeating is safe."""

import http.client
import json
import threading
import time
import uuid
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

TIMEOUT_S = 30.0
RETRY_FOR_S = 60.0
RETRY_EVERY_S = 0.25
# The answers of a server that is starting or overloaded: come again.
BUSY = frozenset({429, 502, 503, 504})


@dataclass
class ApiError(Exception):
    """The server said no: an RFC 9457 problem."""

    status: int
    title: str
    detail: str
    request: str

    def __str__(self) -> str:
        return f"{self.request} → {self.status} {self.title}: {self.detail}"


class BrokenConnectionError(Exception):
    """No answer came: the server may or may not have acted."""


class Api:
    """One server and one token. May be used by several threads: each keeps a connection of its own."""

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        self._local = threading.local()

    def get(self, path: str, **query: str | int) -> Any:
        """Read; repeated while the server can't be reached or is busy."""
        return self._persist("GET", f"{path}?{urlencode(query)}" if query else path, None, {})

    def list(self, path: str, **query: str | int) -> list[Any]:
        """All results of a list, page by page."""
        reply = self.get(path, **query)
        results: list[Any] = list(reply["results"])
        while reply.get("next"):
            following = urlsplit(reply["next"])
            reply = self.get(f"{following.path}?{following.query}")
            results += reply["results"]
        return results

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Write once: an Idempotency-Key makes repeating safe while the server can't be reached or is busy."""
        return self._persist("POST", path, body, {"Idempotency-Key": uuid.uuid4().hex})

    def send(self, method: str, path: str, body: dict[str, Any] | None = None, **headers: str) -> Any:
        """One request, never repeated. Raises ApiError for a refusal, BrokenConnectionError when no answer came."""
        content = None if body is None else json.dumps(body, ensure_ascii=False).encode()
        sent = {**self._headers, **headers, **({"Content-Type": "application/json"} if content else {})}
        connection = self._connection()
        try:
            connection.request(method, path, content, sent)
            reply = connection.getresponse()
            text = reply.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise BrokenConnectionError(f"{method} {path}: {error or type(error).__name__}") from error
        if reply.status >= 400:
            raise _problem(reply.status, text, f"{method} {path}")
        return json.loads(text) if text else None

    def _persist(self, method: str, path: str, body: dict[str, Any] | None, headers: dict[str, str]) -> Any:
        deadline = time.monotonic() + RETRY_FOR_S
        while True:
            try:
                return self.send(method, path, body, **headers)
            except BrokenConnectionError:
                if time.monotonic() > deadline:
                    raise
            except ApiError as error:
                if error.status not in BUSY or time.monotonic() > deadline:
                    raise
            time.sleep(RETRY_EVERY_S)

    def _connection(self) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)
            self._local.connection = connection
        return connection


def _problem(status: int, text: bytes, request: str) -> ApiError:
    try:
        said = json.loads(text)
    except ValueError:
        said = {}
    detail = " ".join(str(said[key]) for key in ("detail", "hint") if said.get(key))
    return ApiError(status, str(said.get("title", "error")), detail or text[:300].decode(errors="replace"), request)

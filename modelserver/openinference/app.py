"""The ASGI app: the Open Inference Protocol's addresses. It answers before the model is there, and says so."""

import asyncio
import json
import logging
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

from .errors import InvalidRequest
from .metrics import CONTENT_TYPE, Metrics
from .model import Model
from .protocol import metadata, predict

log = logging.getLogger(__name__)

SERVER = {"name": "flotilla-model-server", "version": "1", "extensions": []}
LARGEST_BODY = 4 * 1024 * 1024
MODEL_PATH = re.compile(r"/v2/models/(?P<name>[^/]+)(?:/versions/(?P<version>[^/]+))?(?P<rest>/ready|/infer)?")

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Reply = tuple[int, dict[str, Any]]


class App:
    """One version of one model."""

    def __init__(self, name: str, version: str) -> None:
        self.name = name
        self.version = version
        self.model: Model | None = None
        self.draining = False
        self._metrics = Metrics()

    @property
    def ready(self) -> bool:
        """True while new requests are welcome."""
        return self.model is not None and not self.draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        kind = b"application/json"
        if scope["path"] == "/metrics" and scope["method"] in ("GET", "HEAD"):
            status, body, kind = 200, self._metrics.text().encode(), CONTENT_TYPE.encode()
        else:
            status, answer = await self._reply(scope["method"], scope["path"], receive)
            body = json.dumps(answer).encode()
        headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
        if self.draining:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def _reply(self, method: str, path: str, receive: Receive) -> Reply:
        infer = path.endswith("/infer")
        if method not in (("POST",) if infer else ("GET", "HEAD")):
            return 405, {"error": f"{path} takes {'POST' if infer else 'GET'}, not {method}."}
        match path.rstrip("/"):
            case "/v2":
                return 200, SERVER
            case "/v2/health/live":
                return 200, {"live": True}
            case "/v2/health/ready":
                return self._readiness({"ready": self.ready})
        asked = MODEL_PATH.fullmatch(path.rstrip("/"))
        if asked is None:
            return 404, {"error": f"There is nothing at {path}."}
        if asked["name"] != self.name or asked["version"] not in (None, self.version):
            return 404, {"error": f"Only version {self.version} of model {self.name} is served here."}
        if asked["rest"] == "/ready":
            return self._readiness({"name": self.name, "ready": self.ready})
        if asked["rest"] == "/infer":
            return await self._counted(receive)
        if self.model is None:
            return self._loading()
        return 200, metadata(self.model, self.name, self.version)

    def _readiness(self, answer: dict[str, Any]) -> Reply:
        return (200 if self.ready else 503), answer

    def _loading(self) -> Reply:
        return 503, {"error": f"Model {self.name} is still being loaded. Try again in a moment."}

    async def _counted(self, receive: Receive) -> Reply:
        began, status = time.perf_counter(), 500
        self._metrics.begin()
        try:
            status, answer = await self._infer(self.model, receive) if self.model else self._loading()
        finally:
            self._metrics.end(status, time.perf_counter() - began)
        return status, answer

    async def _infer(self, model: Model, receive: Receive) -> Reply:
        body = await read_body(receive)
        if body is None:
            return 413, {"error": f"The body is larger than {LARGEST_BODY // 2**20} MiB."}
        try:
            # In a thread: a model that thinks for seconds must not keep the probes waiting.
            return 200, await asyncio.to_thread(predict, model, self.name, self.version, body)
        except InvalidRequest as error:
            return 400, {"error": str(error)}
        except Exception as error:
            # A model may raise anything, and that is an answer, too.
            log.exception("a prediction failed")
            return 500, {"error": f"The model failed: {type(error).__name__}: {error}"}


async def read_body(receive: Receive) -> bytes | None:
    """The whole body of a request, or None when it is too large."""
    body = bytearray()
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > LARGEST_BODY:
            return None
        more = message.get("more_body", False)
    return bytes(body)

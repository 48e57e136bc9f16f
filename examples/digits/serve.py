"""Serve one registered digits model: a plain ASGI app that speaks the Open Inference Protocol, version 2.

Environment: HOST and PORT to listen on; FLOTILLA_MODEL_NAME and FLOTILLA_MODEL_VERSION say which model;
MLFLOW_TRACKING_URI and MLFLOW_TRACKING_TOKEN where to fetch it; DRAIN_SECONDS (2) how long to go on answering
after SIGTERM, while load balancers take note.
"""

import asyncio
import json
import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any

import uvicorn
from lean import without_pandas
from model_store import ModelError, Registry
from protocol import InvalidRequest, metadata, predict

log = logging.getLogger("digits.serve")

LARGEST_BODY = 4 * 1024 * 1024
MODEL_PATH = re.compile(r"/v2/models/(?P<name>[^/]+)(?:/versions/(?P<version>[^/]+))?(?P<rest>/ready|/infer)?")

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Reply = tuple[int, dict[str, Any]]


@dataclass(frozen=True)
class Settings:
    """What the environment asks for."""

    host: str
    port: int
    model_name: str
    model_version: str
    tracking_uri: str
    token: str
    drain_seconds: float

    @classmethod
    def from_env(cls, env: dict[str, str]) -> "Settings":
        """Read the environment. Raises ModelError that names what is missing or wrong."""
        needed = ("FLOTILLA_MODEL_NAME", "FLOTILLA_MODEL_VERSION", "MLFLOW_TRACKING_URI")
        if missing := [name for name in needed if not env.get(name)]:
            raise ModelError(f"Set {', '.join(missing)}.")
        if not env["MLFLOW_TRACKING_URI"].startswith(("http://", "https://")):
            raise ModelError("MLFLOW_TRACKING_URI must start with http:// or https://.")
        try:
            port, drain = int(env.get("PORT", "8080")), float(env.get("DRAIN_SECONDS", "2"))
        except ValueError as error:
            raise ModelError(f"PORT and DRAIN_SECONDS must be numbers: {error}.") from error
        return cls(
            host=env.get("HOST", "127.0.0.1"),
            port=port,
            model_name=env["FLOTILLA_MODEL_NAME"],
            model_version=env["FLOTILLA_MODEL_VERSION"],
            tracking_uri=env["MLFLOW_TRACKING_URI"].rstrip("/"),
            token=env.get("MLFLOW_TRACKING_TOKEN", ""),
            drain_seconds=drain,
        )


class App:
    """The ASGI app: listens before the model is there, and says so."""

    def __init__(self, name: str, version: str) -> None:
        self.name = name
        self.version = version
        self.model: Any = None
        self.draining = False

    @property
    def ready(self) -> bool:
        """True while new requests are welcome."""
        return self.model is not None and not self.draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        status, answer = await self._reply(scope["method"], scope["path"], receive)
        body = json.dumps(answer).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
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
                return 200, {"name": "flotilla-digits", "version": "1", "extensions": []}
            case "/v2/health/live":
                return 200, {"live": True}
            case "/v2/health/ready":
                return self._readiness({"ready": self.ready})
        found = MODEL_PATH.fullmatch(path.rstrip("/"))
        if found is None:
            return 404, {"error": f"There is nothing at {path}."}
        if found["name"] != self.name or found["version"] not in (None, self.version):
            return 404, {"error": f"Only version {self.version} of model {self.name} is served here."}
        if found["rest"] == "/ready":
            return self._readiness({"name": self.name, "ready": self.ready})
        if found["rest"] == "/infer":
            return await self._infer(receive)
        return 200, metadata(self.name, self.version)

    def _readiness(self, answer: dict[str, Any]) -> Reply:
        return (200 if self.ready else 503), answer

    async def _infer(self, receive: Receive) -> Reply:
        if self.model is None:
            return 503, {"error": f"Model {self.name} is still being loaded. Try again in a moment."}
        body = await read_body(receive)
        if body is None:
            return 413, {"error": f"The body is larger than {LARGEST_BODY // 2**20} MiB."}
        try:
            return 200, predict(self.model, self.name, self.version, body)
        except InvalidRequest as error:
            return 400, {"error": str(error)}


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


class DrainingServer(uvicorn.Server):
    """On SIGTERM: not ready any more, but answering for a while; then finish what is in flight and exit with 0."""

    def __init__(self, config: uvicorn.Config, app: App, drain_seconds: float) -> None:
        super().__init__(config)
        self._app = app
        self._drain_seconds = drain_seconds

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The signal handler. A second signal, or one before the model is there, ends the wait."""
        wait = self._app.ready and sig == signal.SIGTERM
        self._app.draining = True
        if not wait:
            self.should_exit = True
            return
        log.info("SIGTERM: draining for %g s", self._drain_seconds)
        asyncio.get_running_loop().call_later(self._drain_seconds, self._stop)

    def _stop(self) -> None:
        self.should_exit = True


def load(app: App, server: uvicorn.Server, registry: Registry) -> None:
    """Fetch and load the model beside the running server, and stop the server when that fails."""
    try:
        with without_pandas():
            app.model = registry.fetch_model(app.name, app.version)
        log.info("version %s of %s is ready", app.version, app.name)
    except ModelError as error:
        log.error("%s", error)
    finally:
        if app.model is None:
            server.should_exit = True


def serve(settings: Settings) -> bool:
    """Serve until told to stop. False when it stopped because the model could not be loaded."""
    app = App(settings.model_name, settings.model_version)
    # Probes come every few seconds: no access log. Requests in flight get 10 s after draining.
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        lifespan="off",
        ws="none",
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=10,
    )
    server = DrainingServer(config, app, settings.drain_seconds)
    registry = Registry(settings.tracking_uri, settings.token)
    # A daemon: SIGTERM need not wait for a registry that does not answer.
    threading.Thread(target=load, args=(app, server, registry), daemon=True).start()
    server.run()
    return app.model is not None or app.draining


def main() -> int:
    """Exit code: 0 when told to stop, 1 when the model can't be served."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    try:
        settings = Settings.from_env(dict(os.environ))
    except ModelError as error:
        log.error("%s", error)
        return 1
    return 0 if serve(settings) else 1


if __name__ == "__main__":
    sys.exit(main())

"""Serve one registered model.

Environment: HOST and PORT to listen on; FLOTILLA_MODEL_NAME and FLOTILLA_MODEL_VERSION say which model, and
FLOTILLA_MODEL_DIR where `fetch.py` has put it. Without that the server fetches it, as `fetch.py` does: so do replicas
of revisions from before there was an init step. DRAIN_SECONDS (2) is how long to go on answering after SIGTERM, while
load balancers take note.
"""

import asyncio
import logging
import os
import signal
import sys
import tempfile
import threading
from pathlib import Path
from types import FrameType

import uvicorn

from .app import App
from .errors import ModelError
from .fetch import fetch
from .flavours import load
from .lean import without_pandas
from .model import Model
from .registry import inside
from .settings import Settings

log = logging.getLogger("openinference")

# After draining, for what is in flight.
GRACE_SECONDS = 10


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


def bring(app: App, server: uvicorn.Server, settings: Settings) -> None:
    """Load the model beside the running server, and stop the server when that fails."""
    try:
        app.model = _model(settings)
        log.info("version %s of %s is ready", app.version, app.name)
    except ModelError as error:
        log.error("%s", error)
    except Exception:
        log.exception("the model can't be loaded")
    finally:
        if app.model is None:
            server.should_exit = True


def _model(settings: Settings) -> Model:
    if isinstance(settings.files, Path):
        return _load(settings.files)
    with tempfile.TemporaryDirectory(prefix="model-") as folder:
        fetch(settings.files, Path(folder))
        return _load(Path(folder))


def _load(folder: Path) -> Model:
    def file(path: str) -> bytes:
        try:
            return (folder / inside(path)).read_bytes()
        except OSError as error:
            raise ModelError(f"The model has no file {path}: {error}.") from error

    with without_pandas():
        return load(file)


def serve(settings: Settings) -> bool:
    """Serve until told to stop. False when it stopped because the model could not be loaded."""
    app = App(settings.model_name, settings.model_version)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        lifespan="off",
        ws="none",
        # Probes come every few seconds.
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = DrainingServer(config, app, settings.drain_seconds)
    # A daemon: SIGTERM need not wait for a registry that does not answer.
    threading.Thread(target=bring, args=(app, server, settings), daemon=True).start()
    server.run()
    return app.model is not None or app.draining


def main() -> int:
    """Exit code: 0 when told to stop, 1 when the model can't be served."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    try:
        settings = Settings.from_env(os.environ)
    except ModelError as error:
        log.error("%s", error)
        return 1
    return 0 if serve(settings) else 1


if __name__ == "__main__":
    sys.exit(main())

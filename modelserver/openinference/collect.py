"""Keep what a run leaves in a folder: the sidecar of a run with outputs. It is told to end (SIGTERM) when the run's own
container has ended, and sends then what has not been sent yet.

Environment: FLOTILLA_OUTPUTS is the folder, FLOTILLA_OUTPUT_KINDS a JSON object of names, each "files" or "value", and
MLFLOW_TRACKING_URI, MLFLOW_TRACKING_TOKEN and MLFLOW_RUN_ID say where and with which run they are kept.

Kubernetes gives a sidecar the pod's grace and no more, so files that have not changed for `SETTLED_SECONDS` are sent
while the run goes on. What is written last is the tag that says that all is kept: without it nothing is.
"""

import json
import logging
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

from .errors import ModelError
from .registry import artifact_address, sha256_of
from .settings import server_of
from .transport import Refused, Server, small

log = logging.getLogger("openinference")

KEPT_BELOW, TAG, COMPLETE = "outputs", "flotilla.outputs", "complete"
LONGEST_VALUE = 2000
LOOK_SECONDS, SETTLED_SECONDS = 2.0, 10.0
Stamp = tuple[int, int]


@dataclass
class Collector:
    """The outputs of one run: `kinds` says by name what each is."""

    server: Server
    run: str
    folder: Path
    kinds: Mapping[str, str]
    _root: str = ""
    _sent: dict[str, Stamp] = field(default_factory=dict)
    _seen: dict[str, tuple[Stamp, float]] = field(default_factory=dict)

    def begin(self) -> None:
        """Forget what an earlier attempt has left. Raises ModelError."""
        said = self.server.ask(f"/api/2.0/mlflow/runs/get?run_id={quote(self.run)}", small)
        self._root = artifact_address(urlsplit(json.loads(said)["run"]["info"]["artifact_uri"]).path)
        try:
            self.server.ask(f"{self._root}/{KEPT_BELOW}", small, method="DELETE")
        except Refused as error:
            # There is nothing, at a first attempt.
            if error.code != 404:
                raise

    def send_settled(self, now: float) -> None:
        """Send files that have not changed for a while; `now` in seconds of any clock. Raises ModelError."""
        for name, path in self._files():
            stamp = _stamp(path)
            if self._sent.get(name) == stamp:
                continue
            known, since = self._seen.get(name, (None, now))
            if known != stamp:
                self._seen[name] = (stamp, now)
            elif now - since >= SETTLED_SECONDS:
                self._send(name, path)

    def finish(self) -> None:
        """Send the rest, then the values, then the word that all is kept. Raises ModelError."""
        names = set()
        for name, path in self._files():
            names.add(name.partition("/")[0])
            if self._sent.get(name) != _stamp(path):
                self._send(name, path)
        tags, metrics, wrong = self._values()
        wrong += [f"{name} is not there" for name, kind in self.kinds.items() if kind == "files" and name not in names]
        tags.append({"key": TAG, "value": "; ".join(wrong)[:5000] or COMPLETE})
        batch = {"run_id": self.run, "metrics": metrics, "params": [], "tags": tags}
        headers = {"Content-Type": "application/json"}
        body = json.dumps(batch).encode()
        self.server.ask("/api/2.0/mlflow/runs/log-batch", small, method="POST", headers=headers, body=body)
        log.info(
            "kept %d files, %d values%s",
            len(self._sent),
            len(tags) + len(metrics) - 1,
            "".join(f"; {each}" for each in wrong),
        )

    def _values(self) -> tuple[list[dict[str, str]], list[dict[str, object]], list[str]]:
        tags, metrics, wrong = [], [], []
        for name, kind in self.kinds.items():
            if kind != "value":
                continue
            try:
                with (self.folder / name).open(encoding="utf-8") as file:
                    text = file.read(LONGEST_VALUE + 1).strip()
            except (OSError, ValueError) as error:
                wrong.append(f"{name} can't be read ({type(error).__name__})")
                continue
            if len(text) > LONGEST_VALUE:
                wrong.append(f"{name} is longer than {LONGEST_VALUE} letters")
            elif (number := _number(text)) is not None:
                metrics.append({"key": name, "value": number, "timestamp": int(time.time() * 1000), "step": 0})
            else:
                tags.append({"key": name, "value": text})
        return tags, metrics, wrong

    def _files(self) -> Iterator[tuple[str, Path]]:
        """All files of outputs, by their paths below the folder. Links are not followed: they may lead anywhere."""
        for name in (name for name, kind in self.kinds.items() if kind == "files"):
            top = self.folder / name
            for path in [top] if top.is_file() else sorted(top.rglob("*")):
                if path.is_file() and not path.is_symlink():
                    yield path.relative_to(self.folder).as_posix(), path

    def _send(self, name: str, path: Path) -> None:
        stamp = _stamp(path)
        address = f"{self._root}/{KEPT_BELOW}/{quote(name)}"
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(stamp[0])}
        self.server.ask(address, small, method="PUT", headers=headers, body=lambda: path.open("rb"))
        with path.open("rb") as file:
            sha256 = sha256_of(file)
        try:
            self.server.ask(address, lambda answer: None, headers={"If-None-Match": f'"{sha256}"'})
        except Refused as same:
            if same.code == 304:
                self._sent[name] = stamp
                return
            raise
        if _stamp(path) == stamp:
            raise ModelError(f"{name} did not arrive as it was sent.")


def _stamp(path: Path) -> Stamp:
    about = path.stat()
    return about.st_size, about.st_mtime_ns


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def collect(collector: Collector, ended: threading.Event) -> None:
    """Send what settles until the run's container has ended, and then all. Raises ModelError."""
    collector.begin()
    while not ended.wait(LOOK_SECONDS):
        # A file may vanish between two looks, or the server be away: there is another look.
        with suppress(OSError, ModelError):
            collector.send_settled(time.monotonic())
    collector.finish()


def main() -> int:
    """Exit code: 0 when all is kept, 1 with the reason when not."""
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    try:
        url, token = server_of(os.environ)
        kinds, run = json.loads(os.environ["FLOTILLA_OUTPUT_KINDS"]), os.environ["MLFLOW_RUN_ID"]
        collect(Collector(Server(url, token), run, Path(os.environ["FLOTILLA_OUTPUTS"]), kinds), ended)
    except (ModelError, OSError, KeyError, ValueError) as error:
        log.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A real S3 server as a process of its own, with one bucket."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import requests

from controlplane.embedded import ports
from controlplane.embedded.waiting import wait_for

NAME = "artifacts"


@dataclass(frozen=True)
class S3Server:
    """Where it listens, and the bucket as the settings name it."""

    endpoint: str
    url: str = f"s3://{NAME}/of/flotilla"

    def names(self) -> list[str]:
        """The objects that are there, as the server itself lists them."""
        listing = requests.get(f"{self.endpoint}/{NAME}?list-type=2", timeout=5).text
        return [part.partition("</Key>")[0] for part in listing.split("<Key>")[1:]]

    def unfinished(self) -> int:
        """Uploads in parts that have neither ended nor been taken back."""
        return requests.get(f"{self.endpoint}/{NAME}?uploads", timeout=5).text.count("<UploadId>")


@contextlib.contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """moto's server on a free port; what it keeps is in its memory."""
    port = ports.free_port()
    with (folder / "s3.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log
        )
    server = S3Server(f"http://127.0.0.1:{port}")

    def answers() -> bool:
        with contextlib.suppress(requests.RequestException):
            return requests.put(f"{server.endpoint}/{NAME}", timeout=15).ok
        return False

    try:
        wait_for(answers, "the S3 server to answer")
        yield server
    finally:
        process.kill()
        process.wait(10)

"""A registry's files over plain HTTP, without importing MLflow (which would take 3 s and 100 MB)."""

import hashlib
import json
import logging
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse
from pathlib import Path, PurePosixPath
from typing import IO, Any, Protocol, TypeVar
from urllib.parse import quote, urlsplit

from .errors import ModelError

log = logging.getLogger(__name__)

REQUEST_SECONDS = 5.0
# A registry that restarts is back sooner than this; after it, Kubernetes restarts us with its own back-off.
FETCH_SECONDS = 60.0
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 3.0
CHUNK = 1024 * 1024
LARGEST_LISTING = 16 * CHUNK
TRY_AGAIN = frozenset({408, 429, 500, 502, 503, 504})
T = TypeVar("T")


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """urllib would carry the token along to wherever a redirect leads."""

    def redirect_request(self, *args: Any) -> None:
        return None


class Readable(Protocol):
    """A file, or an answer's body."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""


@dataclass(frozen=True)
class File:
    """A file of a model: its path in the model's folder, its bytes, their SHA-256 ("" if unknown), and its address."""

    path: str
    size: int
    sha256: str
    address: str


@dataclass(frozen=True)
class Registry:
    """A Flotilla and a token for it. Tries again until `fetch_seconds` have passed without a byte, then gives up."""

    url: str
    token: str = field(repr=False)
    fetch_seconds: float = FETCH_SECONDS
    sleep: Callable[[float], None] = time.sleep

    def files_of(self, name: str, version: str) -> list[File]:
        """All files of a registered version. Raises ModelError."""
        body = self._patiently(f"/api/v1/models/{quote(name, safe='')}/versions/{quote(version)}/files", _small)
        try:
            said = json.loads(body)
            parts = urlsplit(str(said["uri"]))
            listed = [(str(each["path"]), int(each["size"]), str(each["sha256"])) for each in said["files"]]
        except (ValueError, KeyError, TypeError) as error:
            raise ModelError(f"The registry's answer about version {version} of {name} makes no sense.") from error
        if parts.scheme != "mlflow-artifacts":
            raise ModelError(f"The model's files are at a {parts.scheme}: address; only mlflow-artifacts: is known.")
        root = f"/api/2.0/mlflow-artifacts/artifacts/{quote(parts.path.strip('/'))}"
        if not all(re.fullmatch(r"([0-9a-f]{64})?", sha256) for _, _, sha256 in listed):
            raise ModelError(f"A checksum of version {version} of {name} is none.")
        return [File(inside(path), size, sha256, f"{root}/{quote(path)}") for path, size, sha256 in listed]

    def download(self, file: File, target: Path) -> None:
        """Write the file to `target`, which appears under its name only when it is whole. Raises ModelError, also where
        the bytes are not those that the registry keeps."""
        partial = target.with_name(target.name + ".part")
        target.parent.mkdir(parents=True, exist_ok=True)

        def stream(response: HTTPResponse) -> str:
            with partial.open("wb") as out:
                sha256 = sha256_of(response, out)
            if (size := partial.stat().st_size) != file.size:
                raise HTTPException(f"{size} of {file.size} bytes came")
            return sha256

        got = self._patiently(file.address, stream)
        if file.sha256 and got != file.sha256:
            kept = f"SHA-256 {got[:8]}… instead of {file.sha256[:8]}…"
            raise ModelError(f"{file.path} is not what was uploaded ({kept}): log the model again.")
        partial.replace(target)

    def _patiently(self, path: str, read: Callable[[HTTPResponse], T]) -> T:
        """What `read` makes of a GET's answer, tried again while the server is away or busy."""
        lost, pause = 0.0, FIRST_PAUSE_SECONDS
        while True:
            began = time.monotonic()
            try:
                return self._once(path, read)
            except urllib.error.HTTPError as error:
                if error.code not in TRY_AGAIN:
                    raise ModelError(f"GET {path} was answered with {error.code} {error.reason}.") from error
                reason = f"{error.code} {error.reason}"
            except (OSError, HTTPException) as error:
                reason = str(getattr(error, "reason", error)) or type(error).__name__
            # A large file that broke off late has not been waited for all that time.
            lost += min(time.monotonic() - began, REQUEST_SECONDS) + pause
            if lost > self.fetch_seconds:
                raise ModelError(f"GET {self.url}{path} kept failing for {self.fetch_seconds:g} s: {reason}.")
            log.warning("GET %s: %s; next try in %.1f s", path, reason, pause)
            self.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _once(self, path: str, read: Callable[[HTTPResponse], T]) -> T:
        request = urllib.request.Request(self.url.rstrip("/") + path)  # noqa: S310 (main() checked the scheme)
        if self.token:
            request.add_header("Authorization", f"Bearer {self.token}")
        with urllib.request.build_opener(_NoRedirects).open(request, timeout=REQUEST_SECONDS) as response:
            return read(response)


def sha256_of(source: Readable, into: IO[bytes] | None = None) -> str:
    """The SHA-256 of all that can be read, in hexadecimal digits; it is copied on the way where `into` is given."""
    sha256 = hashlib.sha256()
    while chunk := source.read(CHUNK):
        sha256.update(chunk)
        if into is not None:
            into.write(chunk)
    return sha256.hexdigest()


def _small(response: HTTPResponse) -> bytes:
    body = response.read(LARGEST_LISTING + 1)
    if len(body) > LARGEST_LISTING:
        raise ModelError(f"The list of the model's files is larger than {LARGEST_LISTING // 2**20} MiB.")
    return body


def inside(path: str) -> str:
    """The path, if it stays in the folder that it is relative to. Raises ModelError."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts:
        raise ModelError(f"The model has a file named {path!r}, which is no place in a folder.")
    return path

"""The files of models and of runs, with their checksums."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from http.client import HTTPException, HTTPResponse
from pathlib import Path, PurePosixPath
from typing import IO, Protocol
from urllib.parse import quote, urlencode, urlsplit

from .errors import ModelError
from .transport import Server, small

CHUNK = 1024 * 1024


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


class Registry(Server):
    """A Flotilla as the keeper of files."""

    def files_of(self, name: str, version: str) -> list[File]:
        """All files of a registered version. Raises ModelError."""
        body = self.ask(f"/api/v1/models/{quote(name, safe='')}/versions/{quote(version)}/files", small)
        try:
            said = json.loads(body)
            parts = urlsplit(str(said["uri"]))
            listed = [(str(each["path"]), int(each["size"]), str(each["sha256"])) for each in said["files"]]
        except (ValueError, KeyError, TypeError) as error:
            raise ModelError(f"The registry's answer about version {version} of {name} makes no sense.") from error
        if parts.scheme != "mlflow-artifacts":
            raise ModelError(f"The model's files are at a {parts.scheme}: address; only mlflow-artifacts: is known.")
        if not all(re.fullmatch(r"([0-9a-f]{64})?", sha256) for _, _, sha256 in listed):
            raise ModelError(f"A checksum of version {version} of {name} is none.")
        root = artifact_address(parts.path)
        return [File(inside(path), size, sha256, f"{root}/{quote(path)}") for path, size, sha256 in listed]

    def files_of_run(self, run: str, path: str) -> list[File]:
        """All files at or below a path among the artifacts of a run; their checksums come with them. Raises
        ModelError."""
        said = json.loads(self.ask(f"/api/2.0/mlflow/runs/get?run_id={quote(run)}", small))
        root = urlsplit(said["run"]["info"]["artifact_uri"]).path.strip("/")
        found = list(self._below(root, path))
        folder, _, name = path.rpartition("/")
        return found or [file for file in self._in(root, folder) if file.path == name]

    def _below(self, root: str, folder: str, prefix: str = "") -> Iterator[File]:
        for file in self._in(root, folder):
            if file.size < 0:
                yield from self._below(root, f"{folder}/{file.path}", f"{prefix}{file.path}/")
            else:
                yield replace(file, path=prefix + file.path)

    def _in(self, root: str, folder: str) -> list[File]:
        """What lies in a folder; of a folder in it the size is -1."""
        where = "/".join(filter(None, [root, folder]))
        query = urlencode({"path": where}, quote_via=quote)
        listed = json.loads(self.ask(f"/api/2.0/mlflow-artifacts/artifacts?{query}", small))["files"]
        return [
            File(inside(each["path"]), -1 if each["is_dir"] else int(each["file_size"]), "", address)
            for each in listed
            for address in [artifact_address(f"{where}/{each['path']}")]
        ]

    def download(self, file: File, target: Path) -> None:
        """Write the file to `target`, which appears under its name only when it is whole. Raises ModelError, also where
        the bytes are not those that the registry keeps."""
        partial = target.with_name(target.name + ".part")
        target.parent.mkdir(parents=True, exist_ok=True)

        def stream(response: HTTPResponse) -> tuple[str, str]:
            with partial.open("wb") as out:
                sha256 = sha256_of(response, out)
            if (size := partial.stat().st_size) != file.size:
                raise HTTPException(f"{size} of {file.size} bytes came")
            return sha256, file.sha256 or _told(response)

        got, wanted = self.ask(file.address, stream)
        if wanted and got != wanted:
            kept = f"SHA-256 {got[:8]}… instead of {wanted[:8]}…"
            raise ModelError(f"{file.path} is not what was uploaded ({kept}): log it again.")
        partial.replace(target)


def _told(response: HTTPResponse) -> str:
    """The checksum that an answer says its bytes have (RFC 9530); "" where it says none."""
    match = re.fullmatch(r"sha-256=:([A-Za-z0-9+/=]+):", response.headers.get("Repr-Digest", ""))
    return base64.b64decode(match[1]).hex() if match else ""


def artifact_address(path: str) -> str:
    """Where the bytes of an mlflow-artifacts: URI with this path are had, and sent."""
    return f"/api/2.0/mlflow-artifacts/artifacts/{quote(path.strip('/'))}"


def sha256_of(source: Readable, into: IO[bytes] | None = None) -> str:
    """The SHA-256 of all that can be read, in hexadecimal digits; it is copied on the way where `into` is given."""
    sha256 = hashlib.sha256()
    while chunk := source.read(CHUNK):
        sha256.update(chunk)
        if into is not None:
            into.write(chunk)
    return sha256.hexdigest()


def inside(path: str) -> str:
    """The path, if it stays in the folder that it is relative to. Raises ModelError."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts:
        raise ModelError(f"The model has a file named {path!r}, which is no place in a folder.")
    return path

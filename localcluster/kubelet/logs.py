"""A container's output on disk: one line each, "<RFC3339Nano> <text>", the newest two runs kept, rotated by size."""

from __future__ import annotations

import contextlib
import logging
import time
from pathlib import Path
from typing import BinaryIO

from kubevalues.numbers import whole

log = logging.getLogger(__name__)

MAX_BYTES = 10 * 1024 * 1024  # the kubelet's containerLogMaxSize
MAX_FILES = 5  # the kubelet's containerLogMaxFiles
_LONGEST = 16 * 1024  # as CRI: a longer line is split


def stamp(nanoseconds: int) -> str:
    """A Unix time in nanoseconds as RFC3339Nano, UTC."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:09d}Z"


def path_of(folder: Path, restart: int) -> Path:
    """The path of the output of the container's n-th run."""
    return folder / f"{restart}.log"


def was_written(path: Path) -> bool:
    """Is there anything of this log? Between the two steps of a rotation only its older parts are there."""
    return path.exists() or any(path.parent.glob(f"{path.name}.*"))


class LogWriter:
    """Writes what a container prints. Feed it bytes as they come; `close` writes what had no newline.

    Where the disk is full, lines are lost: a lost log is no reason for a container to fail, or never to end.
    """

    def __init__(self, folder: Path, restart: int, *, max_bytes: int = MAX_BYTES) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.log*"):
            if (number := whole(old.name.split(".", 1)[0])) is not None and number < restart - 1:
                old.unlink(missing_ok=True)
        self._path = path_of(folder, restart)
        self._max = max_bytes
        self._rest = b""
        self._file: BinaryIO = self._path.open("ab", buffering=0)
        self._size = self._file.tell()
        self._losing = False

    def feed(self, data: bytes) -> None:
        """Write the complete lines of what came; keep the rest."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        while len(self._rest) > _LONGEST:
            lines.append(self._rest[:_LONGEST])
            self._rest = self._rest[_LONGEST:]
        if lines:
            self._write(lines)

    def close(self) -> None:
        """No more output comes."""
        if self._rest:
            self._write([self._rest])
            self._rest = b""
        self._file.close()

    def _write(self, lines: list[bytes]) -> None:
        prefix = stamp(time.time_ns()).encode() + b" "
        block = b"".join(prefix + line + b"\n" for line in lines)
        try:
            if self._size and self._size + len(block) > self._max:
                self._rotate()
            self._file.write(block)
            self._size += len(block)
            self._losing = False
        except OSError as error:
            if not self._losing:
                log.warning("lines of %s are lost: %s", self._path, error)
            self._losing = True

    def _rotate(self) -> None:
        with contextlib.suppress(FileNotFoundError):  # a rotation that stopped half way
            self._path.rename(self._path.with_name(f"{self._path.name}.{time.time_ns()}"))
        rotated = sorted(self._path.parent.glob(f"{self._path.name}.*"))
        for old in rotated[: max(0, len(rotated) - (MAX_FILES - 1))]:
            old.unlink(missing_ok=True)
        fresh = self._path.open("ab", buffering=0)
        self._file.close()
        self._file, self._size = fresh, 0


def tail(path: Path, *, lines: int = 80, limit: int = 2048) -> str:
    """The last lines of a log without their times, at most `limit` bytes; "" when there is no log."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - 64 * 1024))
            last = file.read().splitlines()[-lines:]
    except FileNotFoundError:
        return ""
    text = b"\n".join(line.split(b" ", 1)[-1] for line in last)
    return text[-limit:].decode(errors="replace")

"""Files of models that a node keeps for its next pods, each under its own checksum.

Whoever else may write into the folder can spoil a file, and no more: each is read through its checksum when it is
taken.
Any process may die at any line: a file has its name only when it is whole.
"""

import contextlib
import logging
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import ModelError
from .registry import File, sha256_of

log = logging.getLogger("openinference")

DEFAULT_BYTES = 20 * 2**30


@dataclass(frozen=True)
class Cache:
    """A folder with at most `limit` bytes; what was not taken for the longest time goes first."""

    folder: Path
    limit: int = DEFAULT_BYTES

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Cache | None":
        """The cache that FLOTILLA_MODEL_CACHE and FLOTILLA_MODEL_CACHE_BYTES name, if any. Raises ModelError."""
        folder = env.get("FLOTILLA_MODEL_CACHE", "")
        try:
            limit = int(env.get("FLOTILLA_MODEL_CACHE_BYTES") or DEFAULT_BYTES)
        except ValueError as error:
            raise ModelError(f"FLOTILLA_MODEL_CACHE_BYTES must be a number: {error}.") from error
        return cls(Path(folder), limit) if folder else None

    def take(self, file: File, target: Path) -> bool:
        """Copy the file to `target` if it is here and whole. One that is spoilt is removed."""
        if not file.sha256 or not self._place(file).is_file():
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(target.name + ".part")
        try:
            with self._place(file).open("rb") as there, partial.open("wb") as out:
                sha256 = sha256_of(there, out)
        except FileNotFoundError:
            return False
        except OSError as error:
            log.warning("%s can't be read from the node's cache: %s", file.path, error)
            return False
        if sha256 != file.sha256:
            log.warning("%s in the node's cache is not what it was: it is fetched anew", file.path)
            self._remove(self._place(file))
            return False
        partial.replace(target)
        with contextlib.suppress(OSError):
            # Taken now: it goes last. The file of another user can't be touched, and is as good.
            os.utime(self._place(file))
        return True

    def keep(self, file: File, source: Path) -> None:
        """Keep a whole file for the next pod. A cache that can't be written costs a pod its time, and nothing else."""
        if not file.sha256 or file.size > self.limit:
            return
        place = self._place(file)
        partial = place.with_name(f"{place.name}.{secrets.token_hex(8)}.part")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            self._make_room(file.size)
            shutil.copyfile(source, partial)
            partial.replace(place)
        except OSError as error:
            self._remove(partial)
            log.warning("%s can't be kept in the node's cache %s: %s", file.path, self.folder, error)

    def _place(self, file: File) -> Path:
        return self.folder / "sha256" / file.sha256

    def _make_room(self, size: int) -> None:
        """Remove what was taken longest ago, until `size` more bytes fit. Leftovers of who died are such, too."""
        there = [(stat.st_mtime, stat.st_size, path) for path, stat in self._entries()]
        total = sum(each for _, each, _ in there) + size
        for _, each, path in sorted(there):
            if total <= self.limit:
                return
            self._remove(path)
            total -= each

    def _entries(self) -> list[tuple[Path, os.stat_result]]:
        entries = []
        for path in (self.folder / "sha256").iterdir():
            # Another pod's step may remove it meanwhile.
            with contextlib.suppress(FileNotFoundError):
                entries.append((path, path.stat()))
        return entries

    @staticmethod
    def _remove(path: Path) -> None:
        with contextlib.suppress(OSError):
            path.unlink()

"""Files below a folder, which all web processes share."""

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from apps.core.errors import Missing
from apps.experiments.files.stores import StoreUnavailable, name_of

logger = logging.getLogger(__name__)
PART_BYTES = 1024 * 1024


class Disk:
    """A folder as a store."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, key: str, chunks: Iterator[bytes]) -> None:
        """Write beside, then rename: the file is complete, and on the disk, before it is there."""
        target = self._root / name_of(key)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = _partial(target)
        try:
            with partial.open("xb") as out:
                for chunk in chunks:
                    out.write(chunk)
                out.flush()
                os.fsync(out.fileno())
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)

    def read(self, key: str, start: int, end: int) -> Iterator[bytes]:
        """See `Store`."""
        try:
            stream = (self._root / name_of(key)).open("rb")
        except FileNotFoundError as error:
            raise Missing("The file is gone from the store.") from error
        return _parts(stream, start, end)

    def delete(self, keys: Sequence[str]) -> list[str]:
        """See `Store`. Also what a killed upload has left. A store that is not there has kept every file."""
        if not self._root.is_dir():
            return list(keys)
        stuck = []
        for key in keys:
            target = self._root / name_of(key)
            try:
                target.unlink(missing_ok=True)
                _partial(target).unlink(missing_ok=True)
            except OSError:
                logger.exception("the file of a deleted artifact can't be deleted: %s", target)
                stuck.append(key)
        return stuck

    def problem(self) -> str:
        """See `Store`."""
        try:
            self._root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            return f"The folder of artifacts, {self._root}, can't be made: {error.strerror}."
        return "" if os.access(self._root, os.W_OK) else f"The folder of artifacts, {self._root}, can't be written to."


def _partial(target: Path) -> Path:
    return target.with_name(f"{target.name}.part")


def _parts(stream: IO[bytes], start: int, end: int) -> Iterator[bytes]:
    with stream:
        stream.seek(start)
        left = end - start
        while left > 0:
            part = stream.read(min(left, PART_BYTES))
            if not part:
                raise StoreUnavailable("The file in the store is shorter than it was.")
            left -= len(part)
            yield part

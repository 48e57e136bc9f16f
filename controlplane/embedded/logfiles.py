"""Log files that stay small: the writer appends, we copy the file away and empty it."""

import os
import shutil
from pathlib import Path

MAX_BYTES = 8 * 1024 * 1024
TAIL_BYTES = 8 * 1024


def bound(directory: Path, *, max_bytes: int = MAX_BYTES) -> list[str]:
    """Move what is in a log above `max_bytes` to `<name>.log.1`; returns the names.

    The writers hold their files open for appending, so a file is copied and emptied, never renamed. Lines written
    between the two are lost, which a log can bear.
    """
    rotated = []
    for log in directory.glob("*.log"):
        if log.stat().st_size > max_bytes:
            shutil.copyfile(log, log.with_name(log.name + ".1"))
            os.truncate(log, 0)
            rotated.append(log.name)
    return rotated


def tail(log: Path, lines: int = 12) -> str:
    """The last lines of a log, for an error message."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return "(no log)"
    return "\n".join(text.splitlines()[-lines:]) or "(empty log)"

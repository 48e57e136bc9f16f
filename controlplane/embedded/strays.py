"""Processes that a killed `up` left behind: found by number and start time, and ended before the next start."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from controlplane.embedded.processes import group_is_alive, signal_group, start_mark

# Postgres takes SIGQUIT as "stop at once, recover at the next start"; a process that ignores it is killed.
GRACE_S = 2.0
KILL_WAIT_S = 5.0
POLL_S = 0.02


def end_strays(pid_directory: Path) -> list[str]:
    """End what the pid files name and is still the same process, and its group. Returns the names of those found."""
    pids: dict[str, int] = {}
    for file in sorted(pid_directory.glob("*.pid")):
        pid = _survivor(file)
        if pid is not None:
            pids[file.stem] = pid
        file.unlink()
    for pid in pids.values():
        signal_group(pid, signal.SIGQUIT)
    _wait(lambda: not _alive(pids), GRACE_S)
    for pid in _alive(pids):
        signal_group(pid, signal.SIGKILL)
    _wait(lambda: not _alive(pids), KILL_WAIT_S)
    return list(pids)


def _survivor(file: Path) -> int | None:
    """The group to end: its leader is the process that we started, or is gone and left others behind."""
    try:
        record = json.loads(file.read_text())
        pid, mark = int(record["pid"]), record["mark"]
    except (ValueError, KeyError, TypeError):
        return None  # half written when the machine died: what it named died with it
    now = start_mark(pid)
    if now is None:
        return pid if group_is_alive(pid) and os.getpgrp() != pid else None
    return pid if now == mark else None


def _alive(pids: dict[str, int]) -> list[int]:
    return [pid for pid in pids.values() if group_is_alive(pid)]


def _wait(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(POLL_S)

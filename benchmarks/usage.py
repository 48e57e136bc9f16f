"""Processor time of a process and all its descendants."""

import contextlib
import os
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Seconds of processor time that the process `pid` and those below it have used, ended threads included.

    In steps of a hundredth: fields 14 and 15 of /proc/<pid>/stat, the parent is field 4 (proc_pid_stat(5)).
    """
    used: dict[int, float] = {}
    below: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        # It may have ended since the directory was read.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            fields = stat.read_text().rpartition(")")[2].split()
            found = int(stat.parent.name)
            used[found] = (int(fields[11]) + int(fields[12])) / _TICK
            below.setdefault(int(fields[1]), []).append(found)
    total, waiting = 0.0, [pid]
    while waiting:
        one = waiting.pop()
        total += used.get(one, 0.0)
        waiting += below.get(one, [])
    return total

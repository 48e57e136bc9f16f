"""Processes that outlived their container: daemons that left its session, and what a killed cluster left behind.

A container's processes carry its id in their environment, whatever session they moved to; its first process is known
by pid and start time, so that a reused pid is never killed. Linux only: elsewhere nothing can be known, and nothing
is ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from localcluster.kubelet import procfs

ID_VARIABLE = "LOCALCLUSTER_CONTAINER"
_MARK = re.compile(rb"(?:^|\0)" + ID_VARIABLE.encode() + rb"=([0-9a-f]+)")


@dataclass(frozen=True)
class Record:
    """The record on disk about a running container."""

    container_id: str
    pid: int
    started: int  # clock ticks since boot, from the kernel
    boot: str

    def save(self, path: Path) -> None:
        """Write the record; small enough to be written at once."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")


def find(records: Collection[Record]) -> list[int]:
    """The pids of processes that belong to recorded containers."""
    boot = procfs.boot_id()
    known = {record.container_id: record for record in records if record.boot == boot}
    leaders = {(record.pid, record.started) for record in known.values()}
    oldest = min((record.started for record in known.values()), default=0)
    pids = []
    for process in procfs.processes() if known else ():
        if process.started < oldest:
            continue
        mark = _MARK.search(procfs.environment(process.pid))
        if (process.pid, process.started) in leaders or (mark and mark[1].decode() in known):
            pids.append(process.pid)
    return pids


def end(records: Collection[Record]) -> int:
    """End the processes of recorded containers; how many were ended. Slow (reads all of /proc): for a thread."""
    pids = find(records)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # it ended by itself
            os.kill(pid, signal.SIGKILL)
    return len(pids)


def collect(folder: Path) -> list[Record]:
    """The records below a folder of pods (`<pod>/<container>/pid`), which are removed."""
    return list(_collect(folder))


def _collect(folder: Path) -> Iterable[Record]:
    for path in folder.glob("*/*/pid"):
        with contextlib.suppress(ValueError, TypeError, OSError):  # a record half written by the kill names nobody
            yield Record(**json.loads(path.read_text(encoding="utf-8")))
        path.unlink(missing_ok=True)

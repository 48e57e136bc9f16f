"""Child processes: each in a session of its own, found again after a crash, and dying with who started it."""

import ctypes
import functools
import json
import os
import platform
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from controlplane.embedded.files import write_private

PR_SET_PDEATHSIG = 1
LINUX = platform.system() == "Linux"


@dataclass(frozen=True)
class Command:
    """How to start a child and how to end it.

    `stop_signal` asks for an orderly end; `death_signal` is what Linux sends when the parent dies without a word.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    death_signal: signal.Signals = signal.SIGTERM
    pass_fds: tuple[int, ...] = ()


def spawn(command: Command, log: Path | IO[bytes] | None, *, pid_file: Path | None = None) -> subprocess.Popen[bytes]:
    """Start `command` in a session of its own; its output is appended to `log` (None: ours).

    Call it from the main thread: Linux sends the death signal when the *thread* that started the child ends.
    """
    output: IO[bytes] | None
    output = log.open("ab", buffering=0) if isinstance(log, Path) else log
    try:
        child = subprocess.Popen(
            command.argv,
            env={**os.environ, **command.env},
            cwd=command.cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output is not None else None,
            start_new_session=True,
            pass_fds=command.pass_fds,
            preexec_fn=die_with_parent(command.death_signal),
        )
    finally:
        if isinstance(log, Path) and output is not None:
            output.close()
    if pid_file is not None:
        write_private(pid_file, json.dumps({"pid": child.pid, "mark": start_mark(child.pid)}))
    return child


def signal_group(pid: int, number: signal.Signals) -> bool:
    """Send a signal to the process group that `pid` leads; False when nobody is left in it."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return False
    return True


def group_is_alive(pid: int) -> bool:
    """Whether any process is left in the group that `pid` leads (zombies count until they are reaped)."""
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    return True


def start_mark(pid: int) -> str | None:
    """The start time of a process, which tells it from a later one with the same number. None when there is none.

    Linux: field 22 of /proc/<pid>/stat (proc_pid_stat(5)) within this boot. Elsewhere what `ps` says.
    """
    if LINUX:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if fields[0] == "Z" else f"{_boot_id()}:{fields[19]}"
    reply = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return reply.stdout.strip() or None


@functools.cache
def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def die_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    """A function for the child between fork and exec that ties its life to ours; None where there is no such call."""
    if not LINUX:
        return None
    libc, parent = _libc(), os.getpid()

    def tie() -> None:
        libc.prctl(PR_SET_PDEATHSIG, int(number))
        if os.getppid() != parent:  # we were killed before the call took effect
            os._exit(1)

    return tie

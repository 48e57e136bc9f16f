"""Containers as local processes: start, watch, stop.

A container is one session: its first process leads it, and whatever the process starts is in its group and session.
On Linux the kernel ends that first process when this cluster dies (`setpriv --pdeathsig`); for what outlives it see
localcluster.kubelet.strays.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from localcluster.kubelet import procfs

_CHUNK = 64 * 1024
_SETPRIV = shutil.which("setpriv")
# Root may write where permissions say no, by this capability.
_OBEY = "--bounding-set=-dac_override"


class StartError(Exception):
    """The command cannot be started; the message is the one of a container runtime."""


class Process:
    """A started container. `exited` gives the exit code once the first process has ended."""

    def __init__(self, popen: subprocess.Popen[bytes], output: int, on_output: Callable[[bytes], None]) -> None:
        self.pid = popen.pid
        self.members: tuple[int, ...] = ()  # its processes, as last measured
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._popen = popen
        self._output: int | None = output
        self._on_output = on_output
        self._loop = asyncio.get_running_loop()
        os.set_blocking(output, False)
        self._loop.add_reader(output, self._read)
        self._watch()

    def terminate(self) -> bool:
        """SIGTERM for the first process, where it listens; whether it does.

        It stands for the PID 1 of a container, which gets no signal that it has no handler for (pid_namespaces(7)).
        """
        if self.exited.done() or not procfs.catches(self.pid, signal.SIGTERM):
            return False
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            os.kill(self.pid, signal.SIGTERM)
        return True

    def kill(self) -> None:
        """SIGKILL for the whole group. Once the process was reaped, its number may be another's."""
        if self.exited.done():
            return
        with contextlib.suppress(ProcessLookupError):  # nobody is left
            os.killpg(self.pid, signal.SIGKILL)

    def _watch(self) -> None:
        try:
            handle = os.pidfd_open(self.pid)
        except (AttributeError, OSError):
            self._loop.run_in_executor(None, self._popen.wait).add_done_callback(lambda _: self._reap())
            return

        def ended() -> None:
            self._loop.remove_reader(handle)
            os.close(handle)
            self._reap()

        self._loop.add_reader(handle, ended)

    def _reap(self) -> None:
        self.kill()  # as with a pid namespace: nobody outlives the first process
        code = self._popen.wait()
        self._read()
        self._close()
        if not self.exited.done():
            self.exited.set_result(128 - code if code < 0 else code)

    def _read(self) -> None:
        # At most 16 chunks a turn, so that one talkative process does not hold up the loop.
        for _ in range(16):
            if self._output is None:
                return
            try:
                data = os.read(self._output, _CHUNK)
            except BlockingIOError:
                return
            if not data:
                self._close()
                return
            self._on_output(data)

    def _close(self) -> None:
        if self._output is not None:
            self._loop.remove_reader(self._output)
            os.close(self._output)
            self._output = None


class Spawner:
    """Starts processes without holding up the event loop.

    One thread that lives as long as the cluster does it: the kernel's parent-death signal follows the *thread* that
    started a process.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawn")
        # A process that isn't root's has no such capability, and can't give it up.
        self._can_drop = (
            _SETPRIV is not None
            and subprocess.run([_SETPRIV, _OBEY, "true"], check=False, stderr=subprocess.DEVNULL).returncode == 0
        )

    async def spawn(
        self,
        argv: list[str],
        env: Mapping[str, str],
        cwd: Path,
        on_output: Callable[[bytes], None],
        *,
        root: bool = True,
        inside: Sequence[str] = (),
    ) -> Process:
        """Start a command in its own session; stdout and stderr come together. Raises StartError.

        `root`: where this cluster runs as root, so does the command. Otherwise permissions hold for it, too.
        `inside`: the program, with its arguments, that becomes the command.
        """
        program = find_program(argv[0], env.get("PATH", ""), cwd)
        command = [program, *argv[1:]]
        if _SETPRIV:
            permissions = [] if root or not self._can_drop else [_OBEY]
            command = [_SETPRIV, "--pdeathsig", "KILL", *permissions, "--", *command]
        command = [*inside, *command]
        read, write = os.pipe()
        try:
            popen = await self._start(command, env, cwd, write)
        except (OSError, ValueError) as error:
            os.close(read)
            raise StartError(f"failed to start: exec: {json.dumps(argv[0])}: {error}") from error
        except asyncio.CancelledError:
            os.close(read)
            raise
        return Process(popen, read, on_output)

    async def _start(
        self, command: list[str], env: Mapping[str, str], cwd: Path, write: int
    ) -> subprocess.Popen[bytes]:
        def start() -> subprocess.Popen[bytes]:
            try:
                return subprocess.Popen(
                    command,
                    env=dict(env),
                    cwd=cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=write,
                    stderr=write,
                    start_new_session=True,
                )
            finally:
                os.close(write)

        starting = self._thread.submit(start)
        try:
            return await asyncio.shield(asyncio.wrap_future(starting))
        except asyncio.CancelledError:
            starting.add_done_callback(_abandon)
            raise

    def close(self) -> None:
        """No more processes are started."""
        self._thread.shutdown(wait=False)


def _abandon(starting: Future[subprocess.Popen[bytes]]) -> None:
    """Nobody waits any more for what was being started."""
    if not starting.cancelled() and starting.exception() is None:
        starting.result().kill()


def find_program(name: str, search_path: str, cwd: Path) -> str:
    """The absolute path of a program. Raises StartError in a container runtime's words."""
    quoted = json.dumps(name)
    if "/" in name:
        path = cwd / name
        if not path.exists():
            raise StartError(f"failed to start: exec: {quoted}: stat {name}: no such file or directory")
        if path.is_dir() or not os.access(path, os.X_OK):
            raise StartError(f"failed to start: exec: {quoted}: permission denied")
        return str(path)
    program = shutil.which(name, path=search_path)
    if program is None:
        raise StartError(f"failed to start: exec: {quoted}: executable file not found in $PATH")
    return program

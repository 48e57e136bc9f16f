"""The supervisor: starts the children, starts again who dies, and ends them all.

One thread and one loop: Linux ties a child's life to the thread that started it.
"""

import math
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType

from controlplane.embedded import logfiles
from controlplane.embedded.datadir import DataDir
from controlplane.embedded.errors import EmbeddedError
from controlplane.embedded.processes import Command, signal_group, spawn
from controlplane.embedded.progress import Progress
from controlplane.embedded.stopping import stop

POLL_S = 0.03
# A child that lived this long before it died is started again at once.
STEADY_S = 20.0
LONGEST_DELAY_S = 30.0
LOG_CHECK_S = 10.0
# While starting, a process that died this often will not come up by itself.
FATAL_DEATHS = 4


class Interrupted(Exception):
    """Somebody asked us to stop."""


@dataclass
class Child:
    """One process and its history. `lasting`: it is started again when it ends."""

    command: Command
    process: "subprocess.Popen[bytes]"
    lasting: bool
    started_at: float
    quick_deaths: int = 0
    due_at: float | None = None


def restart_delay(quick_deaths: int) -> float:
    """Seconds to wait before the next start: none at first, then doubling from half a second up to half a minute."""
    # The power is bounded, too: one that died for hours would overflow a float, and end us with it.
    return 0.0 if quick_deaths <= 1 else min(LONGEST_DELAY_S, 0.5 * 2.0 ** min(quick_deaths - 2, 10))


@dataclass
class Supervisor:
    """All children of one `up`."""

    data: DataDir
    progress: Progress
    starting: bool = True
    children: dict[str, Child] = field(default_factory=dict)
    _asked_to_stop: int = 0
    _logs_checked_at: float = 0.0

    def listen_to_signals(self) -> None:
        """From now on SIGINT, SIGTERM and SIGHUP ask for an orderly stop; a second one hurries it."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    def start(self, command: Command, *, lasting: bool = True, quiet: bool = True) -> None:
        """Start a child; its output goes to its log, or to ours when not `quiet`."""
        log = self.data.log(command.name) if quiet else None
        process = spawn(command, log, pid_file=self.data.pid_file(command.name))
        self.children[command.name] = Child(command, process, lasting, time.monotonic())

    def pid(self, name: str) -> int:
        """The number of the process that now bears this name."""
        return self.children[name].process.pid

    def exit_code(self, name: str) -> int | None:
        """The exit code of a child that does not last; None while it runs."""
        return self.children[name].process.poll()

    def wait(
        self,
        condition: Callable[[], bool],
        what: str,
        *,
        timeout: float,
        log: str | None = None,
        tell_every: float = math.inf,
    ) -> None:
        """Keep the children alive until `condition()` holds; each `tell_every` seconds say what is waited for, with the
        last line of the log.

        Raises EmbeddedError naming `what` (with the end of the log named `log`) after `timeout` seconds, and
        Interrupted when somebody asked us to stop.
        """
        began = told = time.monotonic()
        while not condition():
            self.tick()
            now = time.monotonic()
            if now - began > timeout:
                end = f"\n{logfiles.tail(self.data.log(log))}" if log else ""
                raise EmbeddedError(f"Waited {timeout:.0f} s for {what}.{end}")
            if now - told > tell_every:
                told = now
                last = f" {logfiles.tail(self.data.log(log), 1).strip()}" if log else ""
                self.progress.say(f"  … waiting for {what}, {now - began:.0f} s.{last}")
            time.sleep(POLL_S)

    def tick(self) -> None:
        """One look at everything. Raises Interrupted when somebody asked us to stop."""
        if self._asked_to_stop:
            raise Interrupted
        now = time.monotonic()
        for child in self.children.values():
            if not child.lasting:
                continue
            if child.due_at is not None:
                if now >= child.due_at:
                    self._start_again(child)
            elif child.process.poll() is not None:
                self._on_death(child, now)
        if now - self._logs_checked_at > LOG_CHECK_S:
            self._logs_checked_at = now
            logfiles.bound(self.data.logs)

    def stop_all(self, *, last: tuple[str, ...], grace_s: float) -> list[str]:
        """Stop the children, those named in `last` after the others. Returns the names of those that were killed."""
        enough = max(1, self._asked_to_stop)
        killed: list[str] = []
        for names in ([n for n in self.children if n not in last], [n for n in self.children if n in last]):
            running = [(self.children[name].command, self.children[name].process) for name in names]
            killed += stop(running, grace_s=grace_s, hurry=lambda: self._asked_to_stop > enough)
        for name in self.children:
            self.data.pid_file(name).unlink(missing_ok=True)
        self.children.clear()
        return killed

    def _on_death(self, child: Child, now: float) -> None:
        name = child.command.name
        # Pool processes and the like must not live on beside those of the next start.
        signal_group(child.process.pid, signal.SIGKILL)
        steady = now - child.started_at > STEADY_S and not self.starting
        child.quick_deaths = 1 if steady else child.quick_deaths + 1
        how = how_it_ended(child.process.returncode)
        if self.starting and child.quick_deaths >= FATAL_DEATHS:
            raise EmbeddedError(f"{name} does not start: it {how}.\n{logfiles.tail(self.data.log(name))}")
        delay = restart_delay(child.quick_deaths)
        child.due_at = now + delay
        soon = f" in {delay:.1f} s" if delay else ""
        self.progress.warn(f"{name} {how} and is started again{soon} (log: {self.data.log(name)})")

    def _start_again(self, child: Child) -> None:
        name = child.command.name
        child.process = spawn(child.command, self.data.log(name), pid_file=self.data.pid_file(name))
        child.started_at = time.monotonic()
        child.due_at = None

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._asked_to_stop += 1


def how_it_ended(returncode: int) -> str:
    """A process's end in words: its exit code, or the signal that ended it."""
    if returncode < 0:
        return f"was ended by {signal.Signals(-returncode).name}"
    return f"ended with exit code {returncode}"

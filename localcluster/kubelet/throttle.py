"""CPU limits: a container that has used what it may is stopped until it may use more, as by the kernel's CFS quota.

cgroups need rights that a person's process seldom has, so what a container uses is read from /proc, and its processes
are held with SIGSTOP. `Budget` computes, `enforce` holds. Where there is no /proc, nothing is limited.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from kubevalues import quantities
from localcluster.kubelet import procfs
from localcluster.kubelet.process import Process

# cpu.cfs_period_us: https://docs.kernel.org/scheduler/sched-bwc.html
PERIOD_SECONDS = 0.1
_SHORTEST_LOOK_SECONDS = 0.01  # the resolution of the CPU times in /proc
# CPU time that is discovered late (of a child that is a second old) stops a container no longer than a probe waits.
_LONGEST_HOLD_SECONDS = 1.0


def limit_of(container: Mapping[str, Any]) -> float | None:
    """The container's CPU limit in cores; None for none, and for one that this machine can't exceed."""
    limit = ((container.get("resources") or {}).get("limits") or {}).get("cpu")
    cores = None if limit is None else quantities.amount("cpu", limit) / 1000
    return cores if cores and cores < (os.cpu_count() or 1) else None


@dataclass(frozen=True)
class Budget:
    """The CPU seconds that a container of `cores` may still use (`left`, below 0 when it used too many)."""

    cores: float
    left: float

    @classmethod
    def of(cls, cores: float) -> Budget:
        """The budget of a container that has just started: that of one period."""
        return cls(cores, cores * PERIOD_SECONDS)

    def after(self, used: float, seconds: float, *, held: bool) -> Budget:
        """The budget that is left when `used` CPU seconds were used in `seconds`.

        Idle time is not saved up; the time that a container was held is, however long that took.
        """
        most = self.cores * _LONGEST_HOLD_SECONDS if held else max(self.left, self.cores * PERIOD_SECONDS)
        least = self.cores * (PERIOD_SECONDS - _LONGEST_HOLD_SECONDS)
        return replace(self, left=max(min(self.left + self.cores * seconds - used, most), least))

    def hold(self) -> float:
        """Seconds to hold the container for, until it has a period's worth again; 0 while it may go on."""
        return 0.0 if self.left > 0 else PERIOD_SECONDS - self.left / self.cores

    def look(self, busy: bool) -> float:
        """After how many seconds to look again at a container that goes on: before a busy one can have used it up."""
        return max(_SHORTEST_LOOK_SECONDS, self.left / (os.cpu_count() or 1)) if busy else PERIOD_SECONDS


async def enforce(process: Process, cores: float) -> None:
    """Keep a container within its limit until it has ended."""
    budget, used, at, busy = Budget.of(cores), 0.0, time.monotonic(), True
    while not process.exited.done():
        if hold := budget.hold():
            await _hold(process, hold)
        else:
            await asyncio.sleep(min(PERIOD_SECONDS, budget.look(busy)))
        total, now = sum(member.cpu for member in _members(process)), time.monotonic()
        busy = total > used
        # A child that nobody waited for takes its time with it.
        budget = budget.after(max(total - used, 0.0), now - at, held=hold > 0)
        used, at = total, now


async def _hold(process: Process, seconds: float) -> None:
    held = [member.pid for member in _members(process)]
    try:
        _signal(process, held, signal.SIGSTOP)
        await asyncio.sleep(seconds)
    finally:
        _signal(process, held, signal.SIGCONT)


def _members(process: Process) -> list[procfs.ProcessStat]:
    """The container's processes that were seen in the last round of measuring, and are still there."""
    processes = (procfs.stat(pid) for pid in {process.pid, *process.members})
    return [member for member in processes if member is not None and member.session == process.pid]


def _signal(process: Process, members: list[int], number: int) -> None:
    if process.exited.done():  # its number may be another's
        return
    with contextlib.suppress(ProcessLookupError):  # it has just ended
        os.killpg(process.pid, number)
    for pid in members:  # those that made a group of their own
        with contextlib.suppress(ProcessLookupError, PermissionError):  # ended, or another user's (sudo)
            os.kill(pid, number)

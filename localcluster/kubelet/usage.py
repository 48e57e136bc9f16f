"""The usage of containers, measured from /proc every few seconds, and the containers that exceed their memory limit."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from kubevalues import quantities
from localcluster.kubelet import procfs
from localcluster.kubelet.runner import Runner

log = logging.getLogger(__name__)

PERIOD_SECONDS = 2.0


@dataclass(frozen=True)
class ContainerUsage:
    """One container: mean CPU over the window in billionths of a core, resident memory in bytes, when (Unix time)."""

    name: str
    cpu_nanocores: int
    memory_bytes: int
    window_seconds: float
    at: float


@dataclass(frozen=True)
class Sample:
    """One measurement: CPU seconds so far, resident bytes, and whose."""

    cpu: float
    memory: int
    pids: tuple[int, ...]


def by_session(processes: Iterable[procfs.ProcessStat]) -> dict[int, Sample]:
    """Sums per session, which is per container."""
    samples: dict[int, Sample] = {}
    for process in processes:
        old = samples.get(process.session, Sample(0.0, 0, ()))
        samples[process.session] = Sample(old.cpu + process.cpu, old.memory + process.memory, (*old.pids, process.pid))
    return samples


def memory_limit(container: Mapping[str, Any]) -> int | None:
    """The container's limit in bytes, None when it has none."""
    limit = ((container.get("resources") or {}).get("limits") or {}).get("memory")
    return None if limit is None else quantities.whole(limit)


def exceeds(sample: Sample, limit: int | None) -> bool:
    """Does a container use more than it may? Pages that processes share are counted once, where /proc tells."""
    if limit is None or sample.memory <= limit:
        return False
    shared = [procfs.proportional_memory(pid) for pid in sample.pids]
    return sum(part for part in shared if part is not None) > limit if any(shared) else True


class Measured(Protocol):
    """A pod that is measured."""

    runners: dict[str, Runner]

    def out_of_memory(self, name: str) -> None:
        """A container uses more memory than it may."""


class Meter:
    """Measures all containers and keeps the latest figures by pod uid."""

    def __init__(self) -> None:
        self._usage: dict[str, dict[str, ContainerUsage]] = {}
        self._before: dict[int, tuple[float, float]] = {}  # session -> (monotonic time, CPU seconds)

    def usage(self, uid: str) -> list[ContainerUsage]:
        """The latest figures of a pod's containers."""
        return list(self._usage.get(uid, {}).values())

    def forget(self, uid: str) -> None:
        """The pod is gone."""
        self._usage.pop(uid, None)

    async def run(self, workers: Mapping[str, Measured]) -> None:
        """Measure until cancelled."""
        while True:
            if any(worker.runners for worker in workers.values()):
                try:
                    self.measure(workers)
                except Exception:
                    log.exception("measuring failed")  # a round without figures; pods must not end for it
            await asyncio.sleep(PERIOD_SECONDS)

    def measure(self, workers: Mapping[str, Measured]) -> None:
        """One round over every running container."""
        now, moment = time.time(), time.monotonic()
        samples = by_session(procfs.processes())
        seen: dict[int, tuple[float, float]] = {}
        for uid, worker in workers.items():
            figures: dict[str, ContainerUsage] = {}
            for name, runner in list(worker.runners.items()):
                sample = samples.get(runner.process.pid) if runner.process else None
                if sample is None or runner.process is None:
                    continue
                session, runner.process.members = runner.process.pid, sample.pids
                seen[session] = (moment, sample.cpu)
                then, cpu = self._before.get(session, (moment - PERIOD_SECONDS, 0.0))
                window = max(moment - then, 0.001)
                rate = max(sample.cpu - cpu, 0.0) / window
                figures[name] = ContainerUsage(name, int(rate * 1e9), sample.memory, window, now)
                if exceeds(sample, memory_limit(runner.spec)):
                    worker.out_of_memory(name)
            self._usage[uid] = figures
        self._before = seen

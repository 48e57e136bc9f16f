"""One container's process with its log and its probes. It tells the pod's worker what happened; it decides nothing."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from localcluster.kubelet import procfs, strays, throttle
from localcluster.kubelet.logs import LogWriter
from localcluster.kubelet.probes import Counter, Result, Timing, perform, wait_after
from localcluster.kubelet.process import Process, Spawner
from localcluster.kubelet.sandbox import Launch, Sandbox

# "If the preStop hook is still running after the grace period expires, the kubelet requests a small, one-off grace
# period extension of 2 seconds." — https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
_AFTER_HOOK_SECONDS = 2.0


class Listener(Protocol):
    """The events that a runner reports."""

    def exited(self, name: str, code: int) -> None:
        """The first process ended."""

    def probed(self, name: str, kind: str, counter: Counter) -> None:
        """A probe changed its mind."""

    def unhealthy(self, name: str, kind: str, message: str) -> None:
        """A probe failed."""

    def hook_failed(self, name: str, message: str) -> None:
        """The postStart hook failed, and the container is killed for it."""


def new_id() -> str:
    """A container id as runtimes make them."""
    return secrets.token_hex(32)


def _most(grace: float, more: float) -> float:
    """The longest time that a stop may take in all; a forced one takes no time."""
    return grace + more if grace > 0 else 0.0


class Runner:
    """A running container."""

    def __init__(
        self, spec: dict[str, Any], address: str, launch: Launch, spawner: Spawner, sandbox: Sandbox, listener: Listener
    ) -> None:
        self.spec = spec
        self.name = str(spec["name"])
        self.process: Process | None = None
        self.record: strays.Record | None = None
        self.out_of_memory = False
        self._address = address
        self._launch = launch
        self._spawner = spawner
        self._sandbox = sandbox
        self._listener = listener
        self._tasks: set[asyncio.Task[None]] = set()
        self._throttle: asyncio.Task[None] | None = None
        self._since = 0.0

    async def start(self, container_id: str, restart: int) -> None:
        """Start the process and, where there is no startup probe, the other probes. Raises StartError."""
        log = LogWriter(self._sandbox.logs(self.name), restart)
        try:
            self.process = await self._spawn(self._launch.argv, log.feed)
        except BaseException:
            log.close()
            raise
        pid = self.process.pid
        process = procfs.stat(pid)
        self.record = strays.Record(container_id, pid, process.started if process else 0, procfs.boot_id())
        self.record.save(self._sandbox.record(self.name))
        self._since = time.monotonic()
        self.process.exited.add_done_callback(lambda done: self._ended(log, done))
        if cores := throttle.limit_of(self.spec):
            self._throttle = asyncio.create_task(throttle.enforce(self.process, cores))
        hook = (self.spec.get("lifecycle") or {}).get("postStart")
        if hook:
            self._start_task(self._post_start(hook))
        if self.spec.get("startupProbe"):
            self._probe("startup")
        else:
            self.probe_health()

    def probe_health(self) -> None:
        """Begin liveness and readiness probes: at once, or when the startup probe has succeeded."""
        for kind in ("liveness", "readiness"):
            if self.spec.get(f"{kind}Probe"):
                self._probe(kind)

    def _ended(self, log: LogWriter, done: asyncio.Future[int]) -> None:
        self.stop_probes()
        if self._throttle is not None:
            self._throttle.cancel()
        log.close()
        self._sandbox.record(self.name).unlink(missing_ok=True)
        if self.record is not None:
            asyncio.get_running_loop().run_in_executor(None, strays.end, [self.record])
        self._listener.exited(self.name, done.result())

    def stop_probes(self) -> None:
        """No more probes."""
        for task in self._tasks:
            task.cancel()
        self._tasks.clear()

    async def stop(self, grace: Callable[[], float]) -> None:
        """preStop hook, SIGTERM, and SIGKILL when the grace period is over; returns when the process has ended.

        `grace` is asked again and again: a second delete may shorten it. Seconds since the stop began. A hook that
        takes all of it leaves the process two seconds, as the kubelet does.
        """
        process = self.process
        if process is None:
            return
        self.stop_probes()
        began, more = time.monotonic(), 0.0
        hook = (self.spec.get("lifecycle") or {}).get("preStop")
        if hook and grace() > 0:
            try:
                async with asyncio.timeout(grace()):
                    await self._hook(hook)
            except TimeoutError:
                more = _AFTER_HOOK_SECONDS
        process.terminate()
        while not process.exited.done() and (left := _most(grace(), more) - (time.monotonic() - began)) > 0:
            await asyncio.wait({process.exited}, timeout=min(left, 1.0))
        process.kill()
        await asyncio.shield(process.exited)

    async def _hook(self, hook: dict[str, Any]) -> Result:
        if hook.get("sleep"):
            await asyncio.sleep(float(hook["sleep"].get("seconds") or 0))
            return Result(True)
        return await self._once({**hook, "timeoutSeconds": 3600})

    async def execute(self, command: list[str], seconds: float) -> tuple[int | None, str]:
        """Run a command beside the container's process; (exit code or None when it took too long, output)."""
        output = bytearray()
        process = await self._spawn(command, output.extend)
        try:
            async with asyncio.timeout(seconds):
                code: int | None = await asyncio.shield(process.exited)
        except TimeoutError:
            code = None
        finally:
            process.kill()
        return code, output.decode(errors="replace")

    def _spawn(self, argv: list[str], on_output: Callable[[bytes], None]) -> Coroutine[Any, Any, Process]:
        launch = self._launch
        return self._spawner.spawn(argv, launch.env, launch.cwd, on_output, root=launch.root, inside=launch.inside)

    async def _post_start(self, hook: dict[str, Any]) -> None:
        result = await self._hook(hook)
        if not result.ok and self.process is not None:
            self._listener.hook_failed(self.name, result.message)
            self.process.kill()

    def _probe(self, kind: str) -> None:
        self._start_task(self._probe_forever(kind))

    def _start_task(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _probe_forever(self, kind: str) -> None:
        spec = self.spec[f"{kind}Probe"]
        timing = Timing.of(spec)
        counter = Counter(timing.success, timing.failure, state=True if kind == "liveness" else None)
        if timing.initial_delay:
            await asyncio.sleep(timing.initial_delay)
        # A probe before its time can only bring good news: failures count from the first full period on. A real
        # kubelet probes at once and reports every server that takes a moment to start as Unhealthy.
        due = time.monotonic() + timing.period
        if kind == "liveness":
            await asyncio.sleep(timing.period)
        while True:
            result = await self._once(spec)
            now = time.monotonic()
            if result.ok or now >= due:
                before, counter = counter.state, counter.add(result.ok)
                if not result.ok:
                    self._listener.unhealthy(self.name, kind, result.message)
                if counter.state is not before or (kind == "liveness" and counter.state is False):
                    self._listener.probed(self.name, kind, counter)
                due = now + timing.period
            if kind == "startup" and counter.state is not None:
                return
            await asyncio.sleep(wait_after(kind, counter, due - now, now - self._since))

    async def _once(self, spec: dict[str, Any]) -> Result:
        try:
            return await perform(spec, self.spec, self._address, self.execute)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong in a probe is a failed probe, and says so
            return Result(False, f"probe errored: {error}")

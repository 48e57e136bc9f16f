"""One pod's life: take it over, keep its containers as its spec wants them, end it when it is deleted.

`plan.decide` chooses the next step; this module is the shell that takes it and publishes the result.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from localcluster.errors import StatusError
from localcluster.kubelet import plan as planning
from localcluster.kubelet import status as statuses
from localcluster.kubelet.env import ConfigError, references
from localcluster.kubelet.plan import Container, Plan
from localcluster.kubelet.probes import Counter
from localcluster.kubelet.process import StartError
from localcluster.kubelet.pull import Puller
from localcluster.kubelet.runner import Runner, new_id
from localcluster.kubelet.sandbox import Sandbox, has_names, launch
from localcluster.kubelet.volumes import MountError, files_of
from localcluster.kubelet.words import last_words
from localcluster.meta import parse_time, thaw

if TYPE_CHECKING:
    from localcluster.kubelet.addresses import Addresses
    from localcluster.kubelet.claims import Claims
    from localcluster.kubelet.env import Surroundings
    from localcluster.kubelet.images import ImageTable
    from localcluster.kubelet.process import Spawner
    from localcluster.registry import Registry

log = logging.getLogger(__name__)

Object = dict[str, Any]

_RETRY_SECONDS = 10.0  # how soon a start is tried again that failed for want of something in the API
_DEADLINE_MESSAGE = "Pod was active on the node longer than the specified deadline"


class Home(Protocol):
    """The kubelet that a worker belongs to, as far as it needs it."""

    registry: Registry
    images: ImageTable
    pods_folder: Path
    addresses: Addresses
    claims: Claims
    spawner: Spawner

    def surroundings(self, pod: Object) -> Surroundings: ...
    def names_for(self, pod: Object, address: str) -> str: ...
    def host_of(self, pod: Object) -> str: ...
    def reaches(self, pod: Object) -> bool: ...
    def confirm_deleted(self, pod: Object) -> None: ...


class Worker:
    """Looks after one pod (one uid)."""

    def __init__(self, kubelet: Home, pod: Object) -> None:
        self.pod = pod
        self.uid: str = pod["metadata"]["uid"]
        self.references = references(pod["spec"])
        self.runners: dict[str, Runner] = {}
        self.address = kubelet.addresses.claim(self.uid, (pod.get("status") or {}).get("podIP", ""))
        self.sandbox = Sandbox(kubelet.pods_folder, pod)
        self.containers = planning.recalled(pod, time.time())
        self._kubelet = kubelet
        self._puller = Puller(kubelet.images, self.event)
        self._awake = asyncio.Event()
        self._gone = False
        self._volumes_ready = False
        self._stopping: set[asyncio.Task[None]] = set()
        self._backing_off: set[str] = set()
        self._claimed: dict[str, Path] = {}
        self._failed: tuple[str, str] | None = None
        self._phase = "Pending"

    # -- what happens to it from outside

    def update(self, pod: Object) -> None:
        """The pod was changed in the API."""
        before, self.pod = self.pod, pod
        if pod["spec"] != before["spec"]:
            self._redefine(pod["spec"])
            self._awake.set()
        if pod["metadata"].get("deletionTimestamp") or pod["spec"].get("readinessGates"):
            self._awake.set()

    def _redefine(self, spec: Object) -> None:
        """A container's image may be changed in place: it is restarted with the new one."""
        fresh = {c["name"]: c for c in [*(spec.get("initContainers") or []), *spec["containers"]]}
        for container in self.containers:
            definition = fresh.get(container.name, container.spec)
            if definition["image"] == container.spec["image"]:
                continue
            container.spec, container.retry_at = definition, 0.0
            runner = self.runners.get(container.name)
            if runner is not None:
                self._restart(runner, f"Container {container.name} definition changed, will be restarted")

    def removed(self) -> None:
        """The pod is no longer in the API."""
        self._gone = True
        self._awake.set()

    def inputs_changed(self) -> None:
        """A ConfigMap or a Secret that it refers to was changed."""
        self._volumes_ready = False
        for container in self.containers:
            if container.waiting and container.waiting[0] == "CreateContainerConfigError":
                container.retry_at = 0.0
        self._awake.set()

    def names_changed(self) -> None:
        """A Service of its namespace, or what is behind one, has changed."""
        if self.runners and has_names(self.pod):
            with contextlib.suppress(OSError):  # a full disk: the pod finds what it found before
                self._write_names()

    def _write_names(self) -> None:
        self.sandbox.write_hosts(self._kubelet.names_for(self.pod, self.address))

    def fail(self, reason: str, message: str) -> None:
        """The pod has to end as Failed."""
        self._failed = (reason, message)
        self._awake.set()

    def tell(self) -> None:
        """The API may not have heard of the latest."""
        self._awake.set()

    def out_of_memory(self, name: str) -> None:
        """A container uses more memory than its limit."""
        runner = self.runners.get(name)
        if runner is not None and runner.process is not None:
            runner.out_of_memory = True
            runner.process.kill()

    # -- what its containers report (runner.Listener)

    def exited(self, name: str, code: int) -> None:
        """A container's first process ended."""
        container, runner = self._container(name), self.runners.pop(name)
        now = time.time()
        reason = "OOMKilled" if runner.out_of_memory else "Completed" if code == 0 else "Error"
        container.terminated = statuses.terminated(
            code=code,
            reason=reason,
            started=container.running_since or now,
            ended=now,
            container_id=container.container_id,
            message=last_words(container.spec, self.sandbox, container.restarts, code),
        )
        container.running_since, container.ended_at = None, now
        container.ready = container.started = False
        self._awake.set()

    def probed(self, name: str, kind: str, counter: Counter) -> None:
        """A probe changed its mind about a container."""
        container, runner = self._container(name), self.runners.get(name)
        if runner is None:
            return
        if kind == "startup" and counter.state:
            container.started = True
            container.ready = "readinessProbe" not in container.spec
            runner.probe_health()
        elif kind == "readiness":
            container.ready = bool(counter.state)
        elif counter.state is False:
            self._restart_unhealthy(runner, kind)
        self._awake.set()

    def unhealthy(self, name: str, kind: str, message: str) -> None:
        """A probe failed."""
        self.event("Warning", "Unhealthy", f"{kind.capitalize()} probe failed: {message}")

    def hook_failed(self, name: str, message: str) -> None:
        """A postStart hook failed."""
        self.event("Warning", "FailedPostStartHook", f"PostStartHook failed: {message}")
        self.event("Normal", "Killing", f"FailedPostStartHook: Container {name} failed its postStart hook")

    def _restart_unhealthy(self, runner: Runner, kind: str) -> None:
        own = runner.spec[f"{kind}Probe"].get("terminationGracePeriodSeconds")
        self._restart(runner, f"Container {runner.name} failed {kind} probe, will be restarted", own)

    def _restart(self, runner: Runner, why: str, seconds: int | None = None) -> None:
        """Stop a container; its restart is then the plan's business."""
        self.event("Normal", "Killing", why)
        grace = float(seconds if seconds is not None else self.pod["spec"].get("terminationGracePeriodSeconds", 30))
        task = asyncio.create_task(runner.stop(lambda: grace))
        self._stopping.add(task)
        task.add_done_callback(self._stopping.discard)

    # -- its life

    async def run(self) -> None:
        """Look after the pod until it is finished or gone."""
        while True:
            self._awake.clear()
            if self._gone or self.pod["metadata"].get("deletionTimestamp"):
                await self._end()
                return
            again = await self._step()
            if again is None and self._phase in planning.FINISHED:
                return
            with contextlib.suppress(TimeoutError):  # time for another look
                await asyncio.wait_for(self._awake.wait(), again)

    async def _step(self) -> float | None:
        """One round: start what should run, publish; the seconds until the next round."""
        self._phase = "Pending"
        if not self._volumes_ready and not await self._mount():
            self._publish(self._phase)
            return _RETRY_SECONDS
        left = self._deadline_in()
        if self._failed is None and left is not None and left <= 0:
            self._failed = ("DeadlineExceeded", _DEADLINE_MESSAGE)
            self.event("Normal", "DeadlineExceeded", _DEADLINE_MESSAGE)
        if self._failed is not None:
            await self._stop_all("Stopping container {}")
            self._phase = "Failed"
            self._publish(self._phase)
            return None
        plan = planning.decide(self.pod, self.containers, time.time())
        if any(self._container(name).terminated for name in plan.start):
            self._publish(plan.phase)  # say that it ended, before it runs again
        while plan.start:
            await self._start_all(plan)
            plan = planning.decide(self.pod, self.containers, time.time())
        self._phase = plan.phase
        if plan.phase in planning.FINISHED:
            await self._stop_all("Stopping container {}")
        self._say_back_off(plan)
        self._publish(plan.phase)
        left = self._deadline_in()
        waits = [wait for wait in (plan.again, left) if wait is not None]
        return min(waits, default=None) if plan.phase not in planning.FINISHED else None

    def _deadline_in(self) -> float | None:
        seconds = self.pod["spec"].get("activeDeadlineSeconds")
        start = (self.pod.get("status") or {}).get("startTime")
        if seconds is None or start is None:
            return None
        return parse_time(start).timestamp() + float(seconds) - time.time()

    async def _mount(self) -> bool:
        around, pod = self._kubelet.surroundings(self.pod), self._addressed()
        try:
            contents = {v["name"]: files_of(v, pod, around) for v in pod["spec"].get("volumes") or []}
            self._claimed = await asyncio.to_thread(self._kubelet.claims.folders, pod)
            await asyncio.to_thread(self.sandbox.write_volumes, contents)
        except (MountError, OSError) as error:
            if not any(container.ever_ran for container in self.containers):
                self.event("Warning", "FailedMount", f"MountVolume.SetUp failed: {error}")
                return False
        self._volumes_ready = True
        return True

    def _addressed(self) -> Object:
        """The pod with the address that it is about to have, for field references."""
        status = {**(self.pod.get("status") or {}), "podIP": self.address, "hostIP": self._kubelet.host_of(self.pod)}
        return {**self.pod, "status": status}

    async def _start_all(self, plan: Plan) -> None:
        for name in plan.start:
            if not self._gone:
                await self._start(self._container(name))

    async def _start(self, container: Container) -> None:
        image = self._puller.pull(container)
        if image is None:
            return
        container_id = new_id()
        pod = self._addressed()
        spec = thaw(dict(container.spec))
        try:
            if has_names(pod):
                self._write_names()
            mapping = await asyncio.to_thread(self.sandbox.prepare, pod, spec, image, self._claimed)
            prepared = launch(
                pod,
                spec,
                image,
                self.sandbox,
                mapping,
                self._kubelet.surroundings(pod),
                container_id,
            )
        except (ConfigError, MountError, OSError) as error:
            self._refused(container, "CreateContainerConfigError", str(error))
            return
        restart = container.terminated is not None
        runner = Runner(spec, self.address, prepared, self._kubelet.spawner, self.sandbox, self)
        self.event("Normal", "Created", f"Created container: {container.name}")
        began = time.time()
        container.restarts += restart
        container.backoff = container.backoff.after(began) if restart else container.backoff
        container.last = container.terminated or container.last
        container.terminated, container.waiting, container.retry_at = None, None, 0.0
        container.container_id = f"localcluster://{container_id}"
        self.runners[container.name] = runner
        try:
            await runner.start(container_id, container.restarts)
        except StartError as error:
            self._start_failed(container, str(error), began)
            return
        container.running_since = began
        container.started = "startupProbe" not in spec
        container.ready = container.started and "readinessProbe" not in spec
        self._backing_off.discard(container.name)
        self.event("Normal", "Started", f"Started container {container.name}")

    def _refused(self, container: Container, reason: str, message: str) -> None:
        if container.waiting != (reason, message):
            self.event("Warning", "Failed", f"Error: {message}")
        container.waiting = (reason, message)
        container.retry_at = time.time() + _RETRY_SECONDS

    def _start_failed(self, container: Container, message: str, began: float) -> None:
        self.runners.pop(container.name)
        self.event("Warning", "Failed", f"Error: {message}")
        container.terminated = statuses.terminated(
            code=128, reason="StartError", started=0, ended=began, container_id=container.container_id, message=message
        )
        container.ended_at = began

    def _say_back_off(self, plan: Plan) -> None:
        metadata = self.pod["metadata"]
        for name in set(plan.back_off) - self._backing_off:
            where = f"{metadata['name']}_{metadata['namespace']}({self.uid})"
            self.event("Warning", "BackOff", f"Back-off restarting failed container {name} in pod {where}")
        self._backing_off = set(plan.back_off)

    async def _stop_all(self, words: str) -> None:
        runners = list(self.runners.values())
        for runner in runners:
            self.event("Normal", "Killing", words.format(runner.name))
        if runners:
            await asyncio.gather(*(runner.stop(self._grace) for runner in runners))
            await asyncio.sleep(0)  # let the exits be reported

    def _grace(self) -> float:
        if self._gone:
            return 0.0
        seconds = self.pod["metadata"].get("deletionGracePeriodSeconds")
        return float(seconds if seconds is not None else self.pod["spec"].get("terminationGracePeriodSeconds", 30))

    async def _end(self) -> None:
        """The pod is being deleted: stop it, say so, and let it go."""
        await self._stop_all("Stopping container {}")
        if not self._gone:
            ended = planning.end(self.containers)
            before = (self.pod.get("status") or {}).get("phase")
            self._publish(before if before in planning.FINISHED else ended)
            self._kubelet.confirm_deleted(self.pod)
        await asyncio.to_thread(self.sandbox.remove)

    def _publish(self, phase: str) -> None:
        if not self._kubelet.reaches(self.pod):
            return
        metadata = self.pod["metadata"]

        def change(pod: Object) -> None:
            if pod["metadata"]["uid"] != self.uid:
                return
            pod["status"] = statuses.pod_status(
                pod,
                self.containers,
                phase=phase,
                address=self.address,
                host=self._kubelet.host_of(pod),
                now=time.time(),
            )
            if self._failed:
                pod["status"]["reason"], pod["status"]["message"] = self._failed

        # 404: the pod was removed from the API meanwhile; `removed` reports that.
        with contextlib.suppress(StatusError):
            self.pod = self._kubelet.registry.mutate(
                "pods", metadata["name"], metadata["namespace"], change, subresource="status"
            )

    def event(self, type_: str, reason: str, message: str) -> None:
        """An event about the pod."""
        if self._kubelet.reaches(self.pod):
            self._kubelet.registry.record_event(self.pod, type_, reason, message, "kubelet")

    def _container(self, name: str) -> Container:
        return next(container for container in self.containers if container.name == name)

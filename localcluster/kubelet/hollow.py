"""Hollow nodes: pods only pretend to run, so that ten thousand of them fit.

A pod is Running and Ready as soon as it is bound. One that may end (restartPolicy Never or OnFailure) succeeds after
a second, or as its annotations say:

    localcluster/run-seconds: "30"
    localcluster/exit-code: "1"

`localcluster.kubelet.pretended` has the usage that it pretends to have.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localcluster.errors import StatusError
from localcluster.kubelet.images import ImageTable
from localcluster.kubelet.kubelet import EVICTED, Kubelet
from localcluster.kubelet.plan import FINISHED, Container
from localcluster.kubelet.pretended import WINDOW, usage_of
from localcluster.kubelet.status import pod_status, terminated
from localcluster.kubelet.usage import ContainerUsage
from localcluster.meta import parse_time

if TYPE_CHECKING:
    from localcluster.registry import Registry

log = logging.getLogger(__name__)

Object = dict[str, Any]
Figures = dict[tuple[str, str], list[ContainerUsage]]

RUN_SECONDS, EXIT_CODE = "localcluster/run-seconds", "localcluster/exit-code"
_BATCH = 10  # pods between two breaths of the event loop
_KILLED = 137
_RETRY_SECONDS = 30.0  # until a pod is tried again that could not be handled


class HollowKubelet(Kubelet):
    """A kubelet without processes."""

    def __init__(self, registry: Registry, *, data_dir: Path, images: ImageTable) -> None:
        super().__init__(registry, data_dir=data_dir, images=images)
        self._queue: deque[str] = deque()
        self._pods: dict[str, Object] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._awake = asyncio.Event()
        self._figures: dict[str, tuple[float, Object, list[ContainerUsage]]] = {}

    def log_path(self, namespace: str, pod: str, container: str, *, previous: bool = False) -> Path | None:
        """Nobody speaks."""
        return None

    def usage(self) -> Figures:
        """The pretended usage of running pods; a pod's figures are computed once for each window and state of it."""
        now = time.time()
        window = now - now % WINDOW
        figures: Figures = {}
        for uid, pod in self._pods.items():
            if not self.reaches(pod):
                continue
            known = self._figures.get(uid)
            if known is None or known[0] != window or known[1] is not pod:
                running = (pod.get("status") or {}).get("phase") == "Running"
                known = self._figures[uid] = (window, pod, usage_of(pod, now) if running else [])
            if known[2]:
                figures[pod["metadata"]["namespace"], pod["metadata"]["name"]] = known[2]
        return figures

    async def run(self) -> None:
        """Pretend until cancelled."""
        stop = self.registry.store.listen(("pods",), self._changed)
        try:
            for pod in self.registry.list("pods"):
                self._take(pod)
            while True:
                await self._awake.wait()
                self._awake.clear()
                while self._queue:
                    for _ in range(min(_BATCH, len(self._queue))):
                        self._step_safely(self._queue.popleft())
                    await asyncio.sleep(0)
        finally:
            stop()
            for timer in self._timers.values():
                timer.cancel()

    async def stop(self) -> None:
        """There is nothing to end."""
        self.spawner.close()

    def _take(self, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        if not pod["spec"].get("nodeName"):
            return
        new = uid not in self._pods
        self._pods[uid] = pod
        if new or pod["metadata"].get("deletionTimestamp"):
            self._ask(uid)

    def _ask(self, uid: str) -> None:
        self._queue.append(uid)
        self._awake.set()

    def _removed(self, pod: Object) -> None:
        self._drop(pod["metadata"]["uid"])

    def _drop(self, uid: str) -> None:
        self._pods.pop(uid, None)
        self._figures.pop(uid, None)
        self._forget_timer(uid)
        self.addresses.release(uid)

    def _forget_timer(self, uid: str) -> None:
        timer = self._timers.pop(uid, None)
        if timer is not None:
            timer.cancel()

    def _catch_up(self, node: str, bound: list[Object]) -> None:
        here = {pod["metadata"]["uid"] for pod in bound}
        for uid in [uid for uid, pod in self._pods.items() if pod["spec"]["nodeName"] == node]:
            if uid in here:
                del self._pods[uid]  # taken anew: it may have ended meanwhile
            else:
                self._drop(uid)
        for pod in bound:
            self._take(pod)

    def _end_evicted(self, pod: Object, message: str) -> None:
        self._forget_timer(pod["metadata"]["uid"])
        self._publish(pod, "Failed", _KILLED, (EVICTED, message))

    def _step_safely(self, uid: str) -> None:
        try:
            self._step(uid)
        except Exception:
            # One odd pod, or a full disk, must not stop the others.
            log.exception("the hollow pod %s failed", uid)
            asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._ask, uid)

    def _step(self, uid: str) -> None:
        pod = self._pods.get(uid)
        if pod is None or not self.reaches(pod):
            return
        if pod["metadata"].get("deletionTimestamp"):
            if pod["metadata"].get("finalizers") and (pod.get("status") or {}).get("phase") not in FINISHED:
                self._publish(pod, "Failed", _KILLED)  # somebody waits to see how it ended
            self.confirm_deleted(pod)
        elif (pod.get("status") or {}).get("phase") not in FINISHED:
            self._publish(pod, "Running", None)
            if pod["spec"].get("restartPolicy", "Always") != "Always" and uid not in self._timers:
                seconds, code = run_of(pod["metadata"].get("annotations") or {})
                # The time that it ran before an interruption counts.
                seconds -= time.time() - min(_started(pod).values(), default=time.time())
                self._timers[uid] = asyncio.get_running_loop().call_later(max(seconds, 0.0), self._finish, uid, code)

    def _finish(self, uid: str, code: int) -> None:
        pod = self._pods.get(uid)
        if pod is None:
            return
        if self.reaches(pod):
            self._publish(pod, "Failed" if code else "Succeeded", code)
        else:
            self._forget_timer(uid)  # it is told when the node is back

    def _publish(self, pod: Object, phase: str, code: int | None, why: tuple[str, str] | None = None) -> None:
        now = time.time()
        uid, metadata = pod["metadata"]["uid"], pod["metadata"]
        began = _started(pod)
        containers = [Container(spec) for spec in pod["spec"]["containers"]]
        for container in containers:
            container.container_id = f"hollow://{uid}/{container.name}"
            if code is None:
                container.running_since = began.get(container.name, now)
                container.ready, container.started = True, True
            else:
                container.terminated = terminated(
                    code=code,
                    reason="Error" if code else "Completed",
                    started=began.get(container.name, now),
                    ended=now,
                    container_id=container.container_id,
                )
        address = self.addresses.claim(uid, (pod.get("status") or {}).get("podIP", ""))

        def change(obj: Object) -> None:
            host = self.host_of(obj)
            obj["status"] = pod_status(obj, containers, phase=phase, address=address, host=host, now=now)
            if why:
                obj["status"]["reason"], obj["status"]["message"] = why

        # 404: deleted meanwhile.
        with contextlib.suppress(StatusError):
            self.registry.mutate("pods", metadata["name"], metadata["namespace"], change, subresource="status")


def run_of(annotations: Mapping[str, str]) -> tuple[float, int]:
    """For how many seconds a pod runs that may end, and its exit code; what makes no sense counts as not said. Pure."""
    seconds, code = 1.0, 0
    with contextlib.suppress(ValueError):
        stated = float(annotations.get(RUN_SECONDS, seconds))
        seconds = max(stated, 0.0) if math.isfinite(stated) else seconds
    with contextlib.suppress(ValueError):
        code = int(annotations.get(EXIT_CODE, code))
    return seconds, code


def _started(pod: Object) -> dict[str, float]:
    """Since when the containers run, by name: what was told before an interruption still holds."""
    return {
        each["name"]: parse_time(running["startedAt"]).timestamp()
        for each in (pod.get("status") or {}).get("containerStatuses") or ()
        if (running := each["state"].get("running"))
    }

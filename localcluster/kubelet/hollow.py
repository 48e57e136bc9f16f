"""Hollow nodes: pods only pretend to run, so that ten thousand of them fit.

A pod is Running and Ready as soon as it is bound. One that may end (restartPolicy Never or OnFailure) succeeds after
a second, or as its annotations say:

    localcluster/run-seconds: "30"
    localcluster/exit-code: "1"
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localcluster.errors import StatusError
from localcluster.kubelet.images import ImageTable
from localcluster.kubelet.kubelet import Kubelet
from localcluster.kubelet.plan import FINISHED, Container
from localcluster.kubelet.status import pod_status, terminated
from localcluster.kubelet.usage import ContainerUsage

if TYPE_CHECKING:
    from localcluster.registry import Registry

Object = dict[str, Any]

RUN_SECONDS, EXIT_CODE = "localcluster/run-seconds", "localcluster/exit-code"
_BATCH = 50  # pods between two breaths of the event loop


class HollowKubelet(Kubelet):
    """A kubelet without processes."""

    def __init__(self, registry: Registry, *, data_dir: Path, images: ImageTable) -> None:
        super().__init__(registry, data_dir=data_dir, images=images)
        self._queue: deque[str] = deque()
        self._pods: dict[str, Object] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._awake = asyncio.Event()

    def log_path(self, namespace: str, pod: str, container: str, *, previous: bool = False) -> Path | None:
        """Nobody speaks."""
        return None

    def usage(self) -> dict[tuple[str, str], list[ContainerUsage]]:
        """Nobody uses anything."""
        return {}

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
                        self._step(self._queue.popleft())
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
            self._queue.append(uid)
            self._awake.set()

    def _removed(self, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        self._pods.pop(uid, None)
        timer = self._timers.pop(uid, None)
        if timer is not None:
            timer.cancel()
        self.addresses.release(uid)

    def _step(self, uid: str) -> None:
        pod = self._pods.get(uid)
        if pod is None:
            return
        if pod["metadata"].get("deletionTimestamp"):
            if pod["metadata"].get("finalizers") and (pod.get("status") or {}).get("phase") not in FINISHED:
                self._publish(pod, "Failed", 137)  # somebody waits to see how it ended
            self.confirm_deleted(pod)
        elif (pod.get("status") or {}).get("phase") not in FINISHED:
            self._publish(pod, "Running", None)
            if pod["spec"].get("restartPolicy", "Always") != "Always" and uid not in self._timers:
                annotations = pod["metadata"].get("annotations") or {}
                seconds = float(annotations.get(RUN_SECONDS, "1"))
                code = int(annotations.get(EXIT_CODE, "0"))
                self._timers[uid] = asyncio.get_running_loop().call_later(seconds, self._finish, uid, code)

    def _finish(self, uid: str, code: int) -> None:
        pod = self._pods.get(uid)
        if pod is not None:
            self._publish(pod, "Failed" if code else "Succeeded", code)

    def _publish(self, pod: Object, phase: str, code: int | None) -> None:
        now = time.time()
        uid, metadata = pod["metadata"]["uid"], pod["metadata"]
        containers = [Container(spec) for spec in pod["spec"]["containers"]]
        for container in containers:
            container.container_id = f"hollow://{uid}/{container.name}"
            if code is None:
                container.running_since, container.ready, container.started = now, True, True
            else:
                container.terminated = terminated(
                    code=code,
                    reason="Error" if code else "Completed",
                    started=now,
                    ended=now,
                    container_id=container.container_id,
                )
        address = self.addresses.claim(uid, (pod.get("status") or {}).get("podIP", ""))

        def change(obj: Object) -> None:
            host = self.host_of(obj)
            obj["status"] = pod_status(obj, containers, phase=phase, address=address, host=host, now=now)

        # 404: deleted meanwhile.
        with contextlib.suppress(StatusError):
            self.registry.mutate("pods", metadata["name"], metadata["namespace"], change, subresource="status")

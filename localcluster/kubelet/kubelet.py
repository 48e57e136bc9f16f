"""The kubelet of all virtual nodes: one worker for every pod that is bound to one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localcluster import meta
from localcluster.errors import StatusError, conflict
from localcluster.fit import allocatable
from localcluster.kubelet import sandbox, strays
from localcluster.kubelet.addresses import Addresses
from localcluster.kubelet.claims import Claims
from localcluster.kubelet.env import Surroundings, service_links
from localcluster.kubelet.images import ImageTable
from localcluster.kubelet.logs import path_of, was_written
from localcluster.kubelet.names import hosts_file
from localcluster.kubelet.plan import FINISHED
from localcluster.kubelet.process import Spawner
from localcluster.kubelet.sandbox import pod_folder
from localcluster.kubelet.usage import ContainerUsage, Meter
from localcluster.kubelet.worker import Worker
from localcluster.meta import key_of

if TYPE_CHECKING:
    from localcluster.registry import Registry
    from localcluster.store import Change

log = logging.getLogger(__name__)

Object = dict[str, Any]

EVICTED = "Evicted"
STOP_SECONDS = 5.0  # how long pods may take to end when the cluster stops
_NAMES = ("services", "endpointslices")  # what DNS would answer from
_HOSTS = Path("/etc/hosts")
_RETRY_SECONDS = 30.0  # until a pod is taken again whose worker failed


class Kubelet:
    """Runs pods as local processes."""

    def __init__(self, registry: Registry, *, data_dir: Path, images: ImageTable) -> None:
        self.registry = registry
        self.images = images
        self.pods_folder = data_dir / "pods"
        self.addresses = Addresses()
        self.claims = Claims(registry, data_dir / "claims")
        self.spawner = Spawner()
        self._workers: dict[str, Worker] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._meter = Meter()
        self._stopped = False
        self._cut_off: set[str] = set()

    # -- for the API

    def log_path(self, namespace: str, pod: str, container: str, *, previous: bool = False) -> Path | None:
        """The log of a container's present run, or of the one before; None when there is none."""
        try:
            manifest = self.registry.get("pods", pod, namespace)
        except StatusError:
            return None
        status = manifest.get("status") or {}
        entries = [*(status.get("containerStatuses") or []), *(status.get("initContainerStatuses") or [])]
        entry = next((entry for entry in entries if entry["name"] == container), None)
        if entry is None:
            return None
        # A container that waits for its next run has its last one as the previous one.
        back = 1 if previous and "waiting" not in entry["state"] else 0
        folder = pod_folder(self.pods_folder, manifest) / container / "logs"
        path = path_of(folder, entry["restartCount"] - back)
        return path if was_written(path) else None

    def usage(self) -> dict[tuple[str, str], list[ContainerUsage]]:
        """The last measured usage of the containers of each (namespace, pod), but none on nodes that are cut off."""
        return {
            (worker.pod["metadata"]["namespace"], worker.pod["metadata"]["name"]): usage
            for uid, worker in self._workers.items()
            if self.reaches(worker.pod) and (usage := self._meter.usage(uid))
        }

    def address_of(self, namespace: str, pod: str) -> str | None:
        """The address of a pod, once it has one."""
        try:
            return (self.registry.get("pods", pod, namespace).get("status") or {}).get("podIP")
        except StatusError:
            return None

    # -- what befalls nodes and pods

    def cut_off(self, node: str) -> None:
        """The node can't reach the API any more: its pods go on, and nobody hears of them."""
        self._cut_off.add(node)

    def reconnect(self, node: str) -> None:
        """The node reaches the API again, and brings its pods in line with it."""
        self._cut_off.discard(node)
        self._catch_up(node, self.registry.list("pods", field_selector=f"spec.nodeName={node}"))

    def is_cut_off(self, node: str) -> bool:
        """Is the node one that can't reach the API?"""
        return node in self._cut_off

    def reaches(self, pod: Object) -> bool:
        """Can the pod's node reach the API?"""
        return pod["spec"].get("nodeName") not in self._cut_off

    def evict(self, namespace: str, pod: str, message: str) -> None:
        """End a pod because its node is short of something, as the message tells; a finished pod stays as it is.

        https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/
        Raises StatusError 404, and 409 when the pod is on no node.
        """
        manifest = self.registry.get("pods", pod, namespace)
        if not manifest["spec"].get("nodeName"):
            raise conflict("pods", pod, "the pod is on no node")
        if (manifest.get("status") or {}).get("phase") in FINISHED:
            return
        disruption = {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"}

        def mark(obj: Object) -> None:
            old = (obj.setdefault("status", {})).get("conditions") or []
            new = {**disruption, "message": message, "lastTransitionTime": meta.now()}
            obj["status"]["conditions"] = [*(each for each in old if each["type"] != new["type"]), new]

        manifest = self.registry.mutate("pods", pod, namespace, mark, subresource="status")
        self.registry.record_event(manifest, "Warning", EVICTED, message, "kubelet")
        self._end_evicted(manifest, message)

    def _end_evicted(self, pod: Object, message: str) -> None:
        worker = self._workers.get(pod["metadata"]["uid"])
        if worker is not None:
            worker.fail(EVICTED, message)

    def _catch_up(self, node: str, bound: list[Object]) -> None:
        here = {pod["metadata"]["uid"] for pod in bound}
        for uid, worker in list(self._workers.items()):
            if worker.pod["spec"]["nodeName"] == node and uid not in here:
                worker.removed()
        for pod in bound:
            self._take(pod)
            if pod["metadata"]["uid"] in self._workers:
                self._workers[pod["metadata"]["uid"]].tell()

    # -- for workers

    def surroundings(self, pod: Object) -> Surroundings:
        """The objects that a pod's references may point to: those of its namespace, and its node."""
        namespace, node = pod["metadata"]["namespace"], pod["spec"]["nodeName"]

        def find(resource: str, name: str) -> Object | None:
            exists = self.registry.exists(resource, name, namespace)
            return self.registry.get(resource, name, namespace) if exists else None

        amounts = allocatable(self.registry.get("nodes", node)) if self.registry.exists("nodes", node) else {}
        return Surroundings(find, amounts, service_links(self.registry.list("services", namespace)))

    def names_for(self, pod: Object, address: str) -> str:
        """The hosts file of a pod that is about to have this address, as things are now."""
        namespace = pod["metadata"]["namespace"]
        services, slices = (self.registry.list(kind, namespace) for kind in _NAMES)
        return hosts_file(pod, address, services, slices, _HOSTS.read_text() if _HOSTS.exists() else "")

    def host_of(self, pod: Object) -> str:
        """The address of the pod's node."""
        try:
            node = self.registry.get("nodes", pod["spec"]["nodeName"])
        except StatusError:
            return "127.0.0.1"
        addresses = (node.get("status") or {}).get("addresses") or []
        return next((str(a["address"]) for a in addresses if a["type"] == "InternalIP"), "127.0.0.1")

    def confirm_deleted(self, pod: Object) -> None:
        """The pod's processes have ended: the API may forget it."""
        if not self.reaches(pod):
            return  # it is told when the node is back
        metadata = pod["metadata"]
        # 404 or 409: somebody was faster, or the name belongs to another pod by now.
        with contextlib.suppress(StatusError):
            self.registry.delete("pods", metadata["name"], metadata["namespace"], grace_seconds=0, uid=metadata["uid"])

    # -- its life

    async def run(self) -> None:
        """Run pods until cancelled. First ends what a killed cluster left behind."""
        self.pods_folder.mkdir(parents=True, exist_ok=True)
        ended = await asyncio.to_thread(strays.end, strays.collect(self.pods_folder))
        if ended:
            log.info("ended %d processes of an earlier run", ended)
        known = {pod_folder(self.pods_folder, pod) for pod in self.registry.list("pods")}
        for folder in set(self.pods_folder.iterdir()) - known:
            await asyncio.to_thread(sandbox.remove, folder)
        stop_claims = self.claims.listen()
        stop = self.registry.store.listen(("pods", "configmaps", "secrets", *_NAMES), self._changed)
        try:
            for pod in self.registry.list("pods"):
                try:
                    self._take(pod)
                except Exception:
                    # As a listener's fault in the store: one odd pod must not keep the cluster from starting.
                    log.exception("taking pod %s", "/".join(key_of(pod)))
            await self._meter.run(self._workers)
        finally:
            stop()
            stop_claims()

    async def stop(self) -> None:
        """End every pod's process: SIGTERM, and SIGKILL after STOP_SECONDS. The API keeps the pods as they were.

        One that does not listen to SIGTERM is killed at once: nothing would come of waiting for it.
        """
        self._stopped = True
        for task in self._tasks.values():
            task.cancel()
        runners = [runner for worker in self._workers.values() for runner in worker.runners.values()]
        for runner in runners:
            runner.stop_probes()
        processes = [runner.process for runner in runners if runner.process is not None]
        records = [runner.record for runner in runners if runner.record is not None]
        for process in processes:
            if not process.terminate():
                process.kill()
        waiting = [process.exited for process in processes]
        if waiting:
            await asyncio.wait(waiting, timeout=STOP_SECONDS)
        for process in processes:
            process.kill()
        if waiting:
            # One that the kernel holds (a disk that hangs) can't be waited for.
            await asyncio.wait(waiting, timeout=STOP_SECONDS)
        await asyncio.to_thread(strays.end, records)
        await asyncio.to_thread(sandbox.unlock, self.pods_folder)  # a person may want to delete it
        self.spawner.close()

    def _changed(self, change: Change) -> None:
        obj = change.stored.obj
        if change.resource in _NAMES:
            for worker in self._workers.values():
                if worker.pod["metadata"]["namespace"] == obj["metadata"]["namespace"]:
                    worker.names_changed()
        elif change.resource != "pods":
            name, namespace = obj["metadata"]["name"], obj["metadata"]["namespace"]
            for worker in self._workers.values():
                if worker.pod["metadata"]["namespace"] == namespace and (change.resource, name) in worker.references:
                    worker.inputs_changed()
        elif not self.reaches(obj):
            return
        elif change.type == "DELETED":
            self._removed(obj)
        else:
            self._take(obj)

    def _take(self, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        worker = self._workers.get(uid)
        if worker is not None:
            worker.update(pod)
            return
        if not pod["spec"].get("nodeName") or self._stopped:
            return
        if not self.registry.exists("nodes", pod["spec"]["nodeName"]):
            # No kubelet is there to run it, or to see it off.
            if pod["metadata"].get("deletionTimestamp"):
                asyncio.get_running_loop().call_soon(self.confirm_deleted, pod)
            return
        finished = (pod.get("status") or {}).get("phase") in FINISHED
        if finished and not pod["metadata"].get("deletionTimestamp"):
            return
        self._workers[uid] = worker = Worker(self, pod)
        self._tasks[uid] = task = asyncio.get_running_loop().create_task(self._look_after(worker))
        task.add_done_callback(lambda _: self._forget(uid))

    async def _look_after(self, worker: Worker) -> None:
        try:
            await worker.run()
        except Exception:
            # A bug or a full disk: this pod must not take the others with it, nor be forgotten.
            log.exception("the worker of pod %s failed", worker.pod["metadata"]["name"])
            asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._take_again, key_of(worker.pod))

    def _take_again(self, key: tuple[str, str]) -> None:
        if not self._stopped and (stored := self.registry.store.get("pods", key)):
            self._take(stored.obj)

    def _forget(self, uid: str) -> None:
        if self._stopped:
            return
        worker = self._workers.pop(uid)
        self._tasks.pop(uid)
        for runner in worker.runners.values():
            if runner.process is not None:
                runner.process.kill()
        self._meter.forget(uid)
        self.addresses.release(uid)

    def _removed(self, pod: Object) -> None:
        worker = self._workers.get(pod["metadata"]["uid"])
        if worker is not None:
            worker.removed()
        elif pod["spec"].get("nodeName"):
            folder = pod_folder(self.pods_folder, pod)
            asyncio.get_running_loop().run_in_executor(None, sandbox.remove, folder)

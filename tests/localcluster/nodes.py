"""The node side of a local cluster for tests: registry, controllers, scheduler and kubelet in one event loop."""

import asyncio
import logging
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from localcluster.config import DEFAULT_NODES, NodeConfig
from localcluster.controllers import controllers
from localcluster.controllers.nodes import Nodes
from localcluster.errors import StatusError
from localcluster.kubelet import ImageTable, make_kubelet
from localcluster.kubeproxy import KubeProxy, make_forwarder
from localcluster.registry import Registry
from localcluster.scheduler import Scheduler
from localcluster.store import Store

Object = dict[str, Any]


class Side:
    """What a test looks at."""

    def __init__(self, registry: Registry, kubelet: Any, parts: Sequence[Any]) -> None:
        self.registry = registry
        self.parts = parts
        self.nodes = next(part for part in parts if isinstance(part, Nodes))
        self.kubelet = kubelet

    def pod(self, name: str) -> Object:
        return self.registry.get("pods", name, "default")

    def container(self, name: str) -> Object:
        """The status of a pod's first container, {} before there is one."""
        return next(iter(self.pod(name).get("status", {}).get("containerStatuses") or []), {})

    def state(self, name: str) -> Object:
        return self.container(name).get("state", {})

    def phase(self, name: str) -> str:
        return self.pod(name).get("status", {}).get("phase", "")

    def log(self, name: str, *, previous: bool = False, container: str = "main") -> str:
        path = self.kubelet.log_path("default", name, container, previous=previous)
        return path.read_text() if path else ""

    def reasons(self, name: str) -> list[str]:
        return [event["reason"] for event in self.events(name)]

    def events(self, name: str) -> list[Object]:
        return [event for event in self.registry.list("events") if event["involvedObject"]["name"] == name]

    def pid(self, name: str, container: str = "main") -> int:
        worker = next(w for w in self.kubelet._workers.values() if w.pod["metadata"]["name"] == name)
        return worker.runners[container].process.pid

    def exists(self, resource: str, name: str) -> bool:
        return self.registry.exists(resource, name, "default")

    def pods(self, selector: str = "") -> list[Object]:
        return self.registry.list("pods", "default", label_selector=selector)

    def run(self, name: str, *command: str, **changes: Any) -> Object:
        return self.registry.create("pods", pod(name, *command, **changes), namespace="default")

    async def until(self, condition: Callable[[], Any], seconds: float = 15.0) -> Any:
        """Wait for a condition, and fail with the state of the pods when it does not come."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                met = condition()
            except (StatusError, KeyError, IndexError, StopIteration):
                met = None
            if met:
                return met
            await asyncio.sleep(0.01)
        events = [f"{e['reason']}: {e['message']}" for e in self.registry.list("events")]
        statuses = [(p["metadata"]["name"], p.get("status")) for p in self.registry.list("pods")]
        raise AssertionError(f"waited {seconds} s in vain; pods: {statuses}; events: {events[-15:]}")


def pod(name: str, *command: str, image: str = "busybox", policy: str = "Never", **changes: Any) -> Object:
    """A pod of one container `main`; `changes` go into the container, those of `spec` into the pod's spec."""
    spec = changes.pop("spec", {})
    metadata = changes.pop("metadata", {})
    container = {"name": "main", "image": image, "command": list(command), **changes}
    if not command:
        del container["command"]
    return {
        "metadata": {"name": name, **metadata},
        "spec": {"restartPolicy": policy, "terminationGracePeriodSeconds": 1, "containers": [container], **spec},
    }


class _Faults(logging.Handler):
    """Exceptions that were caught and logged: a controller that goes on must not hide them from a test."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.caught: list[BaseException] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1]:
            self.caught.append(record.exc_info[1])


@asynccontextmanager
async def running(
    data: Path,
    *,
    store: Store | None = None,
    images: Path | None = None,
    hollow: bool = False,
    nodes: tuple[NodeConfig, ...] = DEFAULT_NODES,
) -> AsyncIterator[Side]:
    """A running node side over `store` (one in memory when None); stops as the cluster does."""
    faults = _Faults()
    logging.getLogger("localcluster").addHandler(faults)
    registry = Registry(store or Store())
    for name in ("default",):
        if not registry.exists("namespaces", name):
            registry.create("namespaces", {"metadata": {"name": name}})
    kubelet = make_kubelet(registry, data_dir=data, images=ImageTable.load(*filter(None, [images])), hollow=hollow)
    made = controllers(registry, nodes, kubelet, node_grace_seconds=0.2)
    parts = [*made, Scheduler(registry), KubeProxy(registry, *make_forwarder(registry)), kubelet]
    tasks = [asyncio.create_task(part.run()) for part in parts]
    await asyncio.sleep(0)
    try:
        yield Side(registry, kubelet, made)
    finally:
        await kubelet.stop()
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        logging.getLogger("localcluster").removeHandler(faults)
    failed = [end for end in (*ends, *faults.caught) if isinstance(end, Exception)]
    if failed:
        raise failed[0]


def scenario(run: Callable[[Side], Coroutine[Any, Any, None]], **options: Any) -> None:
    """Run a test's story against a fresh node side."""

    async def story(data: Path) -> None:
        async with running(data, **options) as side:
            await run(side)

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(story(Path(folder)))

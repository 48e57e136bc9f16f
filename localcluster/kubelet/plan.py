"""The next step for a pod's containers: pure decisions, as the kubelet's computePodActions and getPhase.

https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from localcluster.kubelet.backoff import Backoff, in_words

Object = Mapping[str, Any]
FINISHED = frozenset({"Succeeded", "Failed"})

UNKNOWN = "ContainerStatusUnknown"
UNKNOWN_EXIT = 137
NOT_MADE_MESSAGE = "The container could not be located when the pod was terminated"
UNKNOWN_MESSAGE = "The container could not be located when the cluster started. The container used to be Running"


@dataclass
class Container:
    """The state of one container of a pod. Times are Unix seconds."""

    spec: Object
    init: bool = False
    restarts: int = 0
    running_since: float | None = None
    ended_at: float | None = None
    waiting: tuple[str, str] | None = None  # (reason, message); None: as the pod's phase suggests
    terminated: Object | None = None
    last: Object | None = None
    container_id: str = ""
    ready: bool = False
    started: bool = False
    backoff: Backoff = field(default_factory=Backoff)
    retry_at: float = 0.0  # not before this may a start be tried again that failed (image, configuration)

    @property
    def name(self) -> str:
        """The container's name."""
        return str(self.spec["name"])

    @property
    def sidecar(self) -> bool:
        """An init container that goes on beside the others (restartPolicy: Always)."""
        return self.init and self.spec.get("restartPolicy") == "Always"

    @property
    def running(self) -> bool:
        """Is there a process?"""
        return self.running_since is not None

    @property
    def exit_code(self) -> int | None:
        """The exit code of the last run, when the container is not running."""
        return None if self.terminated is None else int(self.terminated["exitCode"])

    @property
    def never_made(self) -> bool:
        """Was it only written off, when its pod was deleted?"""
        return self.terminated is not None and self.terminated.get("message") == NOT_MADE_MESSAGE

    @property
    def ever_ran(self) -> bool:
        """Was there ever a process?"""
        return self.running or self.terminated is not None or self.restarts > 0


@dataclass(frozen=True)
class Plan:
    """The containers to start now, the pod's phase, and the seconds after which to look again (None: on a wake)."""

    start: tuple[str, ...]
    phase: str
    again: float | None = None
    back_off: tuple[str, ...] = ()  # containers that wait in CrashLoopBackOff


def decide(pod: Object, containers: list[Container], now: float) -> Plan:
    """The next step for a pod that is not being deleted. Sets `waiting` of containers that are backing off."""
    policy = pod["spec"].get("restartPolicy", "Always")
    inits = [c for c in containers if c.init]
    apps = [c for c in containers if not c.init]
    gate = _gate(inits, apps, policy)
    if gate == "failed":
        return Plan((), "Failed")
    if gate is None and all(c.terminated is not None and not _restarts(c, policy) for c in apps):
        return Plan((), "Succeeded" if all(c.exit_code == 0 for c in apps) else "Failed")
    candidates = _candidates(inits, apps, policy, blocked=gate)
    phase = "Running" if gate is None and any(c.ever_ran for c in apps) else "Pending"
    start, waits, backing = [], [], []
    for container in candidates:
        wait = max(container.retry_at - now, 0.0)
        if container.terminated is not None and not wait:
            wait = container.backoff.wait(container.ended_at or now, now)
            if wait:
                container.waiting = ("CrashLoopBackOff", _crash_message(container, pod))
                backing.append(container.name)
        if wait:
            waits.append(wait)
        else:
            start.append(container.name)
    return Plan(tuple(start), phase, min(waits, default=None), tuple(backing))


def _gate(inits: list[Container], apps: list[Container], policy: str) -> Container | str | None:
    """The init container that the others wait for; "failed" when it ended for good; None when all are done."""
    if any(c.ever_ran for c in apps):
        return None
    for container in inits:
        if container.sidecar:
            if not (container.running and container.started):
                return container
        elif container.exit_code != 0:
            return "failed" if container.terminated is not None and policy == "Never" else container
    return None


def _candidates(
    inits: list[Container], apps: list[Container], policy: str, *, blocked: Container | str | None
) -> list[Container]:
    """Containers that have no process and should have one."""
    candidates = [c for c in inits if c.sidecar and not c.running and (c.ever_ran or c is blocked)]
    if blocked is None:
        return candidates + [c for c in apps if not c.running and (c.terminated is None or _restarts(c, policy))]
    if isinstance(blocked, Container) and not blocked.running and blocked not in candidates:
        candidates.append(blocked)
    return candidates


def _restarts(container: Container, policy: str) -> bool:
    return policy == "Always" or (policy == "OnFailure" and container.exit_code != 0)


def _crash_message(container: Container, pod: Object) -> str:
    metadata = pod["metadata"]
    return (
        f"back-off {in_words(container.backoff.seconds)} restarting failed container={container.name} "
        f"pod={metadata['name']}_{metadata['namespace']}({metadata['uid']})"
    )


def end(containers: list[Container]) -> str:
    """The phase of a pod that is deleted, once its containers were stopped. Those that were never made count as failed,
    as TerminatePod in pkg/kubelet/status/status_manager.go has it: init containers, and once these are done the others.
    """
    inits = [c for c in containers if c.init]
    pending = [c for c in inits if not c.ever_ran]
    for container in pending or [c for c in containers if not c.ever_ran]:
        container.terminated = {"exitCode": UNKNOWN_EXIT, "reason": UNKNOWN, "message": NOT_MADE_MESSAGE}
    for container in containers:
        if container.terminated is not None:
            container.waiting = None
    apps = [c for c in containers if not c.init]
    return "Succeeded" if all(c.exit_code == 0 for c in apps) and not pending else "Failed"


def recalled(pod: Object, now: float) -> list[Container]:
    """The containers of a pod as its status remembers them; what ran then is lost, and counts as killed."""
    status = pod.get("status") or {}
    known = {s["name"]: s for key in ("containerStatuses", "initContainerStatuses") for s in status.get(key) or []}
    spec = pod["spec"]
    entries = [(c, True) for c in spec.get("initContainers") or []] + [(c, False) for c in spec["containers"]]
    return [_recall(Container(entry, init=init), known.get(entry["name"]), now) for entry, init in entries]


def _recall(container: Container, status: Object | None, now: float) -> Container:
    if status is None:
        return container
    container.restarts = int(status.get("restartCount") or 0)
    container.container_id = status.get("containerID") or ""
    state, last = status.get("state") or {}, status.get("lastState") or {}
    container.last = last.get("terminated")
    if "terminated" in state:
        container.terminated = state["terminated"]
    elif "running" in state:
        container.terminated = {
            "exitCode": UNKNOWN_EXIT,
            "reason": UNKNOWN,
            "message": UNKNOWN_MESSAGE,
            "startedAt": state["running"].get("startedAt"),
            "finishedAt": None,
            "containerID": container.container_id,
        }
    elif container.last is not None:  # it was waiting in CrashLoopBackOff
        container.terminated, container.last = container.last, None
        container.waiting = None
    if container.terminated is not None:
        container.ended_at = now
    return container

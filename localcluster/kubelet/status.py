"""A pod's status out of what is known about its containers. Pure.

Reasons and messages are the kubelet's (pkg/kubelet/status/generate.go).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from localcluster.kubelet.plan import FINISHED, Container
from localcluster.meta import time_of

Object = Mapping[str, Any]


def terminated(
    *, code: int, reason: str, started: float, ended: float, container_id: str, message: str = ""
) -> dict[str, Any]:
    """A ContainerStateTerminated."""
    state: dict[str, Any] = {
        "exitCode": code,
        "reason": reason,
        "startedAt": time_of(started),
        "finishedAt": time_of(ended),
        "containerID": container_id,
    }
    if message:
        state["message"] = message
    return state


def pod_status(
    pod: Object, containers: list[Container], *, phase: str, address: str, host: str, now: float
) -> dict[str, Any]:
    """The whole status of a pod that a kubelet has taken over."""
    old = pod.get("status") or {}
    inits = [c for c in containers if c.init]
    apps = [c for c in containers if not c.init]
    status: dict[str, Any] = {
        "phase": phase,
        "hostIP": host,
        "hostIPs": [{"ip": host}],
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": old.get("startTime") or time_of(now),
        "containerStatuses": [container_status(c, inits) for c in apps],
        "conditions": merge_conditions(old.get("conditions") or [], _conditions(pod, inits, apps, phase), time_of(now)),
    }
    if inits:
        status["initContainerStatuses"] = [container_status(c, inits) for c in inits]
    for key in ("qosClass", "nominatedNodeName", "observedGeneration"):
        if key in old:
            status[key] = old[key]
    return status


def container_status(container: Container, inits: list[Container]) -> dict[str, Any]:
    """One ContainerStatus."""
    state: dict[str, Any]
    last = container.last
    if container.running_since is not None:
        state = {"running": {"startedAt": time_of(container.running_since)}}
    elif container.waiting is not None:
        reason, message = container.waiting
        state = {"waiting": {"reason": reason, **({"message": message} if message else {})}}
        last = container.terminated or last
    elif container.terminated is not None:
        state = {"terminated": dict(container.terminated)}
    else:
        first = next((c for c in inits if c.exit_code != 0 and not (c.sidecar and c.started)), None)
        waits = first is not None and container is not first
        state = {"waiting": {"reason": "PodInitializing" if waits else "ContainerCreating"}}
    image = container.spec["image"]
    return {
        "name": container.name,
        "image": image,
        "imageID": f"localcluster://{image}" if container.ever_ran and not container.never_made else "",
        "containerID": container.container_id,
        "restartCount": container.restarts,
        "ready": container.ready,
        "started": container.started,
        "state": state,
        "lastState": {"terminated": dict(last)} if last else {},
    }


def _conditions(pod: Object, inits: list[Container], apps: list[Container], phase: str) -> list[dict[str, str]]:
    started = any(c.ever_ran for c in [*inits, *apps])
    sandbox = _condition("PodReadyToStartContainers", started and phase not in FINISHED)
    scheduled = _condition("PodScheduled", True)
    if phase == "Succeeded":
        done = "PodCompleted"
        rest = [_condition("Ready", False, done), _condition("ContainersReady", False, done)]
        return [sandbox, _condition("Initialized", True, done), *rest, scheduled]
    problem = _problem(phase, [*(c for c in inits if c.sidecar), *apps])
    ready = problem or _closed_gate(pod)
    return [
        sandbox,
        _initialized(inits, apps),
        _condition("Ready", ready is None, *(ready or ())),
        _condition("ContainersReady", problem is None, *(problem or ())),
        scheduled,
    ]


def _initialized(inits: list[Container], apps: list[Container]) -> dict[str, str]:
    waiting = [c.name for c in inits if not (c.exit_code == 0 or (c.sidecar and c.started))]
    if not waiting or any(c.ever_ran for c in apps):  # once initialised, always initialised
        return _condition("Initialized", True)
    message = f"containers with incomplete status: [{' '.join(waiting)}]"
    return _condition("Initialized", False, "ContainersNotInitialized", message)


def _problem(phase: str, lasting: list[Container]) -> tuple[str, str] | None:
    """(reason, message) of why the containers are not ready."""
    unready = [c.name for c in lasting if not c.ready]
    if phase == "Failed":
        return "PodFailed", ""
    if unready:
        return "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]"
    return None


def _closed_gate(pod: Object) -> tuple[str, str] | None:
    """(reason, message) of the first readiness gate that is not open."""
    have = {c["type"]: c["status"] for c in (pod.get("status") or {}).get("conditions") or []}
    for gate in pod["spec"].get("readinessGates") or []:
        kind = gate["conditionType"]
        if have.get(kind) != "True":
            problem = "does not exist" if kind not in have else f'is "{have[kind]}" instead of "True"'
            return "ReadinessGatesNotReady", f'corresponding condition of pod readiness gate "{kind}" {problem}.'
    return None


def _condition(kind: str, true: bool, reason: str = "", message: str = "") -> dict[str, str]:
    condition = {"type": kind, "status": "True" if true else "False"}
    if reason:
        condition["reason"] = reason
    if message:
        condition["message"] = message
    return condition


def merge_conditions(old: Iterable[Object], new: Iterable[Mapping[str, str]], now: str) -> list[dict[str, Any]]:
    """New conditions over old ones: a transition time changes with the status only, foreign conditions stay."""
    before = {condition["type"]: condition for condition in old}
    merged = []
    for condition in new:
        known = before.pop(condition["type"], None)
        since = known["lastTransitionTime"] if known and known["status"] == condition["status"] else now
        merged.append({**condition, "lastTransitionTime": since})
    return [*merged, *(dict(condition) for condition in before.values())]

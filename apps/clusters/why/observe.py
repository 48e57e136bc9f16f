"""Kubernetes' pod and the watcher's rows → the facts that `explain` wants. Pure.

`extras` is what `observed/rows.py` keeps of a pod's spec beside its status, so that a page can say why without asking
the cluster: what it asks for by name, which nodes it accepts, what holds its deletion, and each container's resources.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from apps.clusters.observed.values import moment
from apps.clusters.quantities.resources import reserved
from apps.clusters.quantities.words import parse
from apps.clusters.why import sidecars
from apps.clusters.why.facts import Condition, ContainerFacts, Ended, PodFacts, is_gpu
from apps.clusters.why.holds import gate_names
from apps.clusters.why.readiness import readiness_gates

Object = Mapping[str, Any]
_LONGEST_GRACE = 10 * 365 * 24 * 3600


def extras(metadata: Object, spec: Object) -> dict[str, Any]:
    """The parts of a pod's metadata and spec that explain a wait, without empty ones."""
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    containers = [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]
    facts = {
        "deleting_since": asked_to_go(metadata),
        "finalizers": list(metadata.get("finalizers") or []),
        "node_selector": dict(spec.get("nodeSelector") or {}),
        "tolerations": [dict(toleration) for toleration in spec.get("tolerations") or []],
        "scheduling_gates": gate_names(spec),
        "readiness_gates": readiness_gates(spec),
        "node_affinity": bool(affinity.get("requiredDuringSchedulingIgnoredDuringExecution")),
        "sidecars": sidecars.names_of(spec),
        "starts_again": spec.get("restartPolicy") in (None, "Always"),
        "asks": reserved(spec, _special),
        "resources": {
            str(container.get("name") or ""): dict(container["resources"])
            for container in containers
            if container.get("resources")
        },
    }
    return {key: value for key, value in facts.items() if value}


def asked_to_go(metadata: Object) -> str | None:
    """When somebody asked for an object's deletion: its deletionTimestamp is when the grace period will be over."""
    due, grace = moment(metadata.get("deletionTimestamp")), metadata.get("deletionGracePeriodSeconds")
    if due is None:
        return None
    return (due - timedelta(seconds=min(grace, _LONGEST_GRACE) if isinstance(grace, int) else 0)).isoformat()


def _special(asked: Mapping[str, Any]) -> dict[str, int]:
    """Resources that have no column of their own, as CPU, memory and GPUs do."""
    named = {str(name): parse(str(name), str(text)) or 0 for name, text in asked.items()}
    return {name: value for name, value in named.items() if name not in {"cpu", "memory"} and not is_gpu(name)}


def facts_of(status: Object, **known: Any) -> PodFacts:
    """The facts in a stored status, and what else is `known` of the pod."""
    return PodFacts(
        **{"name": "", **known},
        conditions=conditions_of(status.get("conditions") or []),
        containers=containers_of(status),
        selector=status.get("node_selector") or {},
        tolerations=tuple(status.get("tolerations") or ()),
        affinity=bool(status.get("node_affinity")),
        scheduling_gates=tuple(status.get("scheduling_gates") or ()),
        readiness_gates=tuple(status.get("readiness_gates") or ()),
        finalizers=tuple(status.get("finalizers") or ()),
        deleting_since=moment(status.get("deleting_since")),
    )


def containers_of(status: Object) -> tuple[ContainerFacts, ...]:
    """The containers in a stored status, init containers first."""
    resources = status.get("resources") or {}
    inits, mains = status.get("init_containers") or [], status.get("containers") or []
    lasting, again = set(status.get("sidecars") or []), bool(status.get("starts_again"))
    init_containers = [
        replace(_container(each, resources), init=True, sidecar=sidecar, lasts=sidecar)
        for each in inits
        for sidecar in (each.get("name") in lasting,)
    ]
    return (*init_containers, *(replace(_container(each, resources), lasts=again) for each in mains))


def conditions_of(stored: Iterable[Object]) -> tuple[Condition, ...]:
    """Stored conditions."""
    return tuple(
        Condition(
            str(condition.get("type") or ""),
            str(condition.get("status") or ""),
            str(condition.get("reason") or ""),
            str(condition.get("message") or ""),
            moment(condition.get("last_transition_time")),
        )
        for condition in stored
    )


def _container(container: Object, resources: Mapping[str, Object]) -> ContainerFacts:
    state, last = container.get("state") or {}, container.get("last_state") or {}
    waiting, running = state.get("waiting") or {}, state.get("running")
    name = str(container.get("name") or "")
    limit = ((resources.get(name) or {}).get("limits") or {}).get("memory")
    is_waiting = "waiting" in state
    return ContainerFacts(
        name=name,
        image=str(container.get("image") or ""),
        ready=bool(container.get("ready")),
        started=container.get("started"),
        restarts=int(container.get("restarts") or 0),
        waiting=str(waiting.get("reason") or "ContainerCreating") if is_waiting else "",
        waiting_message=str(waiting.get("message") or ""),
        running=running is not None,
        running_since=moment((running or {}).get("startedAt")),
        ended=_ended(state.get("terminated")),
        last_ended=_ended(last.get("terminated")),
        memory_limit=parse("memory", str(limit)) if limit else None,
    )


def _ended(terminated: Object | None) -> Ended | None:
    if not terminated:
        return None
    return Ended(
        int(terminated.get("exitCode") or 0),
        str(terminated.get("reason") or ""),
        str(terminated.get("message") or "").strip(),
        moment(terminated.get("finishedAt")),
        moment(terminated.get("startedAt")),
    )

"""Why a pod that runs is not ready: a container, a readiness gate, or its node. Pure.

The kubelet calls a pod ready when all of its containers are and each gate's condition is True
(pkg/kubelet/status/generate.go); the node's controller calls it not ready when its node is silent.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from apps.clusters.quantities.words import listed
from apps.clusters.why.facts import ContainerFacts
from apps.clusters.why.result import said, stop


def readiness_gates(spec: Mapping[str, Any]) -> list[str]:
    """The conditions that a pod waits for beside its containers."""
    return [str(gate.get("conditionType") or "") for gate in spec.get("readinessGates") or []]


def deciding(containers: Iterable[ContainerFacts]) -> list[ContainerFacts]:
    """The containers that decide whether the pod is ready."""
    return [container for container in containers if not container.init or container.sidecar]


def not_ready(containers: Sequence[ContainerFacts], unmet: Sequence[str], words: str = "") -> str:
    """The sentence for a pod that runs and is not ready. `words` are those of its condition Ready."""
    blocking = [container for container in containers if not container.ready]
    causes = [_cause(container) for container in blocking]
    if not containers:
        causes = ["no container has reported yet"]
    elif not causes:
        causes = _unmet(unmet)
    if causes:
        lead = "Started, but not ready yet" if any(container.running for container in blocking) else "Not ready"
        return f"{lead}: {said(listed(causes, 3))}."
    return f"Not ready, though its containers are: {stop(said(words) or 'its node may no longer report')}"


def _unmet(gates: Sequence[str]) -> list[str]:
    if not gates:
        return []
    names = listed(list(gates), 3)
    return [f"the readiness gate {names} is not met" if len(gates) == 1 else f"the readiness gates {names} are not met"]


def _cause(container: ContainerFacts) -> str:
    if container.ended is not None:
        return f"container {container.name} has ended"
    if not container.running:
        return f"container {container.name} does not run yet"
    kind = "startup" if container.started is False else "readiness"
    return f"container {container.name} has not passed its {kind} probe"

"""The controllers: what kube-controller-manager does, as far as a local cluster needs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from localcluster.controllers.autoscaler import PERIOD, Autoscalers
from localcluster.controllers.base import Index
from localcluster.controllers.claims import Claims
from localcluster.controllers.deployment import Deployments
from localcluster.controllers.disruption import DisruptionBudgets
from localcluster.controllers.endpoints import Endpoints
from localcluster.controllers.endpointslice import EndpointSlices
from localcluster.controllers.garbage import GarbageCollector
from localcluster.controllers.grouped import PodsByLabel, PodsByNode
from localcluster.controllers.job import Jobs
from localcluster.controllers.namespace import Namespaces
from localcluster.controllers.nodelifecycle import NodeLifecycle, TaintEviction
from localcluster.controllers.nodes import GRACE_SECONDS, Agent, Nodes
from localcluster.controllers.replicaset import ReplicaSets

if TYPE_CHECKING:
    from localcluster.config import NodeConfig
    from localcluster.registry import Registry


class Part(Protocol):
    """Something that works until it is cancelled."""

    async def run(self) -> None:
        """Work until cancelled."""


def controllers(
    registry: Registry,
    nodes: Sequence[NodeConfig],
    kubelet: Agent | None = None,
    *,
    node_grace_seconds: float = GRACE_SECONDS,
    autoscaler_seconds: float = PERIOD,
) -> list[Part]:
    """All controllers of a cluster of these nodes, whose pods `kubelet` runs; each has `run()`."""
    index = Index(registry, "pods", "replicasets")
    by_node, by_label = PodsByNode(registry), PodsByLabel(registry)
    return [
        Nodes(registry, nodes, agent=kubelet, grace_seconds=node_grace_seconds),
        NodeLifecycle(registry, by_node),
        TaintEviction(registry, by_node),
        ReplicaSets(registry, index),
        Deployments(registry, index),
        Jobs(registry, index),
        EndpointSlices(registry, by_label),
        Endpoints(registry),
        Autoscalers(registry, by_label, kubelet.usage if kubelet is not None else dict, period=autoscaler_seconds),
        DisruptionBudgets(registry, by_label),
        Claims(registry),
        Namespaces(registry),
        GarbageCollector(registry),
    ]

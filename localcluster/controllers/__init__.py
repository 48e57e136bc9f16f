"""The controllers: what kube-controller-manager does, as far as a local cluster needs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from localcluster.controllers.base import Index
from localcluster.controllers.deployment import Deployments
from localcluster.controllers.endpoints import Endpoints
from localcluster.controllers.endpointslice import EndpointSlices
from localcluster.controllers.garbage import GarbageCollector
from localcluster.controllers.job import Jobs
from localcluster.controllers.namespace import Namespaces
from localcluster.controllers.nodes import Nodes
from localcluster.controllers.replicaset import ReplicaSets

if TYPE_CHECKING:
    from localcluster.config import NodeConfig
    from localcluster.registry import Registry


class Part(Protocol):
    """Something that works until it is cancelled."""

    async def run(self) -> None:
        """Work until cancelled."""


def controllers(registry: Registry, nodes: Sequence[NodeConfig]) -> list[Part]:
    """All controllers of a cluster of these nodes; each has `run()`."""
    index = Index(registry, "pods", "replicasets")
    return [
        Nodes(registry, nodes),
        ReplicaSets(registry, index),
        Deployments(registry, index),
        Jobs(registry, index),
        EndpointSlices(registry),
        Endpoints(registry),
        Namespaces(registry),
        GarbageCollector(registry),
    ]

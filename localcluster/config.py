"""The configuration of a local cluster: its nodes, its address, the folder of its data."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """A virtual node; amounts are Kubernetes quantities."""

    name: str
    cpu: str = "4"
    memory: str = "8Gi"
    #: Extended resources, e.g. ``{"nvidia.com/gpu": "2"}``.
    extended: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    taints: list[dict[str, Any]] = field(default_factory=list)
    pods: int = 110


def default_nodes(named: str = "local") -> tuple[NodeConfig, ...]:
    """Two nodes with 4 CPU each, and one with GPUs, of names that begin with `named`."""
    return (
        NodeConfig(f"{named}-cpu-1"),
        NodeConfig(f"{named}-cpu-2"),
        NodeConfig(f"{named}-gpu-1", cpu="8", memory="16Gi", extended={"nvidia.com/gpu": "2"}),
    )


DEFAULT_NODES = default_nodes()


_ZONES = ("a", "b", "c")
_REGION = "hollow-1"
_GPU_EVERY = 5  # every fifth hollow node has GPUs


def hollow_nodes(count: int) -> tuple[NodeConfig, ...]:
    """Big nodes for big numbers of pods that only pretend to run, in three zones; every fifth has 8 GPUs."""
    return tuple(_hollow_node(number) for number in range(1, count + 1))


def _hollow_node(number: int) -> NodeConfig:
    labels = {
        "topology.kubernetes.io/region": _REGION,
        "topology.kubernetes.io/zone": _REGION + _ZONES[number % len(_ZONES)],
        "node.kubernetes.io/instance-type": "hollow-64",
    }
    extended = {}
    if number % _GPU_EVERY == 0:
        extended = {"nvidia.com/gpu": "8"}
        labels |= {"node.kubernetes.io/instance-type": "hollow-64-8gpu", "nvidia.com/gpu.product": "HOLLOW-GPU-80GB"}
    return NodeConfig(f"hollow-{number}", cpu="64", memory="256Gi", pods=250, extended=extended, labels=labels)


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """The settings of ``python -m localcluster``."""

    data_dir: Path
    port: int = 6443
    host: str = "127.0.0.1"
    images: tuple[Path, ...] = ()
    hollow: bool = False
    nodes: tuple[NodeConfig, ...] = DEFAULT_NODES
    #: May the administrator switch faults on?
    faults: bool = False
    #: How long a node may be silent before it is Unknown.
    node_grace_seconds: float = 50.0
    #: Has it the Gateway API?
    gateway: bool = True
    #: How often autoscalers look at their metrics.
    autoscaler_seconds: float = 15.0

    @property
    def url(self) -> str:
        """The API server's address."""
        return f"https://{self.host}:{self.port}"

    @property
    def kubeconfig(self) -> Path:
        """The path of the kubeconfig."""
        return self.data_dir / "kubeconfig"

    @property
    def database(self) -> Path:
        """The path of the database with the objects."""
        return self.data_dir / "state.sqlite"

"""What kind of machine a pod ran on, as the labels of its node tell it. Pure.

https://kubernetes.io/docs/reference/labels-annotations-taints/
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

_INSTANCE = ("node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type")
_ARCH = ("kubernetes.io/arch", "beta.kubernetes.io/arch")
# Of NVIDIA's and AMD's own labellers, then of providers.
_GPU = (
    "nvidia.com/gpu.product",
    "amd.com/gpu.product-name",
    "cloud.google.com/gke-accelerator",
    "karpenter.k8s.aws/instance-gpu-name",
    "k8s.amazonaws.com/accelerator",
    "gpu.nvidia.com/model",
)


@dataclass(frozen=True)
class NodeKind:
    """A kind of machine; "" for what its labels don't tell."""

    instance_type: str = ""
    gpu: str = ""
    arch: str = ""

    @property
    def text(self) -> str:
        """All of it in one line."""
        return ", ".join(filter(None, (self.instance_type, self.gpu, self.arch)))

    def to_json(self) -> dict[str, str]:
        """The form that an attempt keeps and REST shows, without what is not known."""
        return {each.name: value for each in fields(self) if (value := getattr(self, each.name))}

    @classmethod
    def from_json(cls, told: Mapping[str, Any] | None) -> "NodeKind":
        """The kind that an attempt keeps; of attempts from before it was kept, nothing is known."""
        return cls(**{each.name: str((told or {}).get(each.name) or "") for each in fields(cls)})


UNKNOWN = NodeKind()


def kind_of_node(labels: Mapping[str, str]) -> NodeKind:
    """The kind of a node with these labels."""
    return NodeKind(_first(labels, _INSTANCE), _first(labels, _GPU), _first(labels, _ARCH))


def _first(labels: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((labels[name] for name in names if labels.get(name)), "")

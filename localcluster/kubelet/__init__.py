"""The kubelet: pods as local processes, or hollow ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from localcluster.kubelet.hollow import HollowKubelet
from localcluster.kubelet.images import ImageError, ImageTable
from localcluster.kubelet.kubelet import Kubelet
from localcluster.kubelet.usage import ContainerUsage

if TYPE_CHECKING:
    from localcluster.registry import Registry


def make_kubelet(registry: Registry, *, data_dir: Path, images: ImageTable, hollow: bool = False) -> Kubelet:
    """The kubelet of a cluster's nodes; with `hollow` its pods only pretend to run."""
    kind = HollowKubelet if hollow else Kubelet
    return kind(registry, data_dir=data_dir, images=images)


__all__ = ["ContainerUsage", "ImageError", "ImageTable", "Kubelet", "make_kubelet"]

"""The kubelet: pods as local processes."""

from localcluster.kubelet.images import ImageError, ImageTable
from localcluster.kubelet.kubelet import Kubelet
from localcluster.kubelet.usage import ContainerUsage

__all__ = ["ContainerUsage", "ImageError", "ImageTable", "Kubelet"]

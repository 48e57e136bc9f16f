"""The owner of a pod: apps above say which of their objects made it, so that a pod's page can lead there.

owners.register(fn) in AppConfig.ready(); `fn(pod)` returns an Owner, or None when the pod is none of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass

from apps.clusters.models import Pod


@dataclass(frozen=True)
class Owner:
    """The object that made a pod: its kind and name for people, its page ("" where it has none), and a remark."""

    kind: str
    name: str
    url: str = ""
    note: str = ""


_finders: list[Callable[[Pod], Owner | None]] = []


def register(finder: Callable[[Pod], Owner | None]) -> None:
    """Ask `finder` for the owners of pods, after those that were registered before."""
    _finders.append(finder)


def owner_of(pod: Pod) -> Owner | None:
    """The run or deployment that the pod belongs to, else its Kubernetes owner; None for a bare pod."""
    if pod.project:
        for finder in _finders:
            owner = finder(pod)
            if owner is not None:
                return owner
    return Owner(pod.owner_kind, pod.owner_name) if pod.owner_name else None

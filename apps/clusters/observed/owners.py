"""The owner of a pod: apps above say which of their objects made it, so that a pod's page can lead there.

owners.register(fn) in AppConfig.ready(); `fn(pod)` returns an Owner, or None when the pod is none of its own. What the
owner alone knows of a pod's end is told by `owners.tell_overran(fn)`.
"""

from collections.abc import Callable, Collection, Iterable
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
_overran: list[Callable[[Collection[Pod]], set[str]]] = []


def register(finder: Callable[[Pod], Owner | None]) -> None:
    """Ask `finder` for the owners of pods, after those that were registered before."""
    _finders.append(finder)


def tell_overran(teller: Callable[[Collection[Pod]], set[str]]) -> None:
    """Ask `teller` which of some pods belong to what ran longer than its deadline: their uids, by one query."""
    _overran.append(teller)


def overran(pods: Iterable[Pod]) -> set[str]:
    """The uids of the pods whose owners were stopped because they ran longer than their deadline."""
    asked = list(pods)
    return set().union(*(teller(asked) for teller in _overran)) if asked else set()


def owner_of(pod: Pod) -> Owner | None:
    """The run or deployment that the pod belongs to, else its Kubernetes owner; None for a bare pod."""
    if pod.project:
        for finder in _finders:
            owner = finder(pod)
            if owner is not None:
                return owner
    return Owner(pod.owner_kind, pod.owner_name) if pod.owner_name else None

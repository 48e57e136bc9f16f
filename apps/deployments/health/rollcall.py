"""Replicas as they were called when last looked at, and as they are now → what was lost in between. Pure.

That fewer are ready is seen only by whoever looks in time: a server that is back after a tenth of a second was never
seen away. What stays is that Kubernetes counts its restarts, and that another pod has taken a lost one's place. So each
loss is told, and told once, however late somebody looks.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from apps.clusters.observed.values import moment
from apps.deployments.specs import ObservedRevision

_NOTHING = ObservedRevision(wanted=0)


@dataclass(frozen=True)
class PodSeen:
    """One pod of a deployment. It `is_gone` when it was deleted, is told to go, or has ended for good; `said` is how a
    container of it ended last, or why it went, and `at` when."""

    name: str
    revision: int
    restarts: int
    is_gone: bool
    created_at: datetime | None = None
    # Since when it is ready; None while it is not.
    ready_since: datetime | None = None
    said: str = ""
    at: datetime | None = None


@dataclass(frozen=True)
class Call:
    """The pods of one revision at the last look: their restarts by name.

    They are `settled` for a generation of its workload when they were then exactly those that it asks for: one that is
    gone while nothing else was asked for is lost. 0: they are not. `newest` is when the youngest pod ever was made.
    """

    pods: Mapping[str, int]
    settled: int = 0
    newest: datetime | None = None

    def to_json(self) -> dict[str, Any]:
        """The form that is stored."""
        newest = self.newest.isoformat() if self.newest else ""
        return {"pods": dict(self.pods), "settled": self.settled, "newest": newest}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Call":
        """What `to_json` wrote."""
        return cls(data["pods"], data["settled"], moment(data["newest"]))


@dataclass(frozen=True)
class Loss:
    """A replica that was restarted so often since the last look, or that `is_gone` without anybody asking for it."""

    replica: str
    revision: int
    restarts: int
    is_gone: bool
    said: str = ""
    at: datetime | None = None
    # Since when it, or what took its place, is ready; None while it is not.
    back_at: datetime | None = None


def call(
    before: Mapping[int, Call], pods: Sequence[PodSeen], observed: Mapping[int, ObservedRevision]
) -> tuple[dict[int, Call], list[Loss]]:
    """The pods of each revision as they are now, for the next look, and what was lost since the one `before`.

    `pods` were read before `observed`: so what was asked away is never seen before that it was asked for. A revision
    that is called for the first time has lost nothing. Where something else was asked for since, pods that are gone may
    have been asked away, and are not told; restarts never are asked for.
    """
    after, losses = dict[int, Call](), list[Loss]()
    for number in sorted({*observed, *(pod.revision for pod in pods)}):
        own, had = [pod for pod in pods if pod.revision == number], before.get(number)
        wish = observed.get(number, _NOTHING).wish
        if had is not None:
            losses += _losses(had, own, is_settled=bool(wish) and had.settled == wish)
        after[number] = _called(had, own, observed.get(number, _NOTHING))
    return after, losses


def asks_of_gone(before: Mapping[int, Call], present: Iterable[str], observed: Mapping[int, ObservedRevision]) -> bool:
    """Whether pods that are not `present` any more have to be read: one of the last look is missing, or a revision is
    as it is asked to be for the first time, so that those which were asked away before are not taken for lost later."""
    if not {name for each in before.values() for name in each.pods} <= set(present):
        return True
    return any(
        seen.is_whole and seen.wish and (number not in before or before[number].settled != seen.wish)
        for number, seen in observed.items()
    )


def short(pods: Sequence[PodSeen], observed: Mapping[int, ObservedRevision]) -> set[int]:
    """The revisions of which fewer pods are ready than their workloads ask for, as far as the pods themselves tell."""
    ready = [pod.revision for pod in pods if pod.ready_since is not None and not pod.is_gone]
    return {number for number, seen in observed.items() if ready.count(number) < seen.wanted}


def _losses(had: Call, pods: Sequence[PodSeen], *, is_settled: bool) -> list[Loss]:
    new = [pod for pod in pods if pod.name not in had.pods and not pod.is_gone]
    instead = max((pod.ready_since for pod in new if pod.ready_since), default=None)
    # A controller makes another one at once.
    began = min((pod.created_at for pod in new if pod.created_at), default=None)
    losses, found = list[Loss](), {pod.name for pod in pods}
    for pod in pods:
        again, is_gone = max(0, pod.restarts - had.pods.get(pod.name, 0)), False
        if pod.is_gone:
            # One that nobody has called came and went between two looks, if it was made after all that was known then.
            is_later = pod.created_at is not None and (had.newest is None or pod.created_at > had.newest)
            is_gone = is_settled and (pod.name in had.pods or is_later)
            again = again if pod.name in had.pods or is_gone else 0
        if again or is_gone:
            back = instead if pod.is_gone else pod.ready_since
            losses.append(Loss(pod.name, pod.revision, again, is_gone, pod.said, pod.at, back))
    if is_settled:
        revision = pods[0].revision if pods else 0
        losses += [Loss(name, revision, 0, True, at=began, back_at=instead) for name in had.pods if name not in found]
    return losses


def _called(had: Call | None, pods: Sequence[PodSeen], seen: ObservedRevision) -> Call:
    living = {pod.name: max(pod.restarts, had.pods.get(pod.name, 0) if had else 0) for pod in pods if not pod.is_gone}
    made = [pod.created_at for pod in pods if pod.created_at] + ([had.newest] if had and had.newest else [])
    kept = had.settled if had is not None and had.settled == seen.wish else 0
    return Call(living, seen.wish if seen.is_whole and len(living) == seen.wanted else kept, max(made, default=None))


def sentence(replica: str, restarts: int, is_gone: bool, said: str) -> str:
    """ "digits-r3-x ended with exit 137 SIGKILL.": what became of a replica, and how often."""
    why = said.rstrip(".")
    if is_gone:
        told = f": {why}." if why else "."
        again = f" after {restarts} restart{'' if restarts == 1 else 's'}" if restarts else ""
        return f"{replica} is gone{again}{told}"
    ended = f"{replica} ended{f' with {why}' if why else ''}"
    return f"{ended}." if restarts == 1 else f"{ended}, and was restarted {restarts}×."

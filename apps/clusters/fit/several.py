"""Several places that are chosen together, each out of those that are left. Pure.

Two of them share a cluster only where nothing else fits: who asks for two wants one that stays when the other is lost.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from apps.clusters.fit.asks import Wish
from apps.clusters.fit.ranking import Candidate, Judged, rank
from apps.clusters.usage.consumption import Price


@dataclass(frozen=True)
class Taken:
    """A place that something is on already."""

    name: str
    cluster: str
    namespace: str
    address: str = ""


@dataclass(frozen=True)
class Picked:
    """The places that were chosen, in their order, and all others as they stood beside the last one. `missing`: so many
    were asked for and could never be had. One that does not `fit` waits for room."""

    chosen: tuple[Judged, ...]
    others: tuple[Judged, ...]
    missing: int = 0


def pick(
    wish: Wish,
    numbers: Sequence[int],
    candidates: Sequence[Candidate],
    prices: Sequence[Price] = (),
    taken: Sequence[Taken] = (),
) -> Picked:
    """So many places, each for its number of the wish's pods. The same input in another order gives the same.

    The first of the ranking is chosen, also where it has no room now: of those that could hold it some time the one
    that is there and has most. No two are the same namespace of a cluster, or have the same address there.
    """
    left, chosen = list(candidates), list[Judged]()
    judged: Sequence[Judged] = ()
    for number in numbers:
        judged = rank(_apart(wish, number, left, taken), _open(left, taken), prices).judged
        if not judged or not judged[0].ever:
            break
        best, judged = judged[0], judged[1:]
        chosen.append(best)
        there = next(each for each in left if each.name == best.name)
        taken = (*taken, Taken(there.name, there.cluster, there.namespace, there.address))
        promise = replace(wish.ask, number=number)
        left = [
            replace(each, promised=(*each.promised, promise)) if each.cluster == there.cluster else each
            for each in left
            if each is not there
        ]
    return Picked(tuple(chosen), tuple(judged), len(numbers) - len(chosen))


def _apart(wish: Wish, number: int, left: Sequence[Candidate], taken: Sequence[Taken]) -> Wish:
    """The wish for so many pods, with the clusters that are taken as the last choice."""
    on = {each.cluster: each.name for each in reversed(taken)}
    shared = {each.name: f"on the same cluster as {on[each.cluster]}" for each in left if each.cluster in on}
    return replace(wish, ask=replace(wish.ask, number=max(1, number)), shared=shared)


def _open(left: Sequence[Candidate], taken: Sequence[Taken]) -> list[Candidate]:
    """The same with those barred whose namespace or address is taken."""
    spaces = {(each.cluster, each.namespace): f"the same namespace as {each.name}" for each in reversed(taken)}
    doors = {(each.cluster, each.address): f"the same hostname as {each.name}" for each in reversed(taken)}
    clash = {
        each.name: spaces.get((each.cluster, each.namespace))
        or (doors.get((each.cluster, each.address)) if each.address else None)
        for each in left
    }
    return [replace(each, barred=each.barred or clash[each.name] or "") for each in left]

"""The number of pods that each ReplicaSet of a Deployment should have: pure arithmetic.

As kube-controller-manager (pkg/controller/deployment/rolling.go and sync.go): never more than desired + maxSurge pods
in all, never fewer than desired - maxUnavailable available ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Set:
    """A ReplicaSet: what it should have, and how many pods of it are available. Sequences are ordered by age."""

    name: str
    replicas: int
    available: int = 0


@dataclass(frozen=True)
class Bounds:
    """The limits that a rollout must keep to."""

    desired: int
    surge: int
    unavailable: int

    @property
    def most(self) -> int:
        """Pods at most."""
        return self.desired + self.surge

    @property
    def least_available(self) -> int:
        """Available pods at least."""
        return self.desired - self.unavailable


def bounds(desired: int, max_surge: int | str, max_unavailable: int | str) -> Bounds:
    """Percentages of desired: surge is rounded up, unavailable down; both 0 would never move, so one may be missing."""
    surge, unavailable = _share(max_surge, desired, up=True), _share(max_unavailable, desired, up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return Bounds(desired, surge, min(unavailable, desired))


def _share(value: int | str, of: int, *, up: bool) -> int:
    text = str(value)
    if not text.endswith("%"):
        return int(text)
    exact = int(text[:-1]) * of / 100
    return math.ceil(exact) if up else math.floor(exact)


def grow(new: Set, old: Sequence[Set], limits: Bounds) -> int:
    """The replicas that the new set should have now."""
    if new.replicas >= limits.desired:
        return limits.desired
    room = limits.most - new.replicas - sum(each.replicas for each in old)
    return new.replicas + max(0, min(room, limits.desired - new.replicas))


def shrink(new: Set, old: Sequence[Set], limits: Bounds) -> dict[str, int]:
    """The replicas that the old sets should have now, for those that change. Pods that are not available go first."""
    total = new.replicas + sum(each.replicas for each in old)
    spare = total - limits.least_available - (new.replicas - new.available)
    if spare <= 0:
        return {}
    sizes = {each.name: each.replicas for each in old}
    for each in old:
        broken = min(max(each.replicas - each.available, 0), spare)
        sizes[each.name] -= broken
        spare -= broken
    healthy = new.available + sum(min(each.available, sizes[each.name]) for each in old)
    spare = min(spare, healthy - limits.least_available)
    for each in old:
        fewer = max(min(sizes[each.name], spare), 0)
        sizes[each.name] -= fewer
        spare -= fewer
    return {each.name: sizes[each.name] for each in old if sizes[each.name] != each.replicas}


def spread(sets: Sequence[Set], total: int) -> dict[str, int]:
    """Share `total` out in proportion to what the sets have; what does not divide goes to the newest (the last)."""
    have = sum(each.replicas for each in sets)
    if not sets:
        return {}
    if not have:
        return {sets[-1].name: total}
    sizes = {each.name: each.replicas * total // have for each in sets}
    sizes[sets[-1].name] += total - sum(sizes.values())
    return sizes

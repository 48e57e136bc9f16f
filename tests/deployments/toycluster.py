"""A toy cluster: told replica counts, it makes, readies, loses and removes pods at the pace that a test draws."""

from collections.abc import Collection, Mapping
from typing import Any

from hypothesis import strategies as st

from apps.deployments.reconcile.live import Live
from apps.deployments.specs import ObservedRevision as Seen


class Cluster:
    """One deployment on one cluster: what Kubernetes would say of each revision."""

    def __init__(self) -> None:
        self.seen: dict[int, Seen] = {}

    def apply(self, replicas: Mapping[int, int]) -> None:
        """What the shell does with a decision."""
        for number, count in replicas.items():
            old = self.seen.get(number, Seen(0))
            self.seen[number] = Seen(count, old.existing, old.ready, fresh=old.fresh and old.wanted == count)

    def advance(self, draw: st.DrawFn, broken: Collection[int]) -> None:
        """Kubernetes acts on some revisions; up to three replicas of each become ready."""
        for number in list(self.seen):
            if draw(st.booleans()):
                self.act(number, 0 if number in broken else draw(st.integers(0, 3)))

    def settle(self, broken: Collection[int]) -> None:
        """Kubernetes acts on all revisions, and all replicas become ready that can."""
        for number, seen in self.seen.items():
            self.act(number, 0 if number in broken else seen.wanted)

    def act(self, number: int, becoming_ready: int) -> None:
        """Kubernetes makes or removes pods of a revision; it removes those first that are not ready."""
        wanted = self.seen[number].wanted
        self.seen[number] = Seen(wanted, wanted, min(wanted, self.seen[number].ready + becoming_ready))

    def crash(self, number: int, count: int) -> None:
        """Ready replicas of a revision fall."""
        if number in self.seen:
            seen = self.seen[number]
            self.seen[number] = Seen(seen.wanted, seen.existing, max(0, seen.ready - count), fresh=seen.fresh)

    def vanish(self, number: int) -> None:
        """A hand deletes a revision's Kubernetes Deployment with all its pods."""
        self.seen.pop(number, None)

    @property
    def ready(self) -> int:
        return sum(seen.ready for seen in self.seen.values())

    @property
    def pods(self) -> int:
        return sum(seen.pods for seen in self.seen.values())

    @property
    def wanted(self) -> dict[int, int]:
        """The replicas of each revision that has any."""
        return {number: seen.pods for number, seen in sorted(self.seen.items()) if seen.pods}


class ToyLive(Live):
    """What a toy cluster has: each workload is itself what is seen of it."""

    def _seen(self, number: int, workload: Any) -> Any:
        return workload

    @property
    def troubles(self) -> Any:
        return iter(())

"""An autoscaler and a rollout on one placement, in any course of events: load comes and goes, replicas break, rounds
are killed between any two of their writes, and the new revision is promoted or taken back at any moment."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from apps.deployments.rollout.decisions import RolloutStatus
from apps.deployments.rollout.placement import Wanted, decide
from apps.deployments.rollout.strategy import parse_strategy
from apps.deployments.rollout.traffic import Share
from apps.deployments.scaling.handover import HandOver, Passing, hand_over
from apps.deployments.scaling.policy import Bounds
from apps.deployments.specs import ObservedRevision as Seen
from apps.deployments.states import RolloutState
from tests.deployments.toycluster import Cluster

NOW = datetime(2026, 11, 30, 3, 0, tzinfo=UTC)
STATUS = RolloutStatus(RolloutState.PROGRESSING, NOW)
BOUNDS = Bounds(2, 10)
OLD, NEW = 1, 2


@pytest.mark.parametrize(
    ("passing", "observed", "expected"),
    [
        # One revision alone: its number is its autoscaler's, and one to begin with where it has none.
        (Passing(1, 0, 5, 3), {1: Seen(7, 7, 7)}, HandOver(7, holds=False)),
        (Passing(1, 0, None, 3), {}, HandOver(3, holds=False)),
        (Passing(1, 0, None, 0), {1: Seen(0)}, HandOver(2, holds=False)),
        (Passing(1, 0, 30, 3), {}, HandOver(10, holds=False)),
        (Passing(None, 0, None, 3), {}, HandOver(3, holds=False)),
        # A retired revision without pods is nobody; one with pods is.
        (Passing(2, 0, 5, 3), {1: Seen(0), 2: Seen(6, 6, 6)}, HandOver(6, holds=False)),
        (Passing(2, 0, 8, 3), {1: Seen(0, 1), 2: Seen(6, 6, 6)}, HandOver(8, holds=True)),
        # The first revision begins with what people asked for.
        (Passing(1, 100, None, 3), {}, HandOver(3, holds=True, is_news=True)),
        # A canary follows its autoscaler upwards; a promotion begins with its number, taken back with the same.
        (Passing(1, 20, 8, 3), {1: Seen(9, 8, 8), 2: Seen(1, 1, 1)}, HandOver(9, holds=True, is_news=True)),
        (Passing(2, 100, 9, 3), {1: Seen(4, 4, 4), 2: Seen(6, 6, 6)}, HandOver(9, holds=True)),
        (Passing(1, 0, 9, 3), {1: Seen(4, 4, 4), 2: Seen(6, 6, 6)}, HandOver(9, holds=True)),
        # The bounds are people's word, also then.
        (Passing(2, 100, 30, 3), {1: Seen(30, 30, 30)}, HandOver(10, holds=True)),
    ],
)
def test_what_follows_from_a_row_and_a_cluster(passing: Passing, observed: dict[int, Seen], expected: HandOver) -> None:
    assert hand_over(BOUNDS, passing, observed) == expected


class Killed(Exception):
    """The process ends here."""


@dataclass
class Placement:
    """A placement's row, the cluster under it, and the autoscaler there: the revision that it scales, and how."""

    kind: str
    cluster: Cluster = field(default_factory=Cluster)
    coming: bool = False
    weight: int = 0
    stable: int = OLD
    remembered: int | None = None
    scaler: tuple[int, bool] | None = None
    broken: set[int] = field(default_factory=set)
    # As many as the load wanted when the new revision got its first replica, or since it has wanted fewer and was let.
    began_with: int = 0

    @property
    def serving(self) -> int:
        """The revision that serves in the end of what is wanted."""
        return NEW if self.coming and self.weight == 100 else self.stable

    def weigh(self, weight: int) -> None:
        """The rollout wants another share."""
        self.coming, self.weight = True, weight

    def end(self, *, well: bool) -> None:
        """The rollout is over."""
        self.stable = NEW if well else OLD
        self.coming, self.weight = False, 0

    def scale(self, wish: int) -> None:
        """A round of the autoscaler's controller, as Kubernetes does it."""
        if self.scaler is None:
            return
        number, holds = self.scaler
        had = self.cluster.seen[number].wanted if number in self.cluster.seen else 0
        if had == 0:
            return
        least = 1 if holds else BOUNDS.least
        wish = min(max(wish, least), BOUNDS.most)
        if wish > had or not holds:
            self.cluster.apply({number: wish})
        if not holds:
            self.began_with = min(self.began_with, wish)

    def round(self, dies_at: int = -1) -> None:
        """A round of the placement, killed before one of its writes."""
        for number, _ in enumerate(self._writes()):
            if number == dies_at:
                return

    def _writes(self) -> Iterator[None]:
        """As the shell does it, with a stop before each write."""
        seen = dict(self.cluster.seen)
        passing = Passing(self.serving, self.weight if self.coming else 0, self.remembered, start=3)
        passed = hand_over(BOUNDS, passing, seen)
        yield
        if passed.is_news:
            self.remembered = passed.replicas
        coming = NEW if self.coming else None
        wanted = Wanted(passed.replicas, self.stable, coming, Share(self.weight), scaler="Autoscaler app")
        decision = decide(wanted, parse_strategy({"kind": self.kind}), STATUS, seen, NOW)
        yield
        if self.serving in seen:
            self.scaler = (self.serving, passed.holds)
        for number, count in decision.replicas.items():
            yield
            if number == NEW and not self.began_with:
                self.began_with = seen[OLD].wanted
            if number not in seen or seen[number].wanted != count:
                self.check_shrinks(number, count)
                self.cluster.apply({number: count})
        yield
        self.scaler = (self.serving, passed.holds)
        yield
        self.remembered = passed.replicas

    def check_shrinks(self, number: int, count: int) -> None:
        """Nothing is taken away below what the load wanted when it began, as long as it was there."""
        if self.kind == "recreate":
            return
        seen = self.cluster.seen
        had = sum(each.surely_ready for each in seen.values())
        kept = sum(min(each.surely_ready, count if n == number else each.wanted) for n, each in seen.items())
        assert kept >= min(had, self.began_with), (self, number, count)


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(
            ["round", "round", "round", "kill", "kubernetes", "kubernetes", "load", "load", "step", "back"]
        ),
        st.integers(0, 12),
    ),
    max_size=40,
)


@settings(max_examples=100, deadline=None)
@given(
    kind=st.sampled_from(["canary", "canary", "rolling", "recreate"]),
    number=st.integers(2, 10),
    events=EVENTS,
    is_bad=st.booleans(),
    ends_well=st.booleans(),
    far=st.integers(0, 6),
)
@example(
    "canary", 3, [("step", 0), ("round", 0), ("back", 0), ("round", 0), ("round", 0), ("load", 0)], False, False, 0
)
def test_the_number_is_passed_on_in_any_course_of_events(
    kind: str, number: int, events: list[tuple[str, int]], is_bad: bool, ends_well: bool, far: int
) -> None:
    place = Placement(kind, remembered=number)
    place.cluster.apply({OLD: number})
    place.cluster.settle(())
    place.round()
    place.weigh(0)
    place.broken = {NEW} if is_bad else set()
    steps = [20, 50, 80, 100] if kind == "canary" else [100]
    for what, amount in events:
        if what in ("round", "kill"):
            place.round(amount if what == "kill" else -1)
        elif what == "kubernetes":
            for each in list(place.cluster.seen):
                place.cluster.act(each, 0 if each in place.broken else amount)
        elif what == "load":
            place.scale(amount)
        elif what == "step" and steps:
            place.weigh(steps.pop(0))
        elif what == "back":
            steps = []
            place.weigh(0)
    if far:
        place.weigh(100)
    for _ in range(far):
        place.round()
        place.cluster.settle(place.broken)
    well = ends_well and not is_bad
    place.weigh(100 if well else 0)
    for _ in range(60):
        place.round()
        place.cluster.settle(place.broken)
    serving = place.serving
    assert place.scaler is not None and place.scaler[0] == serving, place
    assert place.cluster.wanted.keys() == {serving}, place
    assert place.cluster.ready >= place.began_with, place
    place.end(well=well)
    place.round()
    assert place.scaler == (serving, False)
    assert place.cluster.ready >= place.began_with, "the end of the rollout takes nothing away by itself"
    place.scale(BOUNDS.least)
    place.round()
    assert place.cluster.seen[serving].wanted == BOUNDS.least, "but the load may, from then on"

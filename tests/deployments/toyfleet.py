"""A toy fleet: a rollout over toy clusters, with the least shell around the pure decisions, and what must always hold.

Revision 1 served before, revision 2 comes. What must hold is asserted at each move, whatever a test lets happen.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from apps.deployments.rollout import fleet, placement
from apps.deployments.rollout.decisions import Decision, RolloutStatus
from apps.deployments.rollout.plan import plan_of
from apps.deployments.rollout.strategy import Do, Kind, Strategy
from apps.deployments.states import ROLLOUT_MOVES, RolloutState
from tests.deployments.toycluster import Cluster

START = datetime(2026, 11, 30, 3, 0, tzinfo=UTC)
OLD, NEW = 1, 2


@dataclass
class Place:
    """A placement, its stage, and the cluster under it."""

    target: str
    desired: int
    strategy: Strategy
    is_fresh: bool = False
    cluster: Cluster = field(default_factory=Cluster)
    is_here: bool = True
    # What is wrong with the new revision on this cluster: it never becomes ready; and whether Kubernetes says so.
    is_bad: bool = False
    is_loud: bool = False
    weight: int = 0
    was_given: bool = False
    status: RolloutStatus = field(default_factory=lambda: RolloutStatus(RolloutState.PENDING, START))
    trouble: str = ""

    def __post_init__(self) -> None:
        if not self.is_fresh:
            self.cluster.apply({OLD: self.desired})
            self.cluster.settle(())

    @property
    def broken(self) -> tuple[int, ...]:
        """The revisions whose replicas don't become ready here."""
        return (NEW,) if self.is_bad else ()

    def has_arrived_at(self, weight: int) -> bool:
        """Whether its last round was made for this weight, and found all as it is wanted."""
        return self.weight == weight and self.status.state is RolloutState.HEALTHY

    def weigh(self, weight: int, now: datetime) -> None:
        """Another weight is wanted: its stage begins anew."""
        self.was_given |= weight > 0
        self.weight, self.trouble, self.status = weight, "", RolloutStatus(RolloutState.PENDING, now)

    def round(self, now: datetime) -> None:
        """Observe, decide, apply, record; nothing while the cluster is away."""
        if not self.is_here:
            return
        if self.status.state is RolloutState.PENDING:
            self.status = replace(self.status, progressed_at=now)
        decision = self._decide(now)
        assert decision == self._decide(now)
        self._keeps_capacity(decision)
        self.cluster.apply(decision.replicas)
        self.status = RolloutStatus(
            decision.state,
            now if decision.progressed else self.status.progressed_at,
            max(self.status.new_ready, decision.new_ready),
            min(self.status.old_left, decision.old_left),
        )
        cries = self.is_bad and self.is_loud and NEW in self.cluster.seen and self.cluster.seen[NEW].existing > 0
        stuck = decision.message if decision.state is RolloutState.DEGRADED else ""
        self.trouble = ("It crashes." if cries else stuck) if self.weight else ""

    def _decide(self, now: datetime) -> Decision:
        wanted = placement.Wanted(self.desired, None if self.is_fresh else OLD, NEW, self.weight)
        return placement.decide(wanted, self.strategy, self.status, self.cluster.seen, now)

    def _keeps_capacity(self, decision: Decision) -> None:
        """What stays ready when Kubernetes has acted is as much as there was, or as much as is wanted; or, where
        revisions must not run beside each other, there is no pod of one of them while another is told to come."""
        seen, replicas = self.cluster.seen, decision.replicas
        if self.strategy.kind is Kind.RECREATE:
            told = [n for n, count in replicas.items() if count > (seen[n].wanted if n in seen else 0)]
            assert not any(each.pods for number, each in seen.items() for n in told if number != n), decision
            return
        spare = 0 if 0 < self.weight < 100 else self.strategy.max_unavailable
        needed = 0 if self.is_fresh and not self.weight else self.desired - spare
        had = sum(each.surely_ready for each in seen.values())
        kept = sum(min(each.surely_ready, replicas.get(number, each.wanted)) for number, each in seen.items())
        assert kept >= min(had, needed), (self, decision)
        if not self.was_given:
            assert NEW not in replicas, (self, decision)
        if 0 < self.weight <= 50 and not self.is_fresh:
            assert replicas[OLD] == self.desired, (self, decision)


class World:
    """All placements, and the rollout over them."""

    def __init__(self, strategy: Strategy, places: Sequence[Place]) -> None:
        self.now = START
        self.places = {place.target: place for place in places}
        fresh = [place.target for place in places if place.is_fresh]
        self.plan = plan_of(strategy, list(self.places), fresh=fresh)
        self.analyses: dict[int, fleet.Verdict] = {}
        self.rollout = fleet.FleetStatus(RolloutState.PENDING, 0, self.now, on_failure=strategy.on_failure)
        self.reason = ""

    @property
    def is_over(self) -> bool:
        return self.rollout.state.is_final

    def ask(self, **asked: bool | str) -> None:
        """A person asks for something, as long as there is a rollout to ask it of."""
        if not self.is_over:
            self.rollout = replace(self.rollout, **asked)  # type: ignore[arg-type]

    def move(self) -> None:
        """Decide where the rollout stands, and record it."""
        before = self.rollout
        decision = fleet.decide(self.plan, before, self._seen(), self.analyses, self.now)
        self._follows_the_rules(before, decision)
        self.reason = decision.reason
        self.rollout = replace(
            before,
            state=decision.state,
            step=decision.step,
            since=decision.since,
            promote=False,
            verdict=decision.verdict_reason,
        )
        for target, weight in decision.weights.items():
            if weight != self.places[target].weight:
                self.places[target].weigh(weight, self.now)
        again = fleet.decide(self.plan, self.rollout, self._seen(), self.analyses, self.now)
        assert again.weights == decision.weights
        if not self.is_over:
            assert (again.state, again.step, again.since) == (decision.state, decision.step, decision.since)

    def _seen(self) -> dict[str, fleet.PlacementSeen]:
        return {
            target: fleet.PlacementSeen(
                target, place.is_here, place.weight, place.status.state is RolloutState.HEALTHY, place.trouble
            )
            for target, place in self.places.items()
        }

    def _follows_the_rules(self, before: fleet.FleetStatus, decision: fleet.FleetDecision) -> None:
        assert decision.state is before.state or decision.state in ROLLOUT_MOVES[before.state]
        assert decision.step >= before.step
        assert decision.message.endswith("."), decision
        for index in range(before.step, decision.step):
            self._may_pass(index, before)
        assert decision.since == (before.since if decision.step == before.step else self.now)
        if decision.state in (RolloutState.FAILED, RolloutState.ABORTED):
            assert all(place.has_arrived_at(0) for place in self.places.values() if place.is_here and place.was_given)
        if decision.state is RolloutState.HEALTHY:
            assert all(place.has_arrived_at(100) for place in self.places.values()) or before.state.is_final
        if decision.state in (RolloutState.ROLLING_BACK, RolloutState.FAILED, RolloutState.ABORTED):
            assert not any(decision.weights.values())
            return
        had = {target: place.weight for target, place in self.places.items()}
        assert all(decision.weights[target] >= weight for target, weight in had.items())
        if before.paused and not before.state.is_final:
            assert decision.weights == had
        wave_of = {target: step.wave for step in self.plan for target in step.targets}
        begun = max((wave_of[target] for target, weight in decision.weights.items() if weight), default=0)
        assert all(weight == 100 for target, weight in decision.weights.items() if wave_of[target] < begun)

    def _may_pass(self, index: int, before: fleet.FleetStatus) -> None:
        """A wait is passed by its own clock, its own verdict, or a person's word for just this one."""
        step = self.plan[index]
        if before.full or step.do in (Do.SET_WEIGHT, Do.PROMOTE):
            return
        if step.do is Do.ANALYSE:
            outcome = self.analyses[index].outcome
            assert outcome is fleet.Outcome.SUCCESSFUL or (before.promote and index == before.step)
            assert outcome is not fleet.Outcome.RUNNING
            return
        assert index == before.step, "a wait takes some time at least"
        waited = (self.now - before.since).total_seconds()
        assert before.promote or (step.seconds is not None and waited >= step.seconds)

    def pass_time(self, seconds: int) -> None:
        """The clock goes on."""
        self.now += timedelta(seconds=seconds)

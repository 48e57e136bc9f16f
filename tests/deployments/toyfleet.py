"""A toy fleet: a rollout over toy clusters, with the least shell around the pure decisions, and what must always hold.

Revision 1 served before, revision 2 comes. What must hold is asserted at each move, whatever a test lets happen.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from apps.deployments.rollout import fleet, placement
from apps.deployments.rollout.blue_green import DRAIN
from apps.deployments.rollout.decisions import Decision, RolloutStatus
from apps.deployments.rollout.plan import plan_of
from apps.deployments.rollout.refusals import Refusal, held_up, told
from apps.deployments.rollout.seen import FleetStatus, PlacementSeen
from apps.deployments.rollout.steps import Do
from apps.deployments.rollout.strategy import Kind, OnFailure, Strategy
from apps.deployments.rollout.traffic import ALL, NOTHING, Phase, Selected, Share
from apps.deployments.rollout.verdicts import Outcome, Verdict
from apps.deployments.states import ROLLOUT_MOVES, TAKEN_BACK, RolloutState
from tests.deployments.toycluster import Cluster
from tests.deployments.toygateway import Gateway

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
    # What the API server says to the new revision's workload, and whether to a change of the Service, too.
    refusal: Refusal | None = None
    keeps_service: bool = False
    share: Share = NOTHING
    was_given: bool = False
    # What the Service selects, and when each revision was deselected.
    selected: Selected | None = None
    gateway: Gateway | None = None
    left_at: dict[int, datetime] = field(default_factory=dict)
    status: RolloutStatus = field(default_factory=lambda: RolloutStatus(RolloutState.PENDING, START))
    trouble: str = ""
    refused: str = ""

    def __post_init__(self) -> None:
        if not self.is_fresh:
            self.cluster.apply({OLD: self.desired})
            self.cluster.settle(())
            # A blue-green may come after another strategy, whose Service selects all.
            is_blue_green = self.strategy.kind is Kind.BLUE_GREEN or self.is_routed
            self.selected = Selected(OLD if is_blue_green and self.desired % 2 else None, START - DRAIN)

    @property
    def is_routed(self) -> bool:
        """Whether an HTTPRoute gives the weights."""
        return self.gateway is not None and self.strategy.kind in (Kind.CANARY, Kind.SHADOW)

    @property
    def broken(self) -> tuple[int, ...]:
        """The revisions whose replicas don't become ready here."""
        return (NEW,) if self.is_bad else ()

    def has_arrived_at(self, share: Share) -> bool:
        """Whether its last round was made for this share, and found all as it is wanted."""
        return self.share == share and self.status.state is RolloutState.HEALTHY

    def give(self, share: Share, now: datetime) -> None:
        """Another share is wanted: its stage begins anew."""
        self.was_given |= bool(share)
        self.share, self.trouble, self.status = share, "", RolloutStatus(RolloutState.PENDING, now)
        self.refused = ""

    def round(self, now: datetime) -> None:
        """Observe, decide, apply, record; nothing while the cluster is away."""
        if not self.is_here:
            return
        if self.status.state is RolloutState.PENDING:
            self.status = replace(self.status, progressed_at=now)
        decision = self._decide(now)
        assert decision == self._decide(now)
        if self.strategy.kind is Kind.BLUE_GREEN or self.is_routed:
            self._keeps_traffic(decision, now)
        else:
            self._keeps_capacity(decision)
        refusals = self._refuse(decision)
        if self.gateway is not None:
            deadline, shadow = self.strategy.progress_deadline, self.strategy.shadow_replicas
            self.gateway.keeps(
                decision.traffic, decision.replicas, self.cluster.seen, self.desired, now, deadline, shadow
            )
            self.gateway.apply(decision.traffic, now)
        self.cluster.apply({n: count for n, count in decision.replicas.items() if not (refusals and n == NEW)})
        selects = self.selected.revision if refusals and self.selected else decision.traffic.selects
        decision = self._hold_up(decision, refusals, now)
        if self.selected is None or self.selected.revision != selects:
            self.left_at |= {n: now for n in self.cluster.seen if self.selected and self.selected.revision in (None, n)}
            self.selected = Selected(selects, now)
        self.status = RolloutStatus(
            decision.state,
            now if decision.progressed else self.status.progressed_at,
            max(self.status.new_ready, decision.new_ready),
            min(self.status.old_left, decision.old_left),
        )
        cries = self.is_bad and self.is_loud and NEW in self.cluster.seen and self.cluster.seen[NEW].existing > 0
        stuck = decision.message if decision.state is RolloutState.DEGRADED else ""
        self.trouble = ("It crashes." if cries else stuck) if self.share else ""

    def _refuse(self, decision: Decision) -> list[Refusal]:
        """What the API server refuses of what is decided: to make or resize the new revision, to switch the Service."""
        makes = decision.replicas.get(NEW) not in (
            None,
            self.cluster.seen[NEW].wanted if NEW in self.cluster.seen else None,
        )
        switches = (
            self.keeps_service and self.selected is not None and decision.traffic.selects != self.selected.revision
        )
        return [self.refusal] if self.refusal is not None and (makes or switches) else []

    def _hold_up(self, decision: Decision, refusals: list[Refusal], now: datetime) -> Decision:
        self.refused = told(refusals, self.target) if refusals else ""
        if not refusals:
            return decision
        deadline = self.strategy.progress_deadline
        held = held_up(decision, self.status, refusals, self.refused, now, deadline)
        assert held.state is not RolloutState.HEALTHY
        return held

    def _decide(self, now: datetime) -> Decision:
        wanted = placement.Wanted(self.desired, None if self.is_fresh else OLD, NEW, self.share)
        route = self.gateway.seen(now) if self.gateway is not None else None
        return placement.decide(wanted, self.strategy, self.status, self.cluster.seen, now, self.selected, route)

    def _keeps_traffic(self, decision: Decision, now: datetime) -> None:
        """What requests come to has as much capacity as there was, or as is wanted; and nothing comes to a preview."""
        if self.is_fresh and not self.share:
            return
        seen, replicas, traffic = self.cluster.seen, decision.replicas, decision.traffic
        before = self.selected
        takers = [n for n in seen if before is not None and before.revision in (None, n)]
        had = sum(seen[n].surely_ready for n in takers)
        kept = sum(min(s.surely_ready, replicas.get(n, s.wanted)) for n, s in seen.items() if traffic.takes(n))
        assert kept >= min(had, self.desired), (self, decision)
        for number in takers if before is not None and before.revision != traffic.selects else ():
            assert replicas.get(number, 0) >= min(seen[number].surely_ready, self.desired), (self, decision)
        for number, at in self.left_at.items():
            if number in seen and now - at < DRAIN and not traffic.takes(number):
                assert replicas.get(number, 0) >= min(seen[number].surely_ready, self.desired), (self, decision)
        grows = replicas.get(NEW, 0) > (seen[NEW].wanted if NEW in seen else 0)
        if grows and self.share.weight < 100 and not self.is_fresh:
            assert before is not None and before.revision == traffic.selects == OLD, (self, decision)
        if self.share.phase and not self.is_fresh:
            assert replicas[OLD] == self.desired, (self, decision)
            assert traffic.preview == NEW, (self, decision)
        if self.share.mirror:
            assert replicas[OLD] == self.desired and not traffic.takes(NEW), (self, decision)
        if self.share.phase is Phase.PREVIEW:
            assert replicas[NEW] <= (self.strategy.preview_replicas or self.desired), (self, decision)
        if not self.was_given:
            assert NEW not in replicas, (self, decision)

    def _keeps_capacity(self, decision: Decision) -> None:
        """What stays ready when Kubernetes has acted is as much as there was, or as much as is wanted; or, where
        revisions must not run beside each other, there is no pod of one of them while another is told to come."""
        seen, replicas = self.cluster.seen, decision.replicas
        if self.strategy.kind is Kind.RECREATE:
            told = [n for n, count in replicas.items() if count > (seen[n].wanted if n in seen else 0)]
            assert not any(each.pods for number, each in seen.items() for n in told if number != n), decision
            return
        spare = 0 if not self.share.is_end else self.strategy.max_unavailable
        needed = 0 if self.is_fresh and not self.share else self.desired - spare
        had = sum(each.surely_ready for each in seen.values())
        kept = sum(min(each.surely_ready, replicas.get(number, each.wanted)) for number, each in seen.items())
        assert kept >= min(had, needed), (self, decision)
        if not self.was_given:
            assert NEW not in replicas, (self, decision)
        if 0 < self.share.weight <= 50 and not self.is_fresh:
            assert replicas[OLD] == self.desired, (self, decision)


class World:
    """All placements, and the rollout over them."""

    def __init__(self, strategy: Strategy, places: Sequence[Place]) -> None:
        self.now = START
        self.places = {place.target: place for place in places}
        fresh = [place.target for place in places if place.is_fresh]
        self.plan = plan_of(strategy, list(self.places), fresh=fresh)
        self.analyses: dict[int, Verdict] = {}
        # How the analysis over all waves stands; None once a person has gone past it, and where there is none.
        self.whole: Verdict | None = Verdict(Outcome.RUNNING) if strategy.analysis is not None else None
        # How often it began to be taken back.
        self.turns = 0
        self.rollout = FleetStatus(RolloutState.PENDING, 0, self.now, on_failure=strategy.on_failure)
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
        decision = fleet.decide(self.plan, before, self._seen(), self.analyses, self.now, whole=self.whole)
        self._follows_the_rules(before, decision)
        self._heeds_the_whole(before, decision)
        self.reason = decision.reason
        self.whole = None if decision.overrules else self.whole
        self.turns += decision.state in TAKEN_BACK and before.state not in TAKEN_BACK
        self.rollout = replace(
            before,
            state=decision.state,
            step=decision.step,
            since=decision.since,
            promote=False,
            verdict=decision.verdict_reason,
        )
        for target, share in decision.shares.items():
            if share != self.places[target].share:
                self.places[target].give(share, self.now)
        again = fleet.decide(self.plan, self.rollout, self._seen(), self.analyses, self.now, whole=self.whole)
        assert again.shares == decision.shares
        if not self.is_over:
            assert (again.state, again.step, again.since) == (decision.state, decision.step, decision.since)

    def _seen(self) -> dict[str, PlacementSeen]:
        return {
            target: PlacementSeen(
                target,
                place.is_here,
                place.share,
                place.status.state is RolloutState.HEALTHY,
                place.trouble,
                place.refused,
            )
            for target, place in self.places.items()
        }

    def _follows_the_rules(self, before: FleetStatus, decision: fleet.FleetDecision) -> None:
        assert decision.state is before.state or decision.state in ROLLOUT_MOVES[before.state]
        assert decision.step >= before.step
        assert decision.message.endswith("."), decision
        for index in range(before.step, decision.step):
            self._may_pass(index, before)
        assert decision.since == (before.since if decision.step == before.step else self.now)
        if decision.state in (RolloutState.FAILED, RolloutState.ABORTED) and not before.state.is_final:
            assert all(
                place.has_arrived_at(NOTHING) for place in self.places.values() if place.is_here and place.was_given
            )
        if decision.state is RolloutState.HEALTHY:
            assert all(place.has_arrived_at(ALL) for place in self.places.values()) or before.state.is_final
        if decision.state in (RolloutState.ROLLING_BACK, RolloutState.FAILED, RolloutState.ABORTED):
            assert not any(decision.shares.values())
            return
        had = {target: place.share for target, place in self.places.items()}
        assert all(_rank(decision.shares[target]) >= _rank(share) for target, share in had.items())
        if before.paused and not before.state.is_final:
            assert decision.shares == had
        first = {target: step.wave for step in reversed(self.plan) for target in step.targets}
        last = {target: step.wave for step in self.plan for target in step.targets}
        begun = max((first[target] for target, share in decision.shares.items() if share), default=0)
        assert all(share == ALL for target, share in decision.shares.items() if last[target] < begun)
        told = self.plan[: decision.step + 1]
        for target, share in decision.shares.items():
            brought = [step.brings for step in told if step.brings is not None and target in step.targets]
            assert share in (NOTHING, *brought), f"{target} gets what no step of its waves has brought"

    def _heeds_the_whole(self, before: FleetStatus, decision: fleet.FleetDecision) -> None:
        """One verdict for all: a failure takes everything back at once, and nothing ends well without a good one."""
        if self.whole is None or before.full or before.state.is_final or before.state in TAKEN_BACK:
            return
        outcome = self.whole.outcome
        if outcome is Outcome.FAILED and before.on_failure is OnFailure.ROLLBACK:
            assert decision.state in TAKEN_BACK and not any(decision.shares.values()), decision
        if decision.state is RolloutState.HEALTHY:
            assert outcome is Outcome.SUCCESSFUL or decision.overrules, decision
        if decision.step > before.step:
            assert outcome in (Outcome.SUCCESSFUL, Outcome.RUNNING) or decision.overrules, decision
        assert not decision.overrules or before.promote

    def _may_pass(self, index: int, before: FleetStatus) -> None:
        """A wait is passed by its own clock, its own verdict, or a person's word for just this one."""
        step = self.plan[index]
        if before.full or step.brings is not None:
            return
        if step.do is Do.ANALYSE:
            outcome = self.analyses[index].outcome
            assert outcome is Outcome.SUCCESSFUL or (before.promote and index == before.step)
            assert outcome is not Outcome.RUNNING
            return
        assert index == before.step, "a wait takes some time at least"
        waited = (self.now - before.since).total_seconds()
        assert before.promote or (step.seconds is not None and waited >= step.seconds)

    def pass_time(self, seconds: int) -> None:
        """The clock goes on."""
        self.now += timedelta(seconds=seconds)


def _rank(share: Share) -> int:
    """How far a share is on the way from nothing to all."""
    beside = {Phase.PREVIEW: 1, Phase.SWITCHED: 101}.get(share.phase, 0) or int(share.mirror > 0)
    return beside or (2 * (share == ALL) + share.weight)

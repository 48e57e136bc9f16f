"""The rolling strategy: tables for what each step does, and properties that hold in every course of events."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.deployments.reconcile import _ahead
from apps.deployments.rollout.decisions import RolloutStatus
from apps.deployments.rollout.placement import Wanted
from apps.deployments.rollout.placement import decide as of_placement
from apps.deployments.rollout.rolling import RollingSpec, decide
from apps.deployments.rollout.strategy import parse_strategy
from apps.deployments.rollout.traffic import Selected, Share
from apps.deployments.specs import ObservedRevision
from apps.deployments.states import RolloutState
from tests.deployments.toycluster import Cluster

NOW = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)
Seen = ObservedRevision


def status(new_ready: int = 0, old_left: int = 0, *, since: timedelta = timedelta(0)) -> RolloutStatus:
    return RolloutStatus(RolloutState.PROGRESSING, NOW - since, new_ready, old_left)


STEPS = [
    # name, spec, observed {revision: (wanted, existing, ready)}, replicas, reason
    ("first revision at once", RollingSpec(3, 1), {}, {1: 3}, "Creating"),
    ("surge first, old untouched", RollingSpec(3, 2), {1: (3, 3, 3)}, {1: 3, 2: 1}, "Creating"),
    ("waits for Ready", RollingSpec(3, 2), {1: (3, 3, 3), 2: (1, 1, 0)}, {1: 3, 2: 1}, "WaitingForReady"),
    ("old shrinks when new is Ready", RollingSpec(3, 2), {1: (3, 3, 3), 2: (1, 1, 1)}, {1: 2, 2: 1}, "ScalingDown"),
    ("no room until the old pod is gone", RollingSpec(3, 2), {1: (2, 3, 3), 2: (1, 1, 1)},
     {1: 2, 2: 1}, "WaitingForOld"),
    ("then the next surge", RollingSpec(3, 2), {1: (2, 2, 2), 2: (1, 1, 1)}, {1: 2, 2: 2}, "ScalingUp"),
    ("last old replica goes", RollingSpec(3, 2), {1: (1, 1, 1), 2: (3, 3, 3)}, {1: 0, 2: 3}, "ScalingDown"),
    ("complete", RollingSpec(3, 2), {1: (0, 0, 0), 2: (3, 3, 3)}, {1: 0, 2: 3}, "Complete"),
    ("superseded half-way: the unready one goes first", RollingSpec(3, 3, stable=1),
     {1: (3, 3, 3), 2: (1, 1, 0)}, {1: 3, 2: 0, 3: 0}, "Creating"),
    ("superseded half-way: ready superseded before stable", RollingSpec(3, 3, stable=1),
     {1: (2, 2, 2), 2: (1, 1, 1), 3: (1, 1, 1)}, {1: 2, 2: 0, 3: 1}, "ScalingDown"),
    ("the stable one is broken: the new one comes anyway", RollingSpec(3, 2, stable=1),
     {1: (3, 3, 0)}, {1: 3, 2: 1}, "Creating"),
    ("the stable one is broken: it goes as the new becomes ready", RollingSpec(3, 2, stable=1),
     {1: (3, 3, 0), 2: (1, 1, 1)}, {1: 2, 2: 1}, "ScalingDown"),
    ("scaled up in mid-roll, new is good: it grows", RollingSpec(5, 2), {1: (2, 2, 2), 2: (1, 1, 1)},
     {1: 2, 2: 4}, "ScalingUp"),
    ("scaled up in mid-roll, new is unproven: the old grows", RollingSpec(5, 2), {1: (3, 3, 3), 2: (1, 1, 0)},
     {1: 5, 2: 1}, "WaitingForReady"),
    ("scaled down in mid-roll", RollingSpec(2, 2), {1: (4, 4, 4), 2: (2, 2, 1)}, {1: 1, 2: 2}, "ScalingDown"),
    ("scaled to zero", RollingSpec(0, 2), {1: (2, 2, 2), 2: (1, 1, 1)}, {1: 0, 2: 0}, "ScalingDown"),
    ("zero from the start", RollingSpec(0, 1), {}, {1: 0}, "Creating"),
    ("zero is complete", RollingSpec(0, 1), {1: (0, 0, 0)}, {1: 0}, "Complete"),
    ("no surge: an old one makes room", RollingSpec(3, 2, max_surge=0, max_unavailable=1),
     {1: (3, 3, 3)}, {1: 2, 2: 0}, "Creating"),
    ("scale in steady state, up", RollingSpec(5, 1), {1: (3, 3, 3)}, {1: 5}, "ScalingUp"),
    ("scale in steady state, down", RollingSpec(1, 1), {1: (3, 3, 3)}, {1: 1}, "ScalingDown"),
    ("urgent: the stable one comes back whole at once", RollingSpec(10, 1, stable=1, urgent=True),
     {1: (3, 3, 3), 2: (10, 10, 10)}, {1: 10, 2: 7}, "ScalingUp"),
    ("urgent: what is bad goes one by one with what becomes ready", RollingSpec(10, 1, stable=1, urgent=True),
     {1: (10, 10, 6), 2: (7, 7, 7)}, {1: 10, 2: 4}, "ScalingDown"),
    ("urgent: what is bad and unready goes at once", RollingSpec(4, 1, stable=1, urgent=True),
     {1: (2, 2, 1), 2: (4, 4, 1)}, {1: 4, 2: 1}, "ScalingUp"),
    ("urgent: what serves though it is bad stays while nothing else does", RollingSpec(4, 1, stable=1, urgent=True),
     {1: (4, 4, 0), 2: (4, 4, 4)}, {1: 4, 2: 4}, "WaitingForReady"),
    ("urgent: scaled up meanwhile, what is bad grows not", RollingSpec(6, 1, max_surge=3, stable=1, urgent=True),
     {2: (1, 1, 1)}, {1: 6, 2: 1}, "Creating"),
    ("urgent: pods that are still leaving leave no room for more than are wanted", RollingSpec(4, 1, urgent=True),
     {1: (2, 4, 4), 2: (4, 4, 4)}, {1: 2, 2: 2}, "ScalingDown"),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "seen", "replicas", "reason"), [row[1:] for row in STEPS], ids=[r[0] for r in STEPS])
def test_one_step(
    spec: RollingSpec, seen: dict[int, tuple[int, int, int]], replicas: dict[int, int], reason: str
) -> None:
    decision = decide(spec, status(), {n: Seen(*counts) for n, counts in seen.items()}, NOW)
    assert (dict(decision.replicas), decision.reason) == (replicas, reason)
    assert (decision.state is RolloutState.HEALTHY) == (reason == "Complete")
    assert decision.message.endswith(".")


def test_a_stale_answer_completes_nothing() -> None:
    decision = decide(RollingSpec(3, 1), status(3), {1: Seen(3, 3, 3, fresh=False)}, NOW)
    assert (decision.state, decision.reason) == (RolloutState.PROGRESSING, "Observing")


def test_ready_replicas_that_were_told_to_go_count_no_more() -> None:
    # The old one was just told 2, but its status still says 3 ready: it must not shrink again.
    decision = decide(RollingSpec(3, 2), status(), {1: Seen(2, 3, 3, fresh=False), 2: Seen(1, 1, 1)}, NOW)
    assert decision.replicas == {1: 2, 2: 1}


def test_degraded_after_the_deadline_with_the_reason_and_a_way_back() -> None:
    spec = RollingSpec(3, 2, progress_deadline=timedelta(minutes=2))
    stuck = {1: Seen(3, 3, 3), 2: Seen(1, 1, 0)}
    late = decide(spec, status(0, 3, since=timedelta(minutes=3)), stuck, NOW)
    assert (late.state, late.reason) == (RolloutState.DEGRADED, "ProgressDeadlineExceeded")
    assert late.message == "Revision 2 made no progress for 2 min: 0 of 3 ready, 3 earlier replicas are still there."
    # It goes on trying: as soon as a replica is ready, it moves again.
    moving = decide(spec, status(0, 3, since=timedelta(minutes=3)), {1: Seen(3, 3, 3), 2: Seen(1, 1, 1)}, NOW)
    assert (moving.state, moving.replicas) == (RolloutState.PROGRESSING, {1: 2, 2: 1})


@given(
    st.sampled_from(["rolling", "recreate", "canary", "blue_green", "shadow"]),
    st.one_of(st.none(), st.builds(Seen, *[st.integers(0, 3)] * 3, fresh=st.booleans(), leaving=st.integers(0, 1))),
    st.integers(0, 3),
    st.sampled_from([0, 20]),
    st.sampled_from([None, Selected(None, NOW), Selected(1, NOW)]),
)
@settings(max_examples=200)
def test_nothing_is_said_of_others_where_a_revision_is_the_first(
    kind: str, seen: ObservedRevision | None, desired: int, minutes: int, selected: Selected | None
) -> None:
    """There never was an earlier one, a stuck one's sentence included."""
    wanted = Wanted(desired, stable=None, coming=1, share=Share(100))
    observed = {1: seen} if seen is not None else {}
    when = status(since=timedelta(minutes=minutes))
    decision = of_placement(wanted, parse_strategy({"kind": kind}), when, observed, NOW, selected)
    assert not re.search(r"\b(earlier|before|other|old)\b", decision.message), decision.message


def test_a_replica_that_is_lost_long_after_the_arrival_is_given_its_time() -> None:
    spec = RollingSpec(3, 2, progress_deadline=timedelta(minutes=2))
    lost, long_ago = {1: Seen(0), 2: Seen(3, 3, 2)}, NOW - timedelta(days=1)
    fell = decide(spec, RolloutStatus(RolloutState.HEALTHY, long_ago, 3, 0), lost, NOW)
    assert (fell.state, fell.progressed) == (RolloutState.PROGRESSING, True)
    still = decide(spec, RolloutStatus(RolloutState.PROGRESSING, NOW - timedelta(minutes=3), 3, 0), lost, NOW)
    assert (still.state, still.progressed) == (RolloutState.DEGRADED, False)


BOUNDS = st.tuples(st.integers(0, 3), st.integers(0, 3)).filter(any)


@settings(max_examples=150, deadline=None)
@given(desired=st.integers(0, 8), bounds=BOUNDS, data=st.data())
def test_capacity_stays_and_the_total_is_bounded_whatever_supersedes_what(
    desired: int, bounds: tuple[int, int], data: st.DataObject
) -> None:
    surge, unavailable = bounds
    cluster = Cluster()
    cluster.apply({1: desired})
    cluster.settle(set())
    broken = data.draw(st.sets(st.integers(2, 4)))
    for target in (2, 3, 4):
        spec = RollingSpec(desired, target, surge, unavailable, stable=1)
        for _ in range(data.draw(st.integers(0, 6))):
            cluster.apply(dict(decide(spec, status(), cluster.seen, NOW).replicas))
            assert cluster.pods <= desired + surge
            cluster.advance(data.draw, broken)
            assert cluster.ready >= desired - unavailable
            assert cluster.pods <= desired + surge


@settings(max_examples=150, deadline=None)
@given(
    counts=st.dictionaries(st.integers(1, 5), st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=5),
    desired=st.integers(0, 8),
    bounds=BOUNDS,
    target=st.integers(1, 6),
    stable=st.integers(1, 6),
)
def test_it_ends_from_any_state_even_when_every_old_revision_is_broken(
    counts: dict[int, tuple[int, int]], desired: int, bounds: tuple[int, int], target: int, stable: int
) -> None:
    surge, unavailable = bounds
    cluster = Cluster()
    cluster.seen = {number: Seen(wanted, wanted, min(ready, wanted)) for number, (wanted, ready) in counts.items()}
    broken = {number for number in counts if number != target}
    spec = RollingSpec(desired, target, surge, unavailable, stable=stable)
    for _ in range(200):
        decision = decide(spec, status(), cluster.seen, NOW)
        if decision.state is RolloutState.HEALTHY:
            break
        floor = min(cluster.ready, desired - unavailable)
        cluster.apply(dict(decision.replicas))
        cluster.settle(broken)
        assert cluster.ready >= floor
    else:
        pytest.fail(f"still not there after 200 rounds: {decision}")
    assert cluster.seen[target] == Seen(desired, desired, desired)
    assert cluster.pods == desired


@settings(max_examples=100, deadline=None)
@given(desired=st.integers(1, 6), scaled=st.integers(0, 9), bounds=BOUNDS, data=st.data())
def test_a_scale_in_mid_roll_fits_the_new_bounds_soon_and_never_oscillates(
    desired: int, scaled: int, bounds: tuple[int, int], data: st.DataObject
) -> None:
    surge, unavailable = bounds
    cluster = Cluster()
    cluster.apply({1: desired})
    cluster.settle(set())
    for _ in range(data.draw(st.integers(0, 5))):
        cluster.apply(dict(decide(RollingSpec(desired, 2, surge, unavailable), status(), cluster.seen, NOW).replicas))
        cluster.advance(data.draw, set())
    spec = RollingSpec(scaled, 2, surge, unavailable, stable=1)
    # A new revision that becomes no readier than now reaches a fixed point that keeps the capacity.
    kept = min(sum(seen.surely_ready for seen in cluster.seen.values()), scaled - unavailable)
    for _ in range(40):
        cluster.apply(dict(decide(spec, status(), cluster.seen, NOW).replicas))
        cluster.settle({2})
    before = dict(decide(spec, status(), cluster.seen, NOW).replicas)
    assert {n: seen.wanted for n, seen in cluster.seen.items()} == before
    assert cluster.pods <= scaled + surge
    assert cluster.ready >= kept


@pytest.mark.parametrize(("left", "waits"), [(600, True), (1, True), (0, False), (-5000, False)])
def test_behind_its_deadline_a_round_waits_for_events_alone(left: int, waits: bool) -> None:
    """Else what never ends, as a pod on a node that is lost, would be looked at again and again without a pause."""
    deadline = timedelta(minutes=1)
    since = NOW + timedelta(seconds=left - 1) - deadline
    assert bool(_ahead(since, deadline, NOW)) == waits

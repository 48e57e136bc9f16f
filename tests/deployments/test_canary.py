"""The canary strategy: tables for what each step does."""

from datetime import UTC, datetime, timedelta

import pytest

from apps.deployments.rollout.canary import CanarySpec, decide
from apps.deployments.rollout.decisions import RolloutStatus
from apps.deployments.rollout.traffic import actual_weight
from apps.deployments.specs import ObservedRevision
from apps.deployments.states import RolloutState

NOW = datetime(2026, 11, 30, 3, 0, tzinfo=UTC)
Seen = ObservedRevision


def status(new_ready: int = 0, old_left: int = 0, *, since: timedelta = timedelta(0)) -> RolloutStatus:
    return RolloutStatus(RolloutState.PROGRESSING, NOW - since, new_ready, old_left)


@pytest.mark.parametrize(
    ("desired", "weight", "stable", "canary"),
    [
        (10, 1, 10, 1), (10, 5, 10, 1), (10, 10, 10, 1), (10, 20, 10, 3), (10, 25, 10, 3), (10, 50, 10, 10),
        (10, 60, 7, 10), (10, 80, 3, 10), (10, 99, 1, 10), (4, 20, 4, 1), (4, 49, 4, 4), (3, 50, 3, 3), (1, 1, 1, 1),
        (1, 99, 1, 1), (0, 20, 0, 0), (0, 80, 0, 0),
    ],
)  # fmt: skip
def test_a_weight_is_a_ratio_of_replicas(desired: int, weight: int, stable: int, canary: int) -> None:
    spec = CanarySpec(desired, 1, 2, weight)
    assert (spec.stable_share, spec.canary_share) == (stable, canary)


@pytest.mark.parametrize("weight", [20, 50, 80, 99])
def test_a_stable_revision_that_an_autoscaler_counts_is_never_shrunk(weight: int) -> None:
    spec, seen = CanarySpec(4, 1, 2, weight, scaler="Autoscaler app"), {1: Seen(4, 4, 4)}
    for _ in range(5):
        replicas = decide(spec, status(), seen, NOW).replicas
        assert replicas[1] == 4
        seen = {number: Seen(count, count, count) for number, count in replicas.items()}
    assert replicas[2] == spec.canary_share


@pytest.mark.parametrize(
    ("desired", "weight", "scaler", "reason", "says"),
    [
        (4, 20, "", "WeightReached", "20 % of the requests."),
        (4, 50, "Autoscaler app", "WeightReached", "50 % of the requests."),
        (3, 75, "", "WeightReached", "ready beside 1 of revision 1: 75 % of the requests."),
        (2, 20, "", "WeightNear", "33 % of the requests, and 20 % are wanted."),
        (2, 20, "Autoscaler app", "WeightNear", "33 % of the requests, and 20 % are wanted."),
        (10, 80, "", "WeightNear", "77 % of the requests, and 80 % are wanted."),
        (3, 75, "Autoscaler app", "WeightHeld", "ready beside 3 of revision 1: 50 % of the requests, "
         "and 75 % are wanted. Autoscaler app says how many replicas revision 1 has."),
    ],
)  # fmt: skip
def test_a_weight_that_is_not_had_is_not_said_to_be_reached(
    desired: int, weight: int, scaler: str, reason: str, says: str
) -> None:
    spec = CanarySpec(desired, 1, 2, weight, scaler=scaler)
    there = {1: Seen(*[spec.stable_share] * 3), 2: Seen(*[spec.canary_share] * 3)}
    decision = decide(spec, status(), there, NOW)
    assert (decision.state, decision.reason) == (RolloutState.HEALTHY, reason)
    assert decision.message.endswith(says)


@pytest.mark.parametrize(("weight", "canary"), [(0, 2), (100, 2), (-1, 2), (20, 1)])
def test_the_ends_are_not_its_own(weight: int, canary: int) -> None:
    with pytest.raises(ValueError, match="no canary"):
        CanarySpec(3, 1, canary, weight)


def of(desired: int, weight: int, stable: int = 1, canary: int = 2) -> CanarySpec:
    return CanarySpec(desired, stable, canary, weight)


STEPS = [
    # name, spec, observed {revision: (wanted, existing, ready)}, replicas, reason
    ("it comes beside the stable one", of(4, 20), {1: (4, 4, 4)}, {1: 4, 2: 1}, "Creating"),
    ("it waits for Ready", of(4, 20), {1: (4, 4, 4), 2: (1, 1, 0)}, {1: 4, 2: 1}, "WaitingForReady"),
    ("it is there", of(4, 20), {1: (4, 4, 4), 2: (1, 1, 1)}, {1: 4, 2: 1}, "WeightReached"),
    ("one first, until one is ready", of(10, 50), {1: (10, 10, 10)}, {1: 10, 2: 1}, "Creating"),
    ("the rest waits for the first", of(10, 50), {1: (10, 10, 10), 2: (1, 1, 0)}, {1: 10, 2: 1}, "WaitingForReady"),
    ("then all at once", of(10, 50), {1: (10, 10, 10), 2: (1, 1, 1)}, {1: 10, 2: 10}, "ScalingUp"),
    ("above 50 the stable one waits", of(10, 80), {1: (10, 10, 10), 2: (3, 3, 3)}, {1: 7, 2: 10}, "ScalingUp"),
    ("it shrinks with what is ready", of(10, 80), {1: (7, 7, 7), 2: (10, 10, 6)}, {1: 4, 2: 10}, "ScalingDown"),
    ("and no further than its share", of(10, 80), {1: (4, 4, 4), 2: (10, 10, 10)}, {1: 3, 2: 10}, "ScalingDown"),
    ("above 50 it is there", of(10, 80), {1: (3, 3, 3), 2: (10, 10, 10)}, {1: 3, 2: 10}, "WeightNear"),
    ("old pods that are still leaving", of(10, 80), {1: (3, 5, 5), 2: (10, 10, 10)}, {1: 3, 2: 10}, "WaitingForOld"),
    ("a canary that breaks gives capacity back", of(10, 80), {1: (3, 3, 3), 2: (10, 10, 2)},
     {1: 8, 2: 10}, "ScalingUp"),
    ("a broken stable one blocks nothing", of(4, 20), {1: (4, 4, 0)}, {1: 4, 2: 1}, "Creating"),
    ("with a broken stable one it is there", of(4, 20), {1: (4, 4, 0), 2: (1, 1, 1)}, {1: 4, 2: 1}, "WeightNear"),
    ("a lost stable one is made anew", of(4, 20), {2: (1, 1, 1)}, {1: 4, 2: 1}, "ScalingUp"),
    ("superseded: it goes at once", of(4, 20, 1, 3), {1: (4, 4, 4), 2: (2, 2, 2)}, {1: 4, 2: 0, 3: 1}, "Creating"),
    ("superseded at 80: it goes as the stable one is back", of(10, 20, 1, 3), {1: (3, 3, 3), 2: (10, 10, 10)},
     {1: 10, 2: 7, 3: 1}, "Creating"),
    ("superseded, unready: it goes whatever the stable one does", of(4, 20, 1, 3),
     {1: (4, 4, 1), 2: (4, 4, 1)}, {1: 4, 2: 1, 3: 1}, "Creating"),
    ("superseded, and all that serves: it stays, and holds nothing up", of(3, 20, 1, 3),
     {1: (3, 3, 0), 2: (2, 2, 2), 3: (1, 1, 1)}, {1: 3, 2: 2, 3: 1}, "WeightNear"),
    ("scaled up", of(8, 20), {1: (4, 4, 4), 2: (1, 1, 1)}, {1: 8, 2: 2}, "ScalingUp"),
    ("scaled down", of(2, 50), {1: (4, 4, 4), 2: (4, 4, 4)}, {1: 2, 2: 2}, "ScalingDown"),
    ("scaled to zero", of(0, 20), {1: (4, 4, 4), 2: (1, 1, 1)}, {1: 0, 2: 0}, "ScalingDown"),
    ("zero is there", of(0, 20), {1: (0, 0, 0), 2: (0, 0, 0)}, {1: 0, 2: 0}, "WeightReached"),
    ("a lower weight waits for the stable one", of(10, 20), {1: (3, 3, 3), 2: (10, 10, 10)},
     {1: 10, 2: 7}, "ScalingUp"),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "seen", "replicas", "reason"), [row[1:] for row in STEPS], ids=[r[0] for r in STEPS])
def test_one_step(
    spec: CanarySpec, seen: dict[int, tuple[int, int, int]], replicas: dict[int, int], reason: str
) -> None:
    decision = decide(spec, status(), {n: Seen(*counts) for n, counts in seen.items()}, NOW)
    assert (dict(decision.replicas), decision.reason) == (replicas, reason)
    assert (decision.state is RolloutState.HEALTHY) == (reason in ("WeightReached", "WeightNear"))
    assert decision.message.endswith(".")


def test_a_stale_answer_arrives_nowhere() -> None:
    decision = decide(of(4, 20), status(1), {1: Seen(4, 4, 4), 2: Seen(1, 1, 1, fresh=False)}, NOW)
    assert (decision.state, decision.reason) == (RolloutState.PROGRESSING, "Observing")


def test_degraded_after_the_deadline_with_a_way_back() -> None:
    spec = CanarySpec(10, 1, 2, 50, progress_deadline=timedelta(minutes=2))
    long = status(0, 10, since=timedelta(minutes=3))
    stuck = decide(spec, long, {1: Seen(10, 10, 10), 2: Seen(1, 1, 0)}, NOW)
    assert (stuck.state, stuck.reason) == (RolloutState.DEGRADED, "ProgressDeadlineExceeded")
    assert stuck.message == "Revision 2 made no progress for 2 min: 0 of 10 replicas ready for a weight of 50 %."
    moving = decide(spec, long, {1: Seen(10, 10, 10), 2: Seen(1, 1, 1)}, NOW)
    assert (moving.state, moving.replicas) == (RolloutState.PROGRESSING, {1: 10, 2: 10})


def test_a_replica_that_is_lost_in_a_long_pause_is_given_its_time() -> None:
    arrived = RolloutStatus(RolloutState.HEALTHY, NOW - timedelta(days=1), 3, 10)
    decision = decide(of(10, 20), arrived, {1: Seen(10, 10, 10), 2: Seen(3, 3, 2)}, NOW)
    assert (decision.state, decision.progressed) == (RolloutState.PROGRESSING, True)


@pytest.mark.parametrize(
    ("seen", "weight"),
    [
        ({}, None),
        ({1: Seen(4, 4, 0), 2: Seen(1, 1, 0)}, None),
        ({1: Seen(4, 4, 4)}, 0),
        ({1: Seen(4, 4, 4), 2: Seen(1, 1, 1)}, 20),
        ({1: Seen(3, 3, 3), 2: Seen(10, 10, 10)}, 77),
        ({1: Seen(1, 1, 1), 2: Seen(7, 7, 7)}, 88),
        ({2: Seen(3, 3, 3)}, 100),
    ],
)
def test_the_actual_weight_is_the_part_of_what_is_ready(seen: dict[int, Seen], weight: int | None) -> None:
    assert actual_weight(seen, 2) == weight

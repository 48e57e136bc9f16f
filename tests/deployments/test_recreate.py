"""The recreate strategy: a table for what each step does."""

from datetime import UTC, datetime, timedelta

import pytest

from apps.deployments.rollout.decisions import RolloutStatus
from apps.deployments.rollout.recreate import RecreateSpec, decide
from apps.deployments.specs import ObservedRevision
from apps.deployments.states import RolloutState

NOW = datetime(2026, 11, 30, 3, 0, tzinfo=UTC)

STEPS = [
    # name, desired, observed {revision: (wanted, existing, ready, fresh, leaving)}, replicas, reason
    ("the first one at once", 3, {}, {2: 3}, "Creating"),
    ("the old one goes first", 3, {1: (3, 3, 3)}, {1: 0, 2: 0}, "WaitingForOld"),
    ("to its last pod", 3, {1: (0, 1, 1), 2: (0, 0, 0)}, {1: 0, 2: 0}, "WaitingForOld"),
    ("also while that one drains", 3, {1: (0, 0, 0, True, 1), 2: (0, 0, 0)}, {1: 0, 2: 0}, "WaitingForOld"),
    ("then all of the new come", 3, {1: (0, 0, 0), 2: (0, 0, 0)}, {1: 0, 2: 3}, "WaitingForReady"),
    ("and become ready", 3, {1: (0, 0, 0), 2: (3, 3, 2)}, {1: 0, 2: 3}, "WaitingForReady"),
    ("complete", 3, {1: (0, 0, 0), 2: (3, 3, 3)}, {1: 0, 2: 3}, "Complete"),
    ("a hand scales the old one: the new one stays", 3, {1: (1, 0, 0), 2: (3, 3, 3)}, {1: 0, 2: 3}, "WaitingForOld"),
    ("scaled down meanwhile", 2, {1: (1, 1, 1), 2: (3, 3, 3)}, {1: 0, 2: 2}, "WaitingForOld"),
    ("scaled up when it is there", 5, {2: (3, 3, 3)}, {2: 5}, "WaitingForReady"),
    ("zero", 0, {1: (0, 0, 0), 2: (0, 0, 0)}, {1: 0, 2: 0}, "Complete"),
]  # fmt: skip


@pytest.mark.parametrize(("desired", "seen", "replicas", "reason"), [r[1:] for r in STEPS], ids=[r[0] for r in STEPS])
def test_one_step(desired: int, seen: dict[int, tuple[int, ...]], replicas: dict[int, int], reason: str) -> None:
    observed = {number: ObservedRevision(*counts) for number, counts in seen.items()}
    decision = decide(RecreateSpec(desired, 2), RolloutStatus(RolloutState.PROGRESSING, NOW), observed, NOW)
    assert (dict(decision.replicas), decision.reason) == (replicas, reason)
    assert (decision.state is RolloutState.HEALTHY) == (reason == "Complete")


@pytest.mark.parametrize(
    ("seen", "message"),
    [
        ({1: (0, 2, 0), 2: (0, 0, 0)}, "it waits until 2 replicas of other revisions are gone."),
        ({2: (3, 3, 1)}, "1 of 3 ready."),
    ],
)
def test_degraded_after_the_deadline(seen: dict[int, tuple[int, int, int]], message: str) -> None:
    observed = {number: ObservedRevision(*counts) for number, counts in seen.items()}
    # As the last round left it.
    ready, left = observed[2].ready, sum(seen.pods for number, seen in observed.items() if number != 2)
    long = RolloutStatus(RolloutState.PROGRESSING, NOW - timedelta(minutes=11), ready, left)
    decision = decide(RecreateSpec(3, 2), long, observed, NOW)
    assert (decision.state, decision.reason) == (RolloutState.DEGRADED, "ProgressDeadlineExceeded")
    assert decision.message == f"Revision 2 made no progress for 10 min: {message}"

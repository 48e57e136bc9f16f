"""The blue-green strategy: tables for what each step does. Revision 1 serves, revision 2 comes, 4 are desired."""

from datetime import UTC, datetime, timedelta

import pytest

from apps.deployments.rollout.blue_green import DRAIN
from apps.deployments.rollout.decisions import RolloutStatus
from apps.deployments.rollout.placement import Wanted, decide
from apps.deployments.rollout.strategy import Strategy, parse_strategy
from apps.deployments.rollout.traffic import ALL, NOTHING, TO_ALL, Phase, Selected, Share, Traffic, actual_weight
from apps.deployments.specs import ObservedRevision
from apps.deployments.states import RolloutState

NOW = datetime(2026, 11, 30, 3, 0, tzinfo=UTC)
WHOLE, ONE = parse_strategy({"kind": "blue_green"}), parse_strategy({"kind": "blue_green", "preview_replicas": 1})
PREVIEW, SWITCHED = Share(0, Phase.PREVIEW), Share(100, Phase.SWITCHED)
STEPS = [
    # name, strategy, share, selected, for seconds, observed {revision: (existing, ready)}, replicas, selects, why
    ("it comes whole, beside what serves", WHOLE, PREVIEW, 1, 60, {1: (4, 4)}, {1: 4, 2: 4}, 1, "Creating"),
    ("it waits for Ready", WHOLE, PREVIEW, 1, 60, {1: (4, 4), 2: (4, 3)}, {1: 4, 2: 4}, 1, "WaitingForReady"),
    ("the preview is up", WHOLE, PREVIEW, 1, 60, {1: (4, 4), 2: (4, 4)}, {1: 4, 2: 4}, 1, "PreviewReady"),
    ("a small preview", ONE, PREVIEW, 1, 60, {1: (4, 4), 2: (1, 1)}, {1: 4, 2: 1}, 1, "PreviewReady"),
    ("how the stable one fares does not count", WHOLE, PREVIEW, 1, 60, {1: (4, 1), 2: (4, 4)}, {1: 4, 2: 4}, 1,
     "PreviewReady"),
    ("nothing comes while all are selected", WHOLE, PREVIEW, None, 60, {1: (4, 4)}, {1: 4, 2: 0}, 1, "Creating"),
    ("nor while others must be", WHOLE, PREVIEW, None, 60, {1: (3, 2), 3: (2, 2)}, {1: 3, 2: 0, 3: 2}, None,
     "Creating"),
    ("a broken stable one: what serves in its place is selected", WHOLE, PREVIEW, None, 60, {1: (4, 0), 3: (2, 2)},
     {1: 2, 2: 0, 3: 2}, 3, "Creating"),
    ("and the preview comes beside that", WHOLE, PREVIEW, 3, 60, {1: (4, 0), 2: (4, 4), 3: (2, 2)},
     {1: 4, 2: 4, 3: 2}, 3, "PreviewReady"),
    ("a superseded preview goes", WHOLE, PREVIEW, 1, 60, {1: (4, 4), 3: (4, 4)}, {1: 4, 2: 4, 3: 0}, 1, "Creating"),
    ("it switches when it is whole", WHOLE, SWITCHED, 1, 60, {1: (4, 4), 2: (4, 4)}, {1: 4, 2: 4}, 2, "Switching"),
    ("not before", WHOLE, SWITCHED, 1, 60, {1: (4, 4), 2: (4, 3)}, {1: 4, 2: 4}, 1, "WaitingForReady"),
    ("a small preview grows first", ONE, SWITCHED, 1, 60, {1: (4, 4), 2: (1, 1)}, {1: 4, 2: 4}, 1, "WaitingForReady"),
    ("but for what serves nobody", WHOLE, SWITCHED, 1, 60, {1: (4, 0), 2: (4, 3)}, {1: 4, 2: 4}, 2, "WaitingForReady"),
    ("switched, and both are kept", WHOLE, SWITCHED, 2, 1, {1: (4, 4), 2: (4, 4)}, {1: 4, 2: 4}, 2, "Switched"),
    ("it never goes to and fro", WHOLE, SWITCHED, 2, 60, {1: (4, 4), 2: (4, 1)}, {1: 4, 2: 4}, 2, "WaitingForReady"),
    ("promoted: the old one goes", WHOLE, ALL, 2, 60, {1: (4, 4), 2: (4, 4)}, {1: 0, 2: 4}, 2, "WaitingForOld"),
    ("promoted just after the switch: it drains", WHOLE, ALL, 2, 4, {1: (4, 4), 2: (4, 4)}, {1: 4, 2: 4}, 2,
     "Draining"),
    ("what is not ready needs no draining", WHOLE, ALL, 2, 4, {1: (4, 1), 2: (4, 4)}, {1: 1, 2: 4}, 2, "Draining"),
    ("promoted fully from nothing", WHOLE, ALL, 1, 60, {1: (4, 4)}, {1: 4, 2: 4}, 1, "Creating"),
    ("done", WHOLE, ALL, 2, 60, {1: (0, 0), 2: (4, 4)}, {1: 0, 2: 4}, 2, "Complete"),
    ("taken back from the preview: it goes at once", WHOLE, NOTHING, 1, 60, {1: (4, 4), 2: (4, 4)}, {1: 4, 2: 0}, 1,
     "WaitingForOld"),
    ("taken back after the switch: switched back at once", WHOLE, NOTHING, 2, 60, {1: (4, 4), 2: (4, 4)},
     {1: 4, 2: 4}, 1, "Switching"),
    ("and the new one drains", WHOLE, NOTHING, 1, 1, {1: (4, 4), 2: (4, 4)}, {1: 4, 2: 4}, 1, "Draining"),
    ("taken back when the old one has gone", WHOLE, NOTHING, 2, 60, {1: (1, 1), 2: (4, 4)}, {1: 4, 2: 4}, 2,
     "WaitingForReady"),
    ("no Service yet", WHOLE, ALL, 0, 0, {}, {2: 4}, 2, "Creating"),
]  # fmt: skip


def status(ago: timedelta = timedelta(0)) -> RolloutStatus:
    return RolloutStatus(RolloutState.PROGRESSING, NOW - ago, 4, 0)


@pytest.mark.parametrize("row", STEPS, ids=[row[0] for row in STEPS])
def test_each_step(row: tuple[object, ...]) -> None:
    _, strategy, share, selects, ago, observed, replicas, expected, reason = row
    assert isinstance(strategy, Strategy) and isinstance(share, Share) and isinstance(observed, dict)
    service = None if selects == 0 else Selected(selects, NOW - timedelta(seconds=float(str(ago))))  # type: ignore[arg-type]
    seen = {number: ObservedRevision(existing, existing, ready) for number, (existing, ready) in observed.items()}
    decision = decide(Wanted(4, 1, 2, share), strategy, status(), seen, NOW, service)
    assert (dict(decision.replicas), decision.traffic.selects, decision.reason) == (replicas, expected, reason)
    assert decision.traffic.preview == (2 if share.phase else None)
    assert decision.message.endswith(".")
    assert decision.state is (
        RolloutState.HEALTHY if reason in ("PreviewReady", "Switched", "Complete") else RolloutState.PROGRESSING
    )


def test_a_drain_has_its_own_clock_and_is_no_standstill() -> None:
    seen = {1: ObservedRevision(4, 4, 4), 2: ObservedRevision(4, 4, 4)}
    strategy = parse_strategy({"kind": "blue_green", "progress_deadline_seconds": 1})
    since = NOW - timedelta(seconds=2)
    decision = decide(Wanted(4, 1, 2, ALL), strategy, status(timedelta(hours=1)), seen, NOW, Selected(2, since))
    assert (decision.state, decision.progressed, decision.due) == (RolloutState.PROGRESSING, True, since + DRAIN)


def test_a_preview_that_does_not_come_up_is_degraded() -> None:
    seen = {1: ObservedRevision(4, 4, 4), 2: ObservedRevision(4, 4, 1)}
    ago = timedelta(hours=1)
    decision = decide(Wanted(4, 1, 2, PREVIEW), WHOLE, status(ago), seen, NOW, Selected(1, NOW - ago))
    assert (decision.state, decision.reason) == (RolloutState.DEGRADED, "ProgressDeadlineExceeded")
    assert "1 of 4 replicas of revision 2 ready" in decision.message


@pytest.mark.parametrize(
    ("traffic", "weight"),
    [(TO_ALL, 25), (Traffic(selects=1), 0), (Traffic(selects=2), 100), (Traffic(selects=3), None)],
)
def test_the_share_is_of_the_requests_not_of_the_replicas(traffic: Traffic, weight: int | None) -> None:
    seen = {1: ObservedRevision(3, 3, 3), 2: ObservedRevision(1, 1, 1)}
    assert actual_weight(seen, 2, traffic) == weight
    assert Traffic.from_json(traffic.to_json()) == traffic

from datetime import UTC, datetime, timedelta

import pytest

from apps.clusters.conditions import merge
from apps.clusters.states import MOVES, ClusterState, Condition, Observation, conditions, derive

SYNCED = {"Node": "", "Pod": "", "Event": ""}
WELL = Observation(ever_seen=True, streams=SYNCED, nodes=3, nodes_ready=3)


def but(**changes: object) -> Observation:
    return Observation(**{**WELL.__dict__, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seen", "state", "reason"),
    [
        (WELL, ClusterState.HEALTHY, "AllWell"),
        (Observation(), ClusterState.PENDING, "Connecting"),
        (Observation(failures=2, error_reason="Timeout"), ClusterState.PENDING, "Timeout"),
        (Observation(failures=3, error_reason="Timeout"), ClusterState.UNREACHABLE, "Timeout"),
        (but(failures=1), ClusterState.HEALTHY, "AllWell"),
        (but(failures=2), ClusterState.HEALTHY, "AllWell"),
        (but(failures=3, error_reason="ConnectionRefused"), ClusterState.UNREACHABLE, "ConnectionRefused"),
        (but(streams={**SYNCED, "Pod": None}), ClusterState.PENDING, "Listing"),
        (but(streams={**SYNCED, "Pod": "forbidden"}), ClusterState.DEGRADED, "WatchFailing"),
        (but(nodes_ready=2), ClusterState.DEGRADED, "NodesNotReady"),
        (but(nodes=0, nodes_ready=0), ClusterState.DEGRADED, "NoNodes"),
        (but(authorized=False), ClusterState.DEGRADED, "CredentialRefused"),
        (but(enabled=False, failures=9), ClusterState.DISABLED, "Disabled"),
    ],
)
def test_the_state_follows_from_what_was_seen(seen: Observation, state: ClusterState, reason: str) -> None:
    assert derive(seen)[:2] == (state, reason)


def test_every_condition_is_always_said() -> None:
    assert [c.type for c in conditions(Observation())] == ["Reachable", "Authorized", "Synced", "NodesReady", "Stable"]


def test_any_state_may_follow_any_other_but_itself() -> None:
    assert all(state not in MOVES[state] and len(MOVES[state]) == len(ClusterState) - 1 for state in ClusterState)


def test_a_transition_time_moves_only_with_the_status() -> None:
    now = datetime(2026, 11, 23, 14, tzinfo=UTC)
    later = now + timedelta(minutes=1)
    first = merge([], [Condition("Reachable", "True", "Answering", "a")], now)
    same = merge(first, [Condition("Reachable", "True", "Answering", "b")], later)
    other = merge(same, [Condition("Reachable", "False", "Timeout", "c")], later)
    assert first[0]["last_transition_time"] == same[0]["last_transition_time"] == now.isoformat()
    assert same[0]["message"] == "b"
    assert other[0]["last_transition_time"] == later.isoformat()

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from apps.clusters.observed.clusterstate import derive
from apps.clusters.observed.conditions import Condition, conditions, merge
from apps.clusters.observed.observation import Observation
from apps.clusters.states import MOVES, ClusterState

SYNCED = {"Node": "", "Pod": "", "Event": ""}
BROKEN = {"Node": "Connection refused.", "Pod": "Connection refused."}
WELL = Observation(ever_seen=True, streams=SYNCED, nodes=3, nodes_ready=3)


def but(**changes: object) -> Observation:
    return Observation(**{**WELL.__dict__, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seen", "state", "reason"),
    [
        (WELL, ClusterState.HEALTHY, "AllWell"),
        (Observation(), ClusterState.PENDING, "Connecting"),
        # One that has not answered yet can't flap: its first failure is told, and not what the lists make of it.
        (Observation(failures=1, error_reason="Timeout"), ClusterState.UNREACHABLE, "Timeout"),
        (Observation(failures=1, error_reason="Timeout", streams=BROKEN), ClusterState.UNREACHABLE, "Timeout"),
        (Observation(was="Pending", streams=BROKEN), ClusterState.PENDING, "Connecting"),
        (Observation(was="Healthy", streams=BROKEN), ClusterState.HEALTHY, "Resuming"),
        (Observation(was="Healthy", failures=2, streams=BROKEN), ClusterState.HEALTHY, "Resuming"),
        (Observation(streams=BROKEN, authorized=False), ClusterState.DEGRADED, "CredentialRefused"),
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


@pytest.mark.parametrize("seen", [Observation(), WELL, but(failures=9), but(authorized=False)])
def test_nothing_is_known_of_a_cluster_that_is_disabled(seen: Observation) -> None:
    told = conditions(replace(seen, enabled=False))
    assert [(each.type, each.status) for each in told] == [(each.type, "Unknown") for each in conditions(seen)]


UNLISTED = {"Node": None, "Pod": None}
ON_TRIAL = Observation(ever_seen=True, successes=1, authorized=None, doubted=True, streams=UNLISTED, was="Pending")
REFUSED = "The API server refuses Flotilla's credential. Give the cluster a new credential."


@pytest.mark.parametrize(
    ("seen", "status", "state", "reason"),
    [
        # A new watcher begins, and nothing has answered; then all that answers says nothing of the credential.
        (Observation(was="Degraded", authorized=None, refusal=REFUSED), "False", "Degraded", "CredentialRefused"),
        (but(was="Degraded", authorized=None, refusal=REFUSED), "False", "Degraded", "CredentialRefused"),
        (
            but(was="Degraded", authorized=None, refusal=REFUSED, streams=BROKEN, resuming=False),
            "False",
            "Degraded",
            "CredentialRefused",
        ),
        # No watcher was there for a while.
        (Observation(was="Pending", authorized=None, refusal=REFUSED), "False", "Degraded", "CredentialRefused"),
        (but(was="Degraded", authorized=True, refusal=REFUSED), "True", "Healthy", "AllWell"),
        (but(was="Degraded", authorized=False, refusal=REFUSED), "False", "Degraded", "CredentialRefused"),
        # One that was accepted before, and one that is new: a 401 that is not believed yet accepts nothing.
        (but(was="Healthy", authorized=None), "Unknown", "Healthy", "Resuming"),
        (but(was="Pending", authorized=None, streams=BROKEN), "Unknown", "Degraded", "WatchFailing"),
        (Observation(was="Degraded", failures=3, authorized=None, refusal=REFUSED), "Unknown", "Unreachable", ""),
        # A new one on trial: only the credential is told of, but nothing else that is wrong hides behind that.
        (ON_TRIAL, "Unknown", "Pending", "Connecting"),
        (replace(ON_TRIAL, streams={**UNLISTED, "Pod": "HTTP 500"}), "Unknown", "Degraded", "WatchFailing"),
        (replace(ON_TRIAL, failures=3, error_reason="Timeout"), "Unknown", "Unreachable", "Timeout"),
        (replace(ON_TRIAL, defect="a defect of ours"), "Unknown", "Degraded", "WatcherFailing"),
        (replace(ON_TRIAL, authorized=False), "False", "Degraded", "CredentialRefused"),
    ],
)
def test_a_refusal_holds_until_an_answer_says_otherwise(
    seen: Observation, status: str, state: str, reason: str
) -> None:
    by_type = {condition.type: condition for condition in conditions(seen)}
    assert by_type["Authorized"].status == status
    assert derive(seen)[:2] == (state, reason or "Unreachable")


def test_a_credential_on_trial_is_told_with_what_was_said_of_it() -> None:
    assert derive(ON_TRIAL)[2].startswith("The credential is being tried: the API server refuses it (HTTP 401)")


LOST = but(ever_seen=False, was="Unreachable", streams={})


@pytest.mark.parametrize(
    ("seen", "state", "reason"),
    [
        # Back from an outage: only after three answers, and after twelve when it was lost often.
        (but(was="Unreachable", successes=1), ClusterState.UNREACHABLE, "Recovering"),
        (but(was="Unreachable", successes=2), ClusterState.UNREACHABLE, "Recovering"),
        (but(was="Unreachable", successes=3), ClusterState.HEALTHY, "AllWell"),
        (but(was="Unreachable", successes=3, outages=2), ClusterState.HEALTHY, "AllWell"),
        (but(was="Unreachable", successes=3, outages=3), ClusterState.UNREACHABLE, "Recovering"),
        (but(was="Unreachable", successes=12, outages=3), ClusterState.DEGRADED, "Unstable"),
        (but(was="Unreachable", failures=1, error_reason="Timeout"), ClusterState.UNREACHABLE, "Timeout"),
        # It was lost often, and answers: it is said instead of shown by a state that flaps.
        (but(was="Healthy", successes=99, outages=2), ClusterState.HEALTHY, "AllWell"),
        (but(was="Degraded", successes=99, outages=4), ClusterState.DEGRADED, "Unstable"),
        (but(was="Degraded", failures=2, outages=4), ClusterState.DEGRADED, "Unstable"),
        (but(was="Degraded", failures=3, outages=4, error_reason="Timeout"), ClusterState.UNREACHABLE, "Timeout"),
        (but(was="Degraded", outages=4, nodes_ready=1), ClusterState.DEGRADED, "NodesNotReady"),
        # Another watcher begins: what was shown stays until it knows better.
        (Observation(was="Healthy"), ClusterState.HEALTHY, "Resuming"),
        (Observation(was="Degraded"), ClusterState.DEGRADED, "Resuming"),
        (Observation(was="Pending"), ClusterState.PENDING, "Connecting"),
        (LOST, ClusterState.UNREACHABLE, "Connecting"),
        (but(was="Healthy", streams={**SYNCED, "Pod": None}), ClusterState.HEALTHY, "Resuming"),
        (but(was="Healthy", streams={**SYNCED, "Pod": None}, resuming=False), ClusterState.DEGRADED, "Listing"),
        (Observation(was="Healthy", failures=3, error_reason="Timeout"), ClusterState.UNREACHABLE, "Timeout"),
        # Nothing is in error, and yet nothing has come for too long.
        (but(silent={"Pod": 95.0}), ClusterState.DEGRADED, "Silent"),
        # What a cluster need not have.
        (but(missing={"Service": "the credential may not read it"}), ClusterState.HEALTHY, "AllWell"),
    ],
)
def test_a_state_does_not_flap(seen: Observation, state: ClusterState, reason: str) -> None:
    assert derive(seen)[:2] == (state, reason)


@pytest.mark.parametrize(
    ("seen", "sentence"),
    [
        (but(was="Degraded", outages=4), "Unstable: unreachable 4 times in the last 10 min."),
        (
            but(was="Unreachable", successes=2),
            "The API server answers again (2 of 3 probes until it counts as back).",
        ),
        (but(silent={"Pod": 95.0, "Node": 310.0}), "Nothing has been heard of Node for 5 min."),
    ],
)
def test_what_people_read(seen: Observation, sentence: str) -> None:
    assert derive(seen)[2] == sentence


def test_a_cluster_that_comes_and_goes_is_shown_as_unreachable_or_unstable_never_as_healthy() -> None:
    """Ten outages of three failed probes with two answers between them, and then an hour of answers."""
    was, outages, states = ClusterState.HEALTHY, 0, []
    for failures, successes in [(n % 5 + 1, 0) if n % 5 < 3 else (0, n % 5 - 2) for n in range(50)]:
        state = derive(but(was=was, failures=failures, successes=successes, outages=outages))[0]
        outages += state == ClusterState.UNREACHABLE != was
        was = state
        states.append(state)
    assert states[:2] == [ClusterState.HEALTHY] * 2 and set(states[2:]) == {ClusterState.UNREACHABLE}
    assert outages == 1, "it was lost once, for as long as it came and went"


def test_a_cluster_whose_nodes_cant_be_listed_is_not_one_without_nodes() -> None:
    seen = but(nodes=0, nodes_ready=0, streams={**SYNCED, "Node": "Unauthorized"})
    by_type = {condition.type: condition for condition in conditions(seen)}
    assert by_type["NodesReady"].status == "Unknown" and by_type["NodesReady"].message == "The nodes are not known yet."


@pytest.mark.parametrize("changes", [{"authorized": False}, {"streams": {**SYNCED, "Node": "forbidden"}}])
def test_of_nodes_that_are_not_watched_it_is_said_how_they_were(changes: dict[str, object]) -> None:
    nodes_ready = {condition.type: condition for condition in conditions(but(nodes_ready=2, **changes))}["NodesReady"]
    assert (nodes_ready.status, nodes_ready.reason) == ("Unknown", "NotWatched")
    assert nodes_ready.message == "Not known now; when last seen, 2 of 3 were ready."


@pytest.mark.parametrize("streams", [SYNCED, BROKEN, UNLISTED, {**SYNCED, "Pod": "Unauthorized"}])
def test_of_what_a_refused_credential_would_show_nothing_is_claimed(streams: dict[str, str | None]) -> None:
    by_type = {each.type: each for each in conditions(but(authorized=False, streams=streams))}
    said = {kind: each.status for kind, each in by_type.items()}
    assert said.pop("Reachable") == said.pop("Stable") == "True" and said["Authorized"] == "False"
    assert "True" not in said.values()
    assert by_type["Synced"].message == "Not known now: the API server refuses the credential.", "one cause, told once"


@pytest.mark.parametrize("streams", [UNLISTED, {**SYNCED, "Node": "Unauthorized"}, {}])
def test_a_watcher_that_begins_with_a_refusal_lets_no_earlier_claim_of_the_nodes_stand(
    streams: dict[str, str | None],
) -> None:
    """The nodes were ready; then the credential was replaced by one that is refused, and the watcher began anew."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    before = merge([], conditions(but()), now)
    refused = conditions(but(authorized=False, streams=streams, nodes=0, nodes_ready=0))
    said = {each["type"]: each["status"] for each in merge(before, refused, now, resuming=True)}
    assert said["NodesReady"] == "Unknown"


def test_every_condition_is_always_said() -> None:
    assert [c.type for c in conditions(Observation())] == ["Reachable", "Authorized", "Synced", "NodesReady", "Stable"]


def test_of_a_cluster_that_cant_be_reached_no_more_is_claimed() -> None:
    gone = {c.type: (c.status, c.reason) for c in conditions(but(failures=3, error_reason="Timeout", outages=3))}
    assert gone.pop("Reachable") == ("False", "Timeout")
    assert gone.pop("Stable") == ("False", "Unstable"), "what we know ourselves"
    assert set(gone.values()) == {("Unknown", "Unreachable")}
    once = {c.type: c.status for c in conditions(but(failures=3, error_reason="Timeout", outages=1))}
    assert once["Stable"] == "Unknown", "nobody can say that what is lost is stable"


def test_a_refused_credential_says_what_to_do() -> None:
    message = derive(but(authorized=False, error_message="Unauthorized"))[2]
    assert message == (
        "The API server refuses Flotilla's credential. It says: Unauthorized. Give the cluster a new credential."
    )


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

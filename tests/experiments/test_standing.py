"""What a run is, from its attempts; which of them another follows, and when."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.experiments.decision import AttemptFacts, RunFacts, cause_of, standing
from apps.experiments.decision.retries import pause
from apps.experiments.specs import Retries
from apps.experiments.states import ENDED, LAUNCHED_MOVES, AttemptState, Cause, RunState

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
S, R = AttemptState, RunState


def tried(number: int = 1, state: str = S.FAILED, **fields: Any) -> AttemptFacts:
    return AttemptFacts(number, state, **{"ended_at": NOW if state in ENDED else None, **fields})


def interrupted(number: int = 1) -> AttemptFacts:
    return tried(number, reason="Evicted", message="low on memory", cause=Cause.INTERRUPTED)


def failed(number: int = 1, cause: str = Cause.ERROR) -> AttemptFacts:
    return tried(number, reason="Error", message="exit 1", cause=cause, exit_code=1)


@pytest.mark.parametrize(
    ("reason", "message", "cause"),
    [
        ("PreemptionByScheduler", "", Cause.INTERRUPTED),
        ("DeletionByTaintManager", "", Cause.INTERRUPTED),
        ("EvictionByEvictionAPI", "", Cause.INTERRUPTED),
        ("DeletionByPodGC", "", Cause.INTERRUPTED),
        ("TerminationByKubelet", "", Cause.INTERRUPTED),
        ("PodFailurePolicy", "Pod ns/p has condition DisruptionTarget matching FailJob rule", Cause.INTERRUPTED),
        ("Preempting", "", Cause.INTERRUPTED),
        ("NodeLost", "", Cause.INTERRUPTED),
        ("NodeShutdown", "", Cause.INTERRUPTED),
        ("Evicted", "The node was low on resource: memory. ", Cause.INTERRUPTED),
        ("Evicted", "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. ", Cause.ERROR),
        ("Evicted", 'Usage of EmptyDir volume "x" exceeds the limit "1Mi". ', Cause.ERROR),
        ("OutOfcpu", "", Cause.INTERRUPTED),
        ("UnexpectedAdmissionError", "", Cause.INTERRUPTED),
        ("OutOf", "", Cause.ERROR),
        ("OOMKilled", "", Cause.OUT_OF_MEMORY),
        ("Error", "", Cause.ERROR),
        ("BackoffLimitExceeded", "", Cause.ERROR),
        ("ContainerStatusUnknown", "", Cause.INTERRUPTED),
        ("NeverRan", "", Cause.INTERRUPTED),
        ("ImagePullBackOff", "", Cause.START),
        ("StartError", "", Cause.START),
        ("DeadlineExceeded", "", Cause.DEADLINE),
        ("NameTaken", "", Cause.REFUSED),
    ],
)
def test_the_cause_behind_a_reason(reason: str, message: str, cause: Cause) -> None:
    assert cause_of(reason, message) == cause


def test_a_run_without_attempts_begins_its_first() -> None:
    verdict = standing(RunFacts(R.PENDING), [], NOW)
    assert (verdict.state, verdict.begin) == (R.PENDING, 1)
    assert standing(RunFacts(R.CANCELING), [], NOW).state == R.CANCELED


@pytest.mark.parametrize(
    ("state", "run"),
    [
        (S.PENDING, R.PENDING), (S.QUEUED, R.QUEUED), (S.STARTING, R.STARTING), (S.RUNNING, R.RUNNING),
        (S.STOPPING, R.STARTING), (S.SUCCEEDED, R.SUCCEEDED), (S.FAILED, R.FAILED), (S.LOST, R.LOST),
    ],
)  # fmt: skip
def test_a_run_is_what_its_last_attempt_is(state: S, run: R) -> None:
    verdict = standing(RunFacts(R.RUNNING), [interrupted(), tried(2, state, reason="Why", exit_code=4)], NOW)
    assert (verdict.state, verdict.reason, verdict.begin) == (run, "Why", 0)


def test_what_was_interrupted_is_always_tried_again_and_never_counted() -> None:
    many = [interrupted(number) for number in range(1, 31)]
    waits = standing(RunFacts(R.RUNNING), many, NOW)
    assert (waits.state, waits.begin, waits.reason) == (R.PENDING, 0, "Evicted")
    assert waits.retry_at is not None and waits.ended_at is None
    begins = standing(RunFacts(R.PENDING, retry_at=waits.retry_at), many, waits.retry_at)
    assert begins.begin == 31
    # Failures among them count by themselves.
    mixed = [failed(1), *(interrupted(number) for number in range(2, 9)), failed(9)]
    assert standing(RunFacts(R.RUNNING, Retries(1)), mixed, NOW).state == R.FAILED
    assert standing(RunFacts(R.RUNNING, Retries(2)), mixed, NOW).state == R.PENDING


@pytest.mark.parametrize("cause", ["error", "out-of-memory", "start", "refused", "deadline", ""])
def test_failures_are_tried_again_as_often_as_asked_and_only_those_that_were_named(cause: str) -> None:
    once = [failed(1, cause)]
    assert standing(RunFacts(R.RUNNING), once, NOW).state == R.FAILED
    usual = standing(RunFacts(R.RUNNING, Retries(1)), once, NOW).state
    assert usual == (R.PENDING if cause in ("error", "out-of-memory") else R.FAILED)
    named = standing(RunFacts(R.RUNNING, Retries(1, ("start", "refused"))), once, NOW).state
    assert named == (R.PENDING if cause in ("start", "refused") else R.FAILED)
    assert standing(RunFacts(R.RUNNING, Retries(1)), [*once, failed(2, cause)], NOW).state == R.FAILED


def test_a_cancel_between_two_attempts_ends_the_run_and_one_that_came_late_tells_the_failure() -> None:
    assert standing(RunFacts(R.CANCELING), [interrupted()], NOW).state == R.CANCELED
    assert standing(RunFacts(R.CANCELING, Retries(1)), [failed()], NOW).state == R.CANCELED
    assert standing(RunFacts(R.CANCELING), [failed()], NOW).state == R.FAILED
    assert standing(RunFacts(R.CANCELING), [tried(state=S.LOST)], NOW).state == R.CANCELED
    assert standing(RunFacts(R.CANCELING), [tried(state=S.RUNNING)], NOW).state == R.CANCELING


def test_the_deadline_covers_all_attempts() -> None:
    facts = RunFacts(R.RUNNING, deadline_at=NOW + timedelta(seconds=9))
    verdict = standing(facts, [interrupted()], NOW)
    assert (verdict.state, verdict.reason) == (R.FAILED, "DeadlineExceeded")
    assert "low on memory" in verdict.message and verdict.ended_at == NOW


def test_a_run_whose_cluster_is_gone_is_lost_or_canceled() -> None:
    for attempts in ([], [interrupted()], [tried(state=S.RUNNING)]):
        assert standing(RunFacts(R.RUNNING, cluster_gone=True), attempts, NOW).state == R.LOST
        assert standing(RunFacts(R.CANCELING, cluster_gone=True), attempts, NOW).state == R.CANCELED


def test_pauses_grow_to_five_minutes_and_begin_anew_after_a_steady_run() -> None:
    quick = [interrupted(number) for number in range(1, 9)]
    seconds = [pause(quick[:count]).total_seconds() for count in range(1, 9)]
    assert seconds == [10, 20, 40, 80, 160, 300, 300, 300]
    assert 10 <= pause(quick[:1], jitter=0.99).total_seconds() < 12.5
    steady = tried(9, started_at=NOW - timedelta(minutes=20), cause=Cause.INTERRUPTED)
    assert pause([*quick, steady]).total_seconds() == 10
    assert pause([*quick, steady, interrupted(10)]).total_seconds() == 10


_CAUSES = st.sampled_from(["", *Cause])
_LAST = st.sampled_from(list(S))


@given(
    before=st.lists(_CAUSES, max_size=5),
    last=_LAST,
    cause=_CAUSES,
    limit=st.integers(0, 3),
    state=st.sampled_from([R.PENDING, R.QUEUED, R.STARTING, R.RUNNING, R.CANCELING, R.LOST]),
)
def test_every_standing_can_be_reached_and_only_a_run_that_waits_begins(
    before: list[str], last: S, cause: str, limit: int, state: R
) -> None:
    if state == R.LOST and last in (S.CANCELED, S.STOPPING, S.PENDING):
        return  # a lost run has a lost attempt, which is what its Job is when that turns up
    attempts = [failed(number, why) for number, why in enumerate(before, 1)]
    attempts.append(tried(len(attempts) + 1, last, cause=cause if last == S.FAILED else "", reason="x"))
    verdict = standing(RunFacts(state, Retries(limit)), attempts, NOW)
    assert verdict.state == state or verdict.state in LAUNCHED_MOVES[state]
    assert not verdict.begin, "a pause comes first"
    assert (verdict.retry_at is not None) == (verdict.state == R.PENDING and last == S.FAILED)
    if state == R.CANCELING:
        assert verdict.state != R.PENDING

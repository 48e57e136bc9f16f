"""What a run's Job and pod say, and what follows: tables."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from apps.experiments.health import Act, Decision, Facts, JobSeen, PodSeen, decide, see
from apps.experiments.states import SETTLED, RunState

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
START = NOW - timedelta(minutes=2)
S = RunState
BACKOFF = "BackoffLimitExceeded"


def pod(**fields: Any) -> PodSeen:
    return PodSeen(**{"name": "run-1-x", "node": "n1", "phase": "Running", "scheduled": True, **fields})


# Its deletion is overdue, and its node does not answer.
LEFT = pod(started_at=START, due=START, silent=True)


def job(found: PodSeen | None = None, **fields: Any) -> JobSeen:
    return JobSeen(uid="u1", pod=found, **fields)


@pytest.mark.parametrize(
    ("state", "launched", "seen", "act", "to", "reason"),
    [
        # Nothing there yet.
        (S.PENDING, False, None, Act.CREATE, None, ""),
        # It was there, and is gone.
        (S.PENDING, True, None, Act.NOTHING, S.LOST, "JobVanished"),
        (S.QUEUED, True, None, Act.NOTHING, S.LOST, "JobVanished"),
        (S.RUNNING, True, None, Act.NOTHING, S.LOST, "JobVanished"),
        # On its way.
        (S.PENDING, True, job(), Act.NOTHING, S.QUEUED, "NoPod"),
        (
            S.QUEUED,
            True,
            job(pod(phase="Pending", scheduled=False, reason="Unschedulable", message="0/3 nodes")),
            Act.NOTHING,
            S.QUEUED,
            "Unschedulable",
        ),
        (
            S.QUEUED,
            True,
            job(pod(phase="Pending", reason="ContainerCreating")),
            Act.NOTHING,
            S.STARTING,
            "ContainerCreating",
        ),
        (S.STARTING, True, job(pod(started_at=START)), Act.NOTHING, S.RUNNING, ""),
        (S.RUNNING, True, job(pod(phase="Failed", reason="Error", exit_code=1)), Act.NOTHING, S.RUNNING, "Error"),
        (S.RUNNING, True, job(pod(), deleting=True), Act.NOTHING, None, "Deleting"),
        # An image that is not there: visible at once, and not for ever.
        (
            S.QUEUED,
            True,
            job(pod(phase="Pending", reason="ImagePullBackOff", created_at=NOW)),
            Act.NOTHING,
            S.STARTING,
            "ImagePullBackOff",
        ),
        (
            S.STARTING,
            True,
            job(pod(phase="Pending", reason="ImagePullBackOff", created_at=NOW - timedelta(minutes=6))),
            Act.DELETE,
            S.FAILED,
            "ImagePullBackOff",
        ),
        # The end, by the Job's word.
        (S.RUNNING, True, job(pod(phase="Succeeded", exit_code=0), outcome="Complete"), Act.NOTHING, S.SUCCEEDED, ""),
        (S.PENDING, True, job(outcome="Complete"), Act.NOTHING, S.SUCCEEDED, ""),
        (
            S.RUNNING,
            True,
            job(pod(phase="Failed", reason="OOMKilled", exit_code=137), outcome="Failed", reason=BACKOFF),
            Act.NOTHING,
            S.FAILED,
            "OOMKilled",
        ),
        (
            S.RUNNING,
            True,
            job(pod(phase="Failed", reason="Error", exit_code=143), outcome="Failed", reason="DeadlineExceeded"),
            Act.NOTHING,
            S.FAILED,
            "DeadlineExceeded",
        ),
        (
            S.RUNNING,
            True,
            job(outcome="Failed", reason=BACKOFF),
            Act.NOTHING,
            S.FAILED,
            BACKOFF,
        ),
        # Given up: the Job fails once its pod has ended, and on a lost node no pod does.
        (S.RUNNING, True, job(pod(started_at=START), given_up=True), Act.NOTHING, S.RUNNING, ""),
        (S.RUNNING, True, job(pod(started_at=START, due=NOW, silent=True), given_up=True), Act.NOTHING, S.RUNNING, ""),
        (S.RUNNING, True, job(LEFT), Act.NOTHING, S.RUNNING, ""),
        (S.RUNNING, True, job(replace(LEFT, silent=False), given_up=True), Act.NOTHING, S.RUNNING, ""),
        (S.RUNNING, True, job(LEFT, given_up=True), Act.NOTHING, S.FAILED, "NodeLost"),
        (S.FAILED, True, job(LEFT, given_up=True), Act.NOTHING, None, ""),
        # Cancelling ends with the Job's absence, or with an end that came first.
        (S.CANCELING, True, job(pod()), Act.DELETE, None, ""),
        (S.CANCELING, True, job(pod(), deleting=True), Act.NOTHING, None, ""),
        (S.CANCELING, True, job(replace(LEFT, silent=False), deleting=True), Act.NOTHING, None, ""),
        (S.CANCELING, True, job(LEFT, deleting=True), Act.NOTHING, None, "NodeLost"),
        (S.CANCELING, True, None, Act.NOTHING, S.CANCELED, "Canceled"),
        (S.CANCELING, False, None, Act.NOTHING, S.CANCELED, "Canceled"),
        (S.CANCELING, True, job(outcome="Complete"), Act.NOTHING, S.SUCCEEDED, ""),
        # A Job made late for a run that has ended has nobody waiting for it.
        (S.CANCELED, True, job(pod()), Act.DELETE, None, ""),
        (S.LOST, True, job(pod(), deleting=True), Act.NOTHING, None, ""),
        (S.SUCCEEDED, True, job(outcome="Complete"), Act.NOTHING, None, ""),
        (S.SUCCEEDED, True, None, Act.NOTHING, None, ""),
    ],
)
def test_decisions(
    state: str, launched: bool, seen: JobSeen | None, act: Act, to: RunState | None, reason: str
) -> None:
    decision = decide(Facts(state=state, launched=launched), seen, NOW)
    assert (decision.act, decision.state, decision.reason) == (act, to, reason)
    if decision.state in SETTLED:
        assert decision.ended_at is not None


def test_who_was_stopped_after_deleting_a_job_that_could_not_start_still_says_why() -> None:
    facts = Facts(state=S.STARTING, launched=True, reason="ErrImagePull", message="no such image")
    assert decide(facts, None, NOW) == Decision(
        state=S.FAILED, reason="ErrImagePull", message="no such image", ended_at=NOW
    )


def test_the_exit_code_and_the_times_come_from_the_container() -> None:
    ended = pod(phase="Failed", reason="Error", message="exit 3", exit_code=3, started_at=START, ended_at=NOW)
    decision = decide(Facts(S.RUNNING, True), job(ended, outcome="Failed", ended_at=NOW + timedelta(seconds=9)), NOW)
    assert (decision.exit_code, decision.started_at, decision.ended_at) == (3, START, NOW)


def kube_pod(name: str, created: str, owner: str = "u1", **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "creationTimestamp": created, "ownerReferences": [{"uid": owner}]},
        "spec": {"nodeName": "n1"},
        "status": status,
    }


def test_seeing_takes_the_newest_pod_of_this_very_job() -> None:
    found = see(
        {"metadata": {"uid": "u1"}, "status": {}},
        [
            kube_pod("old", "2026-11-23T10:00:00Z", phase="Failed"),
            kube_pod("new", "2026-11-23T11:00:00Z", phase="Pending"),
            kube_pod("foreign", "2026-11-23T11:30:00Z", owner="u2", phase="Running"),
        ],
    )
    assert found is not None and found.pod is not None
    assert found.pod.name == "new"


def test_seeing_a_failed_job_and_its_container() -> None:
    ended = {
        "exitCode": 1,
        "reason": "Error",
        "startedAt": "2026-11-23T11:58:00Z",
        "finishedAt": "2026-11-23T11:59:00Z",
    }
    found = see(
        {
            "metadata": {"uid": "u1"},
            "status": {"conditions": [{"type": "Failed", "status": "True", "reason": BACKOFF}]},
        },
        [
            kube_pod(
                "p",
                "2026-11-23T11:57:00Z",
                phase="Failed",
                containerStatuses=[{"name": "run", "state": {"terminated": ended}}],
            )
        ],
    )
    assert found is not None and found.pod is not None
    assert (found.outcome, found.pod.exit_code, found.pod.reason) == ("Failed", 1, "Error")
    assert found.pod.ended_at == datetime(2026, 11, 23, 11, 59, tzinfo=UTC)


def test_seeing_a_job_that_waits_for_a_pod_on_a_lost_node() -> None:
    left = kube_pod("p", "2026-11-23T11:00:00Z", phase="Running")
    left["metadata"]["deletionTimestamp"] = "2026-11-23T11:55:30Z"
    condition = {"type": "FailureTarget", "status": "True", "reason": BACKOFF}
    job = {"metadata": {"uid": "u1"}, "status": {"conditions": [condition]}}
    assert decide(Facts(S.RUNNING, True), see(job, [left]), NOW).state != S.FAILED, "its node may be slow to end it"
    decision = decide(Facts(S.RUNNING, True), see(job, [left], silent=["n1"]), NOW)
    assert (decision.state, decision.reason) == (S.FAILED, "NodeLost")
    assert decision.message.startswith("Node n1 was lost")
    assert decision.ended_at == datetime(2026, 11, 23, 11, 55, 30, tzinfo=UTC)


def test_a_job_without_a_pod_is_explained_by_its_events() -> None:
    found = see({"metadata": {"uid": "u1"}}, [], ["exceeded quota"])
    assert found is not None
    decision = decide(Facts(S.QUEUED, True), found, NOW)
    assert (decision.reason, decision.message) == ("FailedCreate", "exceeded quota")


def test_no_job_is_no_sight() -> None:
    assert see(None) is None

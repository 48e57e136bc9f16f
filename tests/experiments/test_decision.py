"""What an attempt's Job and pods say, and what follows: tables."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from apps.clusters.observed.health import job_health
from apps.clusters.observed.podhealth import pod_health
from apps.experiments.decision import Act, Facts, JobSeen, PodSeen, decide, is_being_made, remembered, see
from apps.experiments.states import ENDED, AttemptState
from tests.clusters.observed.test_health import CASES

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
START = NOW - timedelta(minutes=2)
S = AttemptState
BACKOFF = "BackoffLimitExceeded"


def pod(**fields: Any) -> PodSeen:
    return PodSeen(**{"name": "run-1-1-x", "node": "n1", "phase": "Running", "started_at": START, **fields})


# Its deletion is overdue, and its node does not answer.
LEFT = pod(due=START, silent=True)
WAITS = pod(phase="Pending", node="", started_at=None, reason="Unschedulable", message="0/3 nodes")
MADE = pod(phase="Pending", started_at=None, reason="ContainerCreating")
NO_IMAGE = pod(phase="Pending", started_at=None, reason="ImagePullBackOff", created_at=NOW - timedelta(minutes=6))
ENDED_WELL = pod(phase="Succeeded", exit_code=0)
CRASHED = pod(phase="Failed", reason="Error", exit_code=1, ended_at=START)


def job(*pods: PodSeen, **fields: Any) -> JobSeen:
    return JobSeen(uid="u1", pods=pods, **fields)


COMPLETED = job(ENDED_WELL, outcome="Complete", ended_at=START, deleting=True, deleting_since=NOW)


def decided(state: str, seen: JobSeen | None, **facts: Any) -> tuple[Act, AttemptState | None, str]:
    decision = decide(Facts(**{"state": state, "launched": True, **facts}), seen, NOW)
    if decision.state in ENDED:
        assert decision.ended_at is not None
    return decision.act, decision.state, decision.reason


@pytest.mark.parametrize(
    ("state", "seen", "act", "to", "reason"),
    [
        # On its way.
        (S.PENDING, job(), Act.NOTHING, S.QUEUED, "NoPod"),
        (S.QUEUED, job(WAITS), Act.NOTHING, S.QUEUED, "Unschedulable"),
        (S.QUEUED, job(MADE), Act.NOTHING, S.STARTING, "ContainerCreating"),
        (S.STARTING, job(pod()), Act.NOTHING, S.RUNNING, ""),
        (S.RUNNING, job(CRASHED), Act.NOTHING, S.RUNNING, "Error"),
        (S.RUNNING, job(pod(), deleting=True), Act.NOTHING, None, "Deleting"),
        # Held back on purpose; and while the pods of a Job that was suspended end.
        (S.QUEUED, job(suspended="Waiting: …"), Act.NOTHING, S.QUEUED, "Suspended"),
        (S.RUNNING, job(pod(due=NOW), suspended="Waiting: …"), Act.NOTHING, S.RUNNING, "Suspended"),
        # Decided, and the last pods still end: it does not begin anew.
        (S.RUNNING, job(CRASHED, decided="FailureTarget"), Act.NOTHING, None, "FailureTarget"),
        (S.RUNNING, job(decided="FailureTarget"), Act.NOTHING, None, "FailureTarget"),
        (S.RUNNING, job(pod(due=NOW), decided="SuccessCriteriaMet"), Act.NOTHING, None, "SuccessCriteriaMet"),
        # An image that is not there: visible at once, and not for ever.
        (S.QUEUED, job(replace(NO_IMAGE, created_at=NOW)), Act.NOTHING, S.STARTING, "ImagePullBackOff"),
        (S.STARTING, job(NO_IMAGE), Act.STOP, S.STOPPING, "ImagePullBackOff"),
        # So long after it got its node: it may have waited for one for hours.
        (S.STARTING, job(replace(NO_IMAGE, scheduled_at=START)), Act.NOTHING, S.STARTING, "ImagePullBackOff"),
        (S.STARTING, job(replace(NO_IMAGE, reason="FailedCreatePodSandBox")), Act.STOP, S.STOPPING,
         "FailedCreatePodSandBox"),
        # The end, by the Job's word.
        (S.RUNNING, job(ENDED_WELL, outcome="Complete"), Act.NOTHING, S.SUCCEEDED, ""),
        (S.PENDING, job(outcome="Complete"), Act.NOTHING, S.SUCCEEDED, ""),
        # Also where somebody deletes what is left of it.
        (S.RUNNING, COMPLETED, Act.NOTHING, S.SUCCEEDED, ""),
        (S.STOPPING, COMPLETED, Act.NOTHING, S.SUCCEEDED, ""),
        (S.STOPPING, replace(COMPLETED, ended_at=NOW, deleting_since=START), Act.NOTHING, None, "Why"),
        (S.RUNNING, job(CRASHED, outcome="Failed", reason=BACKOFF, deleting=True), Act.NOTHING, S.FAILED, "Error"),
        (S.RUNNING, job(CRASHED, outcome="Failed", reason=BACKOFF), Act.NOTHING, S.FAILED, "Error"),
        (S.RUNNING, job(CRASHED, outcome="Failed", reason="DeadlineExceeded"), Act.NOTHING, S.FAILED,
         "DeadlineExceeded"),
        (S.RUNNING, job(outcome="Failed", reason=BACKOFF), Act.NOTHING, S.FAILED, BACKOFF),
        # What disrupted its pod is said by the pod, and by the Job where the pod is gone.
        (S.RUNNING, job(pod(phase="Failed", reason="PreemptionByScheduler", disrupted=True, gone=True),
                        outcome="Failed", reason="PodFailurePolicy"), Act.NOTHING, S.FAILED, "PreemptionByScheduler"),
        (S.RUNNING, job(outcome="Failed", reason="PodFailurePolicy"), Act.NOTHING, S.FAILED, "PodFailurePolicy"),
        # On a lost node no pod ever ends, and so no Job fails.
        (S.RUNNING, job(pod(due=NOW, silent=True)), Act.NOTHING, S.RUNNING, ""),
        (S.RUNNING, job(replace(LEFT, silent=False)), Act.NOTHING, S.RUNNING, ""),
        (S.RUNNING, job(LEFT), Act.NOTHING, S.FAILED, "NodeLost"),
        # Lost here, and there after all.
        (S.LOST, job(pod()), Act.NOTHING, S.RUNNING, ""),
        (S.LOST, job(ENDED_WELL, outcome="Complete"), Act.NOTHING, S.SUCCEEDED, ""),
        (S.LOST, None, Act.NOTHING, None, ""),
        # Stopped for a reason: until its Job is gone, or has ended by itself.
        (S.STOPPING, job(pod()), Act.STOP, None, "Why"),
        (S.STOPPING, job(pod(), deleting=True), Act.NOTHING, None, "Why"),
        (S.STOPPING, job(LEFT, deleting=True), Act.NOTHING, S.FAILED, "Why"),
        (S.STOPPING, job(ENDED_WELL, outcome="Complete"), Act.NOTHING, S.SUCCEEDED, ""),
    ],
)  # fmt: skip
def test_what_a_job_says(state: str, seen: JobSeen | None, act: Act, to: AttemptState | None, reason: str) -> None:
    facts = {"reason": "Why"} if state == S.STOPPING else {}
    assert decided(state, seen, **facts) == (act, to, reason)


@pytest.mark.parametrize(
    ("state", "seen", "act", "to", "reason"),
    [
        (S.RUNNING, job(pod()), Act.STOP, S.STOPPING, "Canceled"),
        (S.RUNNING, job(pod(), deleting=True), Act.STOP, S.STOPPING, "Canceled"),
        (S.STOPPING, job(pod()), Act.STOP, None, ""),
        (S.STOPPING, job(pod(), deleting=True), Act.NOTHING, None, ""),
        (S.STOPPING, job(LEFT, deleting=True), Act.NOTHING, None, "NodeLost"),
        # An end that came first counts.
        (S.RUNNING, job(outcome="Complete"), Act.NOTHING, S.SUCCEEDED, ""),
        (S.RUNNING, COMPLETED, Act.NOTHING, S.SUCCEEDED, ""),
        (S.RUNNING, job(CRASHED, outcome="Failed", reason=BACKOFF), Act.NOTHING, S.FAILED, "Error"),
    ],
)
def test_what_a_person_canceled(
    state: str, seen: JobSeen | None, act: Act, to: AttemptState | None, reason: str
) -> None:
    assert decided(state, seen, canceling=True) == (act, to, reason)


def test_absence_is_said_twice_a_while_apart_before_a_job_is_lost() -> None:
    first = decide(Facts(S.RUNNING, launched=True, reason="Error"), None, NOW)
    assert (first.state, first.missing_since, first.recheck, first.reason) == (None, NOW, 15.0, "Error")
    soon = decide(Facts(S.RUNNING, launched=True, missing_since=NOW - timedelta(seconds=4)), None, NOW)
    assert (soon.state, soon.missing_since, soon.recheck) == (None, NOW - timedelta(seconds=4), 11.0)
    assert decided(S.RUNNING, None, missing_since=NOW - timedelta(seconds=15)) == (Act.NOTHING, S.LOST, "JobVanished")
    seen = decide(Facts(S.RUNNING, launched=True, missing_since=START), job(pod()), NOW)
    assert seen.missing_since is None, "who is seen again is not missing"


@pytest.mark.parametrize(
    ("pods", "workers", "to", "reason"),
    [
        ((replace(ENDED_WELL, ended_at=START),), 1, S.SUCCEEDED, ""),
        ((replace(ENDED_WELL, ended_at=START, asked_at=NOW),), 1, S.SUCCEEDED, ""),
        ((replace(CRASHED, asked_at=NOW),), 1, S.FAILED, "Error"),
        # What ends because it is deleted tells nothing of the run; nor does what nobody saw end.
        ((replace(ENDED_WELL, ended_at=NOW, asked_at=START),), 1, S.LOST, "JobVanished"),
        ((replace(CRASHED, exit_code=143, asked_at=START),), 1, S.LOST, "JobVanished"),
        ((pod(gone=True),), 1, S.LOST, "JobVanished"),
        # All of several workers have to have succeeded.
        ((replace(ENDED_WELL, index=0, ended_at=START),), 2, S.LOST, "JobVanished"),
        (tuple(replace(ENDED_WELL, index=number, ended_at=START) for number in (0, 1)), 2, S.SUCCEEDED, ""),
        ((replace(ENDED_WELL, index=0, ended_at=START), replace(CRASHED, index=1)), 2, S.FAILED, "Error"),
    ],
)
def test_a_job_that_was_deleted_after_its_pods_had_ended_is_what_they_were(
    pods: tuple[PodSeen, ...], workers: int, to: AttemptState, reason: str
) -> None:
    gone: dict[str, Any] = {"pods": pods, "workers": workers, "missing_since": NOW - timedelta(seconds=16)}
    assert decided(S.RUNNING, None, **gone) == (Act.NOTHING, to, reason)
    if to != S.LOST:
        assert decide(Facts(S.RUNNING, True, **gone), None, NOW).ended_at == START


def test_absence_confirms_what_the_api_server_was_seen_to_delete() -> None:
    taken: dict[str, Any] = {"deletion_at": START, "reason": "DeadlineExceeded"}
    assert decided(S.STOPPING, None, **taken) == (Act.NOTHING, S.FAILED, "DeadlineExceeded")
    assert decided(S.STOPPING, None, canceling=True, **taken) == (Act.NOTHING, S.CANCELED, "Canceled")
    # Killed before the answer was noted: then it takes two looks.
    assert decided(S.STOPPING, None, canceling=True)[1] is None
    long = {"missing_since": NOW - timedelta(seconds=16)}
    assert decided(S.STOPPING, None, canceling=True, **long)[1] == S.CANCELED
    assert decided(S.STOPPING, None, reason="ErrImagePull", **long)[1:] == (S.FAILED, "ErrImagePull")


def test_what_was_never_made_is_made_unless_nobody_wants_it_any_more() -> None:
    assert decided(S.PENDING, None, launched=False) == (Act.CREATE, None, "")
    assert decided(S.PENDING, None, launched=False, canceling=True) == (Act.NOTHING, S.CANCELED, "Canceled")
    late = decided(S.PENDING, None, launched=False, deadline_at=START)
    assert late == (Act.NOTHING, S.FAILED, "DeadlineExceeded")


def test_the_deadline_stops_what_still_runs_and_nothing_that_has_ended() -> None:
    assert decided(S.RUNNING, job(pod()), deadline_at=NOW) == (Act.STOP, S.STOPPING, "DeadlineExceeded")
    assert decided(S.RUNNING, job(ENDED_WELL, outcome="Complete"), deadline_at=NOW)[1] == S.SUCCEEDED
    assert decided(S.RUNNING, job(pod()), deadline_at=NOW + timedelta(seconds=1))[1] == S.RUNNING


def test_an_attempt_is_where_the_last_of_its_workers_is() -> None:
    others = [pod(name="w-0", index=0), pod(name="w-1", index=1)]
    assert decided(S.PENDING, job(*others), workers=3)[1] == S.QUEUED, "one is not made yet"
    assert decided(S.PENDING, job(*others, WAITS), workers=3)[1] == S.QUEUED
    assert decided(S.QUEUED, job(*others, MADE), workers=3)[1] == S.STARTING
    assert decided(S.STARTING, job(*others, pod(name="w-2")), workers=3)[1] == S.RUNNING
    assert decided(S.RUNNING, job(*others, ENDED_WELL), workers=3)[1] == S.RUNNING
    decision = decide(Facts(S.QUEUED, True, workers=3), job(*others, WAITS), NOW)
    assert decision.message.startswith("Of 3 workers 2 run and 1 waits ("), decision.message
    assert decision.started_at is not None, "of a run some workers of which run it is no secret that it has started"


def test_the_first_worker_that_failed_explains_and_not_those_that_were_stopped_for_it() -> None:
    culprit = pod(name="w-1", phase="Failed", reason="OOMKilled", message="memory", exit_code=137, ended_at=START)
    ended = START + timedelta(seconds=3)
    stopped = pod(name="w-0", phase="Failed", reason="Error", exit_code=143, due=START, ended_at=ended)
    early = replace(stopped, name="w-2", ended_at=START - timedelta(seconds=1))
    decision = decide(
        Facts(S.RUNNING, True, workers=3), job(stopped, culprit, early, outcome="Failed", reason=BACKOFF), NOW
    )
    assert (decision.state, decision.reason, decision.exit_code) == (S.FAILED, "OOMKilled", 137)
    assert decision.message == "w-1: memory"


def test_the_workers_of_a_lost_one_are_stopped_before_anything_begins_anew() -> None:
    both = job(LEFT, pod(name="w-1", node="n2"))
    assert decided(S.RUNNING, both, workers=2) == (Act.STOP, S.STOPPING, "NodeLost")
    going = replace(both, deleting=True)
    assert decided(S.STOPPING, going, workers=2, reason="NodeLost")[1] is None
    alone = job(LEFT, deleting=True)
    assert decided(S.STOPPING, alone, workers=2, reason="NodeLost")[1:] == (S.FAILED, "NodeLost")


def test_the_exit_code_and_the_times_come_from_the_container() -> None:
    ended = pod(phase="Failed", reason="Error", message="exit 3", exit_code=3, ended_at=NOW)
    decision = decide(Facts(S.RUNNING, True), job(ended, outcome="Failed", ended_at=NOW + timedelta(seconds=9)), NOW)
    assert (decision.exit_code, decision.started_at, decision.ended_at) == (3, START, NOW)


def test_what_never_started_took_no_time() -> None:
    never = {"exitCode": 128, "reason": "StartError", "message": "no such file",
             "startedAt": "1970-01-01T00:00:00Z", "finishedAt": "2026-11-23T11:59:00Z"}  # fmt: skip
    status = {"phase": "Failed", "containerStatuses": [{"name": "run", "state": {"terminated": never}}]}
    condition = {"type": "Failed", "status": "True", "reason": BACKOFF}
    job = {"metadata": {"uid": "u1"}, "status": {"conditions": [condition], "startTime": "2026-11-23T10:00:00Z"}}
    decision = decide(Facts(S.RUNNING, True), see(job, [kube_pod("p", "", **status)]), NOW)
    assert (decision.reason, decision.exit_code, decision.started_at) == ("StartError", 128, None)
    assert decision.ended_at == datetime(2026, 11, 23, 11, 59, tzinfo=UTC)
    unseen = decide(Facts(S.RUNNING, True), see(job), NOW)
    assert unseen.started_at == datetime(2026, 11, 23, 10, tzinfo=UTC)


def kube_pod(name: str, created: str, owner: str = "u1", **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "creationTimestamp": created, "ownerReferences": [{"uid": owner}]},
        "spec": {"nodeName": "n1"},
        "status": status,
    }


def test_seeing_takes_the_pods_of_this_very_job_and_remembers_those_that_are_gone() -> None:
    known = remembered([CRASHED.to_json() | {"name": "before"}])
    seen = see(
        {"metadata": {"uid": "u1"}, "status": {}},
        [
            kube_pod("new", "2026-11-23T11:00:00Z", phase="Pending"),
            kube_pod("foreign", "2026-11-23T11:30:00Z", owner="u2", phase="Running"),
        ],
        known=known,
    )
    assert [(each.name, each.gone) for each in seen.pods] == [("new", False), ("before", True)]
    assert seen.failing is not None and (seen.failing.name, seen.failing.exit_code) == ("before", 1)


def test_seeing_a_failed_job_and_its_container() -> None:
    ended = {
        "exitCode": 1,
        "reason": "Error",
        "startedAt": "2026-11-23T11:58:00Z",
        "finishedAt": "2026-11-23T11:59:00Z",
    }
    condition = {"type": "Failed", "status": "True", "reason": BACKOFF}
    crashed = kube_pod(
        "p", "2026-11-23T11:57:00Z", phase="Failed",
        containerStatuses=[{"name": "run", "state": {"terminated": ended}}],
    )  # fmt: skip
    # Also while somebody deletes it: what its container said comes first.
    crashed["metadata"]["deletionTimestamp"] = "2026-11-23T12:00:00Z"
    seen = see({"metadata": {"uid": "u1"}, "status": {"conditions": [condition]}}, [crashed])
    assert seen.outcome == "Failed" and seen.failing is not None
    assert (seen.failing.exit_code, seen.failing.reason) == (1, "Error")
    assert seen.failing.ended_at == datetime(2026, 11, 23, 11, 59, tzinfo=UTC)
    assert remembered([seen.failing.to_json()])[0].ended_at == seen.failing.ended_at


def test_seeing_a_pod_that_was_disrupted() -> None:
    target = {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler", "message": "by x"}
    gone = {"terminated": {"exitCode": 143, "reason": "Error"}}
    status = {"phase": "Failed", "conditions": [target], "containerStatuses": [{"name": "run", "state": gone}]}
    seen = see({"metadata": {"uid": "u1"}}, [kube_pod("p", "2026-11-23T11:57:00Z", **status)]).pods[0]
    assert (seen.reason, seen.words, seen.exit_code) == ("PreemptionByScheduler", "by x", 143)
    assert seen.message == "Preempted: it had to make room for a pod of higher priority."
    assert seen.disrupted and remembered([seen.to_json()])[0].disrupted
    # The kubelet's own word says more than its condition.
    evicted = see({"metadata": {"uid": "u1"}}, [kube_pod("p", "", **status, reason="Evicted", message="low")]).pods[0]
    assert (evicted.reason, evicted.message, evicted.disrupted) == ("Evicted", "Evicted from n1: low.", True)


@pytest.mark.parametrize("pod", [case[1] for case in CASES if case[1].get("status")], ids=str)
def test_a_run_says_of_its_pod_what_the_pod_says_of_itself(pod: dict[str, Any]) -> None:
    mine = {**pod, "metadata": {**pod["metadata"], "ownerReferences": [{"uid": "u1"}]}}
    seen, verdict = see({"metadata": {"uid": "u1"}}, [mine]).pods[0], pod_health(mine)
    assert seen.exit_code == verdict.exit_code
    # That all is well, not ready yet or being deleted is no reason of a run.
    if verdict.reason not in {"Running", "Completed", "NotReady", "Terminating"}:
        assert (seen.reason, seen.passing or seen.message) == (verdict.reason, verdict.message)


def test_seeing_a_job_that_is_held_back_or_has_decided() -> None:
    metadata = {"uid": "u1", "labels": {"kueue.x-k8s.io/queue-name": "team-a"}}
    held = decide(Facts(S.QUEUED, True), see({"metadata": metadata, "spec": {"suspend": True}}), NOW)
    assert held.message == job_health({"metadata": metadata, "spec": {"suspend": True}}).message
    told = {"type": "FailureTarget", "status": "True", "reason": BACKOFF, "message": "It failed too often."}
    ending = decide(Facts(S.RUNNING, True), see({"metadata": metadata, "status": {"conditions": [told]}}), NOW)
    assert ending.message == "It has failed, and its pods are still being ended: It failed too often."
    over = {"type": "Complete", "status": "True", "lastTransitionTime": "2026-11-23T11:59:00Z"}
    gone = {"metadata": metadata | {"deletionTimestamp": "2026-11-23T11:59:30Z"}, "status": {"conditions": [over]}}
    assert decide(Facts(S.STOPPING, True, canceling=True), see(gone), NOW).state == S.SUCCEEDED


def test_a_run_on_a_node_that_is_silent_says_so_while_it_is_waited_for() -> None:
    there = kube_pod("p", "", phase="Running", containerStatuses=[{"name": "run", "state": {"running": {}}}])
    seen = see({"metadata": {"uid": "u1"}}, [there], silent={"n1": "NodeStatusUnknown"})
    decision = decide(Facts(S.RUNNING, True), seen, NOW)
    assert (decision.reason, decision.message) == ("NodeLost", "Not heard of: node n1 stopped answering.")
    assert decision.recheck == 60.0, "the node's recovery is no change of the pod"


def test_seeing_a_job_that_waits_for_a_pod_on_a_lost_node() -> None:
    left = kube_pod("p", "2026-11-23T11:00:00Z", phase="Running")
    left["metadata"]["deletionTimestamp"] = "2026-11-23T11:55:30Z"
    job = {"metadata": {"uid": "u1"}}
    assert decide(Facts(S.RUNNING, True), see(job, [left]), NOW).state != S.FAILED, "its node may be slow to end it"
    decision = decide(Facts(S.RUNNING, True), see(job, [left], silent={"n1": "NodeStatusUnknown"}), NOW)
    assert (decision.state, decision.reason) == (S.FAILED, "NodeLost")
    assert decision.message.startswith("Node n1 was lost")
    assert decision.ended_at == datetime(2026, 11, 23, 11, 55, 30, tzinfo=UTC)


def test_a_job_without_a_pod_is_explained_by_its_events() -> None:
    seen = see({"metadata": {"uid": "u1"}}, [], ["exceeded quota"])
    decision = decide(Facts(S.QUEUED, True), seen, NOW)
    assert (decision.reason, decision.message) == (
        "FailedCreate",
        "Waiting: the pod of its Job can't be made: exceeded quota.",
    )


def test_a_pod_without_a_sandbox_is_looked_at_again_though_no_watch_speaks_of_it() -> None:
    assert decide(Facts(S.QUEUED, launched=True), job(MADE), NOW).recheck == 60.0


@pytest.mark.parametrize(
    ("changes", "making"),
    [
        ({}, True),
        ({"containerStatuses": [{"state": {"waiting": {"reason": "ContainerCreating"}}}]}, True),
        ({"initContainerStatuses": [{"state": {"waiting": {"reason": "PodInitializing"}}}]}, True),
        ({"containerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull"}}}]}, False),
        ({"containerStatuses": [{"state": {"running": {"startedAt": "2026-11-23T11:00:00Z"}}}]}, False),
        ({"containerStatuses": [{"state": {"waiting": {"reason": "ContainerCreating"}}, "restartCount": 1}]}, False),
        ({"phase": "Running"}, False),
    ],
)
def test_which_pods_may_lack_a_sandbox(changes: dict[str, Any], making: bool) -> None:
    pod = {"spec": {"nodeName": "n1"}, "status": {"phase": "Pending", **changes}}
    assert is_being_made(pod) is making
    assert not is_being_made({**pod, "spec": {}})

"""The state of an attempt, and the next step for its Job. Pure."""

import enum
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from apps.clusters.observed import absence
from apps.clusters.why.ended import OVERRAN
from apps.experiments.decision.causes import DEADLINE, DISRUPTED, NODE_LOST, START_ERRORS
from apps.experiments.decision.sight import SUCCEEDING, JobSeen, PodSeen
from apps.experiments.decision.workers import of_several
from apps.experiments.states import AttemptState

# A registry may be away for a moment; after this long the attempt has failed rather than "is starting" for ever.
START_PATIENCE = timedelta(minutes=5)
# So long after a pod was to be gone its silent node is not waited for.
OVERDUE = timedelta(minutes=1)
# How soon a pod that is being made is looked at again without an event.
STARTING_SECONDS = 60.0
# How soon a Job that is being deleted, or a pod that can't start, is looked at again without an event.
RECHECK_SECONDS = 5.0
ENDING_SUSPENDED = "Its Job is suspended: its pods are being ended, and it starts none until it is resumed."
_NO_POD = "Waiting: its Job has not made a pod yet."
_GONE = "Its pod was preempted or evicted, or lost its node: it was gone before it could tell which."
_S = AttemptState
# How far along a pod is, the least one first: an attempt is where the last of its pods is.
_STEPS = {"Queued": 0, "Starting": 1, "Running": 2, "Succeeded": 3, "Failed": 3, "Deleted": 3}


class Act(enum.StrEnum):
    """The request to the cluster."""

    NOTHING = "nothing"
    CREATE = "create"
    STOP = "stop"
    """Delete the Job, having read the end of its log."""


@dataclass(frozen=True)
class Facts:
    """The stored facts of an attempt that has not ended, or that was lost."""

    state: str
    launched: bool = False
    """Whether the Job is known to have existed."""
    canceling: bool = False
    """Whether a person asked for the run's end."""
    reason: str = ""
    message: str = ""
    """Recorded last. While the attempt is being stopped: why."""
    deletion_at: datetime | None = None
    """When the API server was first seen to have taken our deletion."""
    missing_since: datetime | None = None
    """When the API server first said that there is no such Job."""
    deadline_at: datetime | None = None
    workers: int = 1
    pods: tuple[PodSeen, ...] = ()
    """Where there is no Job: its pods as the watcher saw them last."""


@dataclass(frozen=True)
class Decision:
    """The act to take, and the values to record. `state` None leaves it; `recheck`: seconds until the next look."""

    act: Act = Act.NOTHING
    state: AttemptState | None = None
    reason: str = ""
    message: str = ""
    exit_code: int | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    missing_since: datetime | None = None
    recheck: float | None = None


def decide(facts: Facts, job: JobSeen | None, now: datetime) -> Decision:
    """The next step from the wanted to the observed state. Without a change, the decision is the same again."""
    if job is None:
        return _absent(facts, now)
    if job.outcome and (job.completed_first or not job.deleting):
        return _ended(facts, job, now)
    if facts.state == _S.STOPPING:
        return _stopping(facts, job, now)
    if facts.canceling:
        return Decision(Act.STOP, _S.STOPPING, "Canceled", started_at=_started(job), recheck=RECHECK_SECONDS)
    if job.outcome:
        return _ended(facts, job, now)
    lost = next((pod for pod in job.present if _is_lost(pod, now)), None)
    if lost is not None:
        return _lost(job, lost, now)
    if job.deleting:
        return Decision(reason="Deleting", message="Somebody is deleting the Job.", recheck=RECHECK_SECONDS)
    if facts.deadline_at is not None and now >= facts.deadline_at:
        return Decision(Act.STOP, _S.STOPPING, DEADLINE, OVERRAN, started_at=_started(job), recheck=RECHECK_SECONDS)
    return _under_way(facts, job, now)


def _absent(facts: Facts, now: datetime) -> Decision:
    if facts.state == _S.LOST:
        return Decision()
    if not facts.launched:
        if facts.canceling:
            return _stopped(facts, now)
        late = facts.deadline_at is not None and now >= facts.deadline_at
        return _stopped(replace(facts, reason=DEADLINE, message=OVERRAN), now) if late else Decision(Act.CREATE)
    stopping = facts.state == _S.STOPPING
    if stopping and facts.deletion_at is not None:
        return _stopped(facts, now)
    since = facts.missing_since or now
    if not absence.is_believed(facts.missing_since, now):
        left = (absence.AGAIN - (now - since)).total_seconds()
        return Decision(reason=facts.reason, message=facts.message, missing_since=since, recheck=left)
    if stopping or facts.canceling:
        return _stopped(facts, now)
    outcome = _by_its_pods(facts)
    if outcome is not None:
        return _ended(facts, outcome, now)
    return Decision(
        state=_S.LOST,
        reason="JobVanished",
        message="The Job is gone from the cluster, and it never told how it ended. Somebody deleted it, or the "
        "namespace, or the cluster was reset.",
        ended_at=now,
        missing_since=since,
    )


def _by_its_pods(facts: Facts) -> JobSeen | None:
    """The Job as its pods make it, where they had ended before anybody deleted it; None where they don't tell."""
    over = tuple(pod for pod in facts.pods if pod.ended_at and not (pod.asked_at and pod.asked_at <= pod.ended_at))
    known = JobSeen(pods=over, ended_at=max((pod.ended_at for pod in over if pod.ended_at), default=None))
    if any(pod.phase == "Failed" for pod in over):
        return replace(known, outcome="Failed")
    done = {pod.index if facts.workers > 1 else 0 for pod in over if pod.phase == "Succeeded"}
    return replace(known, outcome="Complete") if done == set(range(facts.workers)) else None


def _stopped(facts: Facts, now: datetime) -> Decision:
    """The end of what was stopped: for a person, or for the reason noted when that was begun."""
    if facts.canceling:
        return Decision(state=_S.CANCELED, reason="Canceled", ended_at=now)
    return Decision(state=_S.FAILED, reason=facts.reason, message=facts.message, ended_at=now)


def _stopping(facts: Facts, job: JobSeen, now: datetime) -> Decision:
    if not job.deleting:
        return Decision(Act.STOP, reason=facts.reason, message=facts.message, recheck=RECHECK_SECONDS)
    lost = [pod for pod in job.present if _is_lost(pod, now)]
    if facts.canceling and lost:
        message = f"Node {lost[0].node} is lost: canceled once it is back, or removed from the cluster."
        return Decision(reason=NODE_LOST, message=message, recheck=RECHECK_SECONDS)
    if lost and len(lost) == len(job.present):
        # Nothing of it runs any more but what nobody hears of.
        return _stopped(facts, now)
    return Decision(reason=facts.reason, message=facts.message, recheck=RECHECK_SECONDS)


def _ended(facts: Facts, job: JobSeen, now: datetime) -> Decision:
    if job.outcome == "Complete":
        started = _started(job) or job.started_at
        return Decision(state=_S.SUCCEEDED, exit_code=0, started_at=started, ended_at=job.ended_at or now)
    pod = job.failing
    reason, message = _why_failed(job, pod)
    return Decision(
        state=_S.FAILED,
        reason=reason,
        message=message if facts.workers == 1 or pod is None else f"{pod.name}: {message}",
        exit_code=pod.exit_code if pod else None,
        # A pod that was seen and never started is no start; of one that nobody saw, the Job knows best.
        started_at=_started(job) or (None if job.pods else job.started_at),
        ended_at=(pod.ended_at if pod else None) or job.ended_at or now,
    )


def _why_failed(job: JobSeen, pod: PodSeen | None) -> tuple[str, str]:
    """The Job's own reason where the Job was stopped; else its pod knows better than "BackoffLimitExceeded"."""
    if job.reason == DISRUPTED and (pod is None or not pod.disrupted):
        # The disrupted pod was gone before anybody saw it.
        return DISRUPTED, _GONE
    if job.reason == DEADLINE or pod is None or not pod.reason:
        return job.reason or "Failed", job.message or "The Job failed."
    return pod.reason, pod.message


def _lost(job: JobSeen, pod: PodSeen, now: datetime) -> Decision:
    """A Job fails when its pod has ended, and on a node that is lost no pod ever does."""
    decision = Decision(
        state=_S.FAILED,
        reason=NODE_LOST,
        message=f"Node {pod.node} was lost, and Kubernetes gave the run up. How far it came is not known.",
        started_at=_started(job),
        ended_at=pod.due,
    )
    if all(_is_lost(other, now) for other in job.present):
        return decision
    # Its other workers still run: they must be over before anything begins anew.
    return replace(decision, act=Act.STOP, state=_S.STOPPING, ended_at=None, recheck=RECHECK_SECONDS)


def _is_lost(pod: PodSeen, now: datetime) -> bool:
    return pod.silent and pod.due is not None and now - pod.due >= OVERDUE


def _under_way(facts: Facts, job: JobSeen, now: datetime) -> Decision:
    pods = job.present
    if job.decided:
        return _deciding(facts, job)
    if not pods:
        return _without_pod(job)
    last = min(pods, key=lambda pod: _STEPS[pod.state])
    state = _stage(last, missing=len(pods) < facts.workers)
    stuck = next((pod for pod in pods if pod.reason in START_ERRORS), None)
    since = (stuck.scheduled_at or stuck.created_at) if stuck is not None else None
    if stuck is not None and since is not None and now - since > START_PATIENCE:
        return Decision(Act.STOP, _S.STOPPING, stuck.reason, stuck.message, recheck=RECHECK_SECONDS)
    shown = stuck or job.failing or next((pod for pod in pods if pod.silent), last)
    recheck = None
    if any(pod.phase in ("Succeeded", "Failed") for pod in pods) and state == _S.RUNNING and facts.workers == 1:
        # The pod has ended and the Job's controller has not counted it yet.
        recheck = 2.0
    elif stuck is not None or any(pod.silent and pod.due for pod in pods):
        recheck = RECHECK_SECONDS
    elif state == _S.STARTING or any(pod.silent for pod in pods):
        # Why a pod is not made is told by an event alone; a watch of the pod doesn't show it.
        recheck = STARTING_SECONDS
    started = _started(job)
    told = shown.passing or shown.message
    message = told if facts.workers == 1 or not told else f"{shown.name}: {told}"
    several = of_several([(pod.name, pod.state) for pod in pods], facts.workers)
    message = " ".join(filter(None, (several, message)))
    if job.suspended:
        message = ENDING_SUSPENDED if started else job.suspended
        return Decision(state=state, reason="Suspended", message=message, started_at=started, recheck=recheck)
    reason = shown.reason or ("Terminating" if shown.passing else "")
    return Decision(state=state, reason=reason, message=message, started_at=started, recheck=recheck)


def _without_pod(job: JobSeen) -> Decision:
    if job.suspended:
        started = _started(job)
        message = f"{job.suspended} It has run before." if started else job.suspended
        return Decision(state=_S.QUEUED, reason="Suspended", message=message, started_at=started)
    reason, message = job.reason or "NoPod", job.message or _NO_POD
    return Decision(state=_S.QUEUED, reason=reason, message=message, started_at=_started(job))


def _deciding(facts: Facts, job: JobSeen) -> Decision:
    """The Job's controller has decided how it ends, and waits for the last pods: it does not begin anew."""
    message = "It has succeeded, and its pods are still being ended."
    if job.decided != SUCCEEDING:
        message = f"It has failed, and its pods are still being ended: {_why_failed(job, job.failing)[1]}"
    state = _S.RUNNING if facts.state == _S.LOST else None
    return Decision(state=state, reason=job.decided, message=message, started_at=_started(job), recheck=RECHECK_SECONDS)


def _stage(pod: PodSeen, *, missing: bool) -> AttemptState:
    if pod.state == "Queued" or (missing and pod.state != "Starting"):
        return _S.QUEUED
    return _S.STARTING if pod.state == "Starting" else _S.RUNNING


def _started(job: JobSeen) -> datetime | None:
    return min((pod.started_at for pod in job.pods if pod.started_at), default=None)

"""A run's Job and pod, as observed → what the run's state is and what to do next. Pure."""

import enum
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from apps.clusters.health import pod_health
from apps.experiments.states import SETTLED, RunState

Object = Mapping[str, Any]

# Waiting reasons under which a container never starts unless somebody changes something.
START_ERRORS = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "ErrImageNeverPull",
        "InvalidImageName",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)
# A registry may be away for a moment; after this long the run has failed rather than "is starting" for ever.
START_PATIENCE = timedelta(minutes=5)
# Why a run failed, or can't be canceled yet, whose node is not ready any more.
NODE_LOST = "NodeLost"
# So long after a pod was to be gone its silent node is not waited for.
OVERDUE = timedelta(minutes=1)
# How soon a Job that is being deleted, or a pod that can't start, is looked at again without an event.
RECHECK_SECONDS = 5.0


class Act(enum.StrEnum):
    """What the cluster is asked to do."""

    NOTHING = "nothing"
    CREATE = "create"
    DELETE = "delete"


@dataclass(frozen=True)
class Facts:
    """What Postgres says. `launched` means that the Job is known to have existed; `reason` was recorded last."""

    state: str
    launched: bool = False
    reason: str = ""
    message: str = ""


@dataclass(frozen=True)
class PodSeen:
    """The run's newest pod."""

    name: str = ""
    node: str = ""
    phase: str = ""
    reason: str = ""
    message: str = ""
    exit_code: int | None = None
    scheduled: bool = False
    due: datetime | None = None
    """When it is to be gone, where it is being deleted: the deletion and its grace period."""
    silent: bool = False
    """Whether its node is not ready, so that nobody there may end it."""
    created_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True)
class JobSeen:
    """The Job, and its newest pod where there is one."""

    uid: str = ""
    deleting: bool = False
    outcome: str = ""
    """"Complete", "Failed", or "" while it runs."""
    given_up: bool = False
    """The Job is to fail, and waits for its pod to end: its condition FailureTarget."""
    reason: str = ""
    message: str = ""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    pod: PodSeen | None = None


@dataclass(frozen=True)
class Decision:
    """What to do, and what to record. `state` None leaves it; `recheck` seconds until it is looked at again."""

    act: Act = Act.NOTHING
    state: RunState | None = None
    reason: str = ""
    message: str = ""
    exit_code: int | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    recheck: float | None = None


def decide(run: Facts, job: JobSeen | None, now: datetime) -> Decision:
    """From what is wanted and what is, the next step. Repeating it without a change decides the same."""
    if run.state in SETTLED:
        # A launch that was under way when the run was settled may still have made a Job: nobody waits for it.
        orphan = job is not None and not (job.outcome or job.given_up or job.deleting)
        return Decision(Act.DELETE) if orphan else Decision()
    if run.state == RunState.CANCELING:
        return _canceling(job, now)
    if job is None:
        return _absent(run, now)
    if job.outcome == "Complete":
        return Decision(
            state=RunState.SUCCEEDED,
            exit_code=job.pod.exit_code if job.pod and job.pod.exit_code is not None else 0,
            started_at=_started(job),
            ended_at=job.ended_at or now,
        )
    if job.outcome == "Failed":
        return _failed(job, now)
    if job.deleting:
        return Decision(reason="Deleting", message="Somebody is deleting the Job.", recheck=RECHECK_SECONDS)
    if job.given_up:
        return _given_up(job, now)
    return _under_way(job, now)


def _canceling(job: JobSeen | None, now: datetime) -> Decision:
    if job is None:
        return Decision(state=RunState.CANCELED, reason="Canceled", ended_at=now)
    if job.deleting and job.pod is not None and _is_lost(job.pod, now):
        message = f"Node {job.pod.node} is lost: canceled once it is back, or removed from the cluster."
        return Decision(reason=NODE_LOST, message=message, recheck=RECHECK_SECONDS)
    if job.deleting:
        return Decision(recheck=RECHECK_SECONDS)
    if job.outcome == "Complete":
        return Decision(state=RunState.SUCCEEDED, exit_code=0, started_at=_started(job), ended_at=job.ended_at or now)
    if job.outcome == "Failed":
        return _failed(job, now)
    return Decision(Act.DELETE, recheck=RECHECK_SECONDS)


def _absent(run: Facts, now: datetime) -> Decision:
    if not run.launched:
        return Decision(Act.CREATE)
    if run.reason in START_ERRORS:
        # We deleted the Job because its container never started, and were stopped before we could say so.
        return Decision(state=RunState.FAILED, reason=run.reason, message=run.message, ended_at=now)
    return Decision(
        state=RunState.LOST,
        reason="JobVanished",
        message="The Job is gone from the cluster, and it never told how it ended. Somebody deleted it, or the "
        "namespace, or the cluster was reset.",
        ended_at=now,
    )


def _failed(job: JobSeen, now: datetime) -> Decision:
    pod = job.pod
    # The Job's own reason wins when the Job was stopped; else the container knows better than "BackoffLimitExceeded".
    if job.reason == "DeadlineExceeded" or pod is None or not pod.reason:
        reason, message = job.reason or "Failed", job.message or "The Job failed."
    else:
        reason, message = pod.reason, pod.message
    return Decision(
        state=RunState.FAILED,
        reason=reason,
        message=message,
        exit_code=pod.exit_code if pod else None,
        started_at=_started(job),
        ended_at=(pod.ended_at if pod else None) or job.ended_at or now,
    )


def _given_up(job: JobSeen, now: datetime) -> Decision:
    """A Job fails when its pod has ended, and on a node that is lost no pod ever does."""
    pod = job.pod
    if pod is None or not _is_lost(pod, now):
        return replace(_under_way(job, now), recheck=RECHECK_SECONDS)
    return Decision(
        state=RunState.FAILED,
        reason=NODE_LOST,
        message=f"Node {pod.node} was lost, and Kubernetes gave the run up. How far it came is not known.",
        started_at=_started(job),
        ended_at=pod.due,
    )


def _is_lost(pod: PodSeen, now: datetime) -> bool:
    return pod.silent and pod.due is not None and now - pod.due >= OVERDUE


def _under_way(job: JobSeen, now: datetime) -> Decision:
    pod = job.pod
    if pod is None:
        return Decision(state=RunState.QUEUED, reason=job.reason or "NoPod", message=job.message)
    if pod.phase == "Pending" and not pod.scheduled:
        return Decision(state=RunState.QUEUED, reason=pod.reason, message=pod.message)
    if pod.phase in ("Succeeded", "Failed"):
        # The pod has ended and the Job's controller has not counted it yet.
        return Decision(
            state=RunState.RUNNING, reason=pod.reason, message=pod.message, started_at=pod.started_at, recheck=2.0
        )
    if pod.phase == "Running" and pod.started_at is not None:
        return Decision(state=RunState.RUNNING, started_at=pod.started_at)
    if pod.reason in START_ERRORS and pod.created_at is not None and now - pod.created_at > START_PATIENCE:
        return Decision(Act.DELETE, state=RunState.FAILED, reason=pod.reason, message=pod.message, ended_at=now)
    recheck = RECHECK_SECONDS if pod.reason in START_ERRORS else None
    return Decision(state=RunState.STARTING, reason=pod.reason, message=pod.message, recheck=recheck)


def _started(job: JobSeen) -> datetime | None:
    return (job.pod.started_at if job.pod else None) or job.started_at


def see(
    job: Object | None, pods: Iterable[Object] = (), warnings: Sequence[str] = (), silent: Collection[str] = ()
) -> JobSeen | None:
    """The Job and the newest of its pods as `decide` wants them; `warnings` explain a Job that has no pod, `silent` are
    the nodes that are not ready."""
    if job is None:
        return None
    metadata, status = job.get("metadata") or {}, job.get("status") or {}
    true: list[Object] = [found for found in status.get("conditions") or [] if found.get("status") == "True"]
    outcome: Object = next((found for found in true if found.get("type") in ("Complete", "Failed")), {})
    uid = str(metadata.get("uid") or "")
    newest = max((pod for pod in pods if _owned(pod, uid)), key=_created, default=None)
    return JobSeen(
        uid=uid,
        deleting=bool(metadata.get("deletionTimestamp")),
        outcome=str(outcome.get("type") or ""),
        given_up=any(found.get("type") == "FailureTarget" for found in true),
        reason=str(outcome.get("reason") or ("FailedCreate" if warnings and newest is None else "")),
        message=str(outcome.get("message") or (warnings[0] if warnings and newest is None else "")),
        started_at=moment(status.get("startTime")),
        ended_at=moment(status.get("completionTime") or outcome.get("lastTransitionTime")),
        pod=_see_pod(newest, silent) if newest is not None else None,
    )


def _owned(pod: Object, job_uid: str) -> bool:
    owners = (pod.get("metadata") or {}).get("ownerReferences") or []
    return any(owner.get("uid") == job_uid for owner in owners)


def _created(pod: Object) -> str:
    return str((pod.get("metadata") or {}).get("creationTimestamp") or "")


def node_of(pod: Object) -> str:
    """The name of a pod's node; "" while it has none."""
    return str((pod.get("spec") or {}).get("nodeName") or "")


def _see_pod(pod: Object, silent: Collection[str]) -> PodSeen:
    metadata, status, node = pod.get("metadata") or {}, pod.get("status") or {}, node_of(pod)
    phase = str(status.get("phase") or "Pending")
    verdict = pod_health(pod)
    states = [found.get("state") or {} for found in status.get("containerStatuses") or []]
    ended = [state["terminated"] for state in states if state.get("terminated")]
    begun = [state["running"] for state in states if state.get("running")] + ended
    fine = phase in ("Running", "Succeeded")
    return PodSeen(
        name=str(metadata.get("name") or ""),
        node=node,
        phase=phase,
        reason="" if fine and not verdict.exit_code else verdict.reason,
        message="" if fine and not verdict.exit_code else verdict.message,
        exit_code=verdict.exit_code,
        scheduled=bool(node),
        silent=node in silent,
        due=moment(metadata.get("deletionTimestamp")),
        created_at=moment(metadata.get("creationTimestamp")),
        started_at=min(filter(None, (moment(state.get("startedAt")) for state in begun)), default=None),
        ended_at=max(filter(None, (moment(state.get("finishedAt")) for state in ended)), default=None),
    )


def moment(text: Any) -> datetime | None:
    """A Kubernetes time (RFC 3339); None for nothing or nonsense."""
    try:
        return datetime.fromisoformat(str(text)) if text else None
    except ValueError:
        return None

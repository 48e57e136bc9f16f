"""The shell around `decision`: observe → decide → act → record. Level-triggered: it may be repeated at any time, and
cut off at any line."""

import logging
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from apps.clusters.kube.client import KubeClient
from apps.clusters.kube.errors import KubeError, RefusedOnce, Unauthorized, Unreachable
from apps.clusters.manifests import RUN
from apps.clusters.services import connect, silence
from apps.core.errors import FlotillaError
from apps.core.work import DONE, Again, Away, Outcome, Retry
from apps.experiments import manifests
from apps.experiments.decision import Act, Decision, Facts, JobSeen, decide, see
from apps.experiments.manifests.trainer import as_job, kind_of
from apps.experiments.models import Attempt
from apps.experiments.reconcile import case as cases
from apps.experiments.reconcile import observe, places
from apps.experiments.reconcile.case import Case, ending
from apps.experiments.reconcile.launch import RefusedError, launch, let_meet, remove_secret
from apps.experiments.services.away import away
from apps.experiments.states import ENDED, SETTLED, AttemptState, RunState

logger = logging.getLogger(__name__)

# So long after a run was canceled its cluster is still asked whether a Job was made late.
ORPHAN_WINDOW = timedelta(minutes=10)


def reconcile_run(pk: int) -> Outcome:
    """Bring one launched run a step further: a round of the queue, which sees to it that there is one at a time."""
    case, now = cases.load(pk), timezone.now()
    if case is None or not _is_open(case, now):
        return DONE
    run = case.run
    try:
        return _round(case, now)
    except RefusedOnce as error:
        return Retry(error.reason)
    except (Unreachable, Unauthorized) as error:
        logger.warning("run %s: %s can't be asked: %s", run.pk, run.cluster, error)
        if run.cluster is not None:
            cases.note(run, *away(run.cluster, *silence(error)))
        return Away(str(error))
    except KubeError as error:
        # The API server refuses what we ask for, or is not well: it is asked again, ever more rarely.
        logger.warning("run %s: %s refuses: %s", run.pk, run.cluster, error)
        cases.note(run, error.reason, error.message)
        return Retry(error.reason)
    except FlotillaError as error:
        # The stored run makes no sense to us: that is its own trouble, not its cluster's.
        logger.warning("run %s: %s", run.pk, error)
        cases.note(run, type(error).__name__, error.sentence)
        return Retry(type(error).__name__)


def _round(case: Case, now: datetime) -> Outcome:
    """What is to do now: find a place for the next attempt, or take a step where the run is."""
    run, begin = case.run, case.standing(now).begin
    if places.is_due(case, begin):
        return places.find(case, begin, now)
    if run.cluster is not None:
        seconds = _step(case, now)
    else:
        _without_cluster(case, now)
        seconds = None if run.state in SETTLED else _until(run.retry_at, now)
    return DONE if seconds is None else Again(seconds)


def _is_open(case: Case, now: datetime) -> bool:
    """Whether there is anything left to do. A lost run's Job may turn up at any time, while its cluster is known."""
    run = case.run
    if run.state not in SETTLED:
        return True
    if run.cluster is None or not case.attempts:
        return False
    fresh = run.ended_at is None or now - run.ended_at <= ORPHAN_WINDOW
    return run.state == RunState.LOST or (run.state == RunState.CANCELED and fresh)


def _step(case: Case, now: datetime) -> float | None:
    """The seconds after which to look again though nothing happens; None for never."""
    run, last = case.run, case.last
    if run.state == RunState.CANCELED:
        _stop_late(case)
        return None
    plan = case.standing(now)
    if plan.begin:
        client = _client(case)
        token = cases.begin(case, plan.begin, now)
        return _launch(case, client, token, now)
    if last is None or (last.state in ENDED and run.state != RunState.LOST):
        # No Job to look at: canceled before there was one, or another attempt is due later.
        _close(case, None, now)
        return _until(case.run.retry_at, now)
    client = _client(case)
    job = observe.look(run, last, client)
    if job is not None and not last.job_uid and not job.outcome and run.state != RunState.CANCELING:
        # Stopped between making the Job and noting it? Its Service is made in between.
        let_meet(case, last, client, job.uid, now)
    decision = decide(_facts(case, last, job), job, now)
    if decision.act is Act.CREATE:
        return _launch(case, client, "", now)
    _act(case, last, client, job, decision, now)
    waits = (decision.recheck, _until(case.run.retry_at, now), _until(case.deadline_at, now))
    return None if case.run.state in SETTLED else min((left for left in waits if left is not None), default=None)


def _client(case: Case) -> KubeClient:
    """A client for the run's cluster. Raises Unreachable where none can be had: it is disabled, say."""
    if case.run.cluster is None:
        raise Unreachable(0, "ClusterRemoved", "The cluster is no longer registered.")
    try:
        return connect(case.run.cluster)
    except FlotillaError as error:
        raise Unreachable(0, type(error).__name__, error.message) from error


def _until(moment: datetime | None, now: datetime) -> float | None:
    return max((moment - now).total_seconds(), 0.0) if moment is not None else None


def _facts(case: Case, last: Attempt, job: JobSeen | None) -> Facts:
    launched = bool(last.job_uid)
    if job is None and not launched:
        # Stopped between making the Job and noting it?
        launched = observe.left_traces(case.run, last)
    return Facts(
        state=last.state,
        launched=launched,
        canceling=case.run.state == RunState.CANCELING,
        reason=last.reason,
        message=last.message,
        deletion_at=last.deletion_at,
        missing_since=last.missing_since,
        deadline_at=case.deadline_at,
        workers=int(case.run.spec.get("workers") or 1),
        pods=observe.watched(last) if job is None and launched else (),
    )


def _launch(case: Case, client: KubeClient, token: str, now: datetime) -> float | None:
    attempt = case.attempts[-1]
    try:
        uid = launch(case, attempt, client, token, now)
    except RefusedError as error:
        changes = ending(AttemptState.FAILED, error.reason, error.message) | {"cause": "refused", "ended_at": now}
        _close(case, client, now, changes)
        return _until(case.run.retry_at, now)
    queued = {"state": AttemptState.QUEUED, "job_uid": uid, "created_at": now, "reason": "", "message": ""}
    cases.record(case, now, queued, why="JobCreated")
    return _until(case.deadline_at, now)


def _act(case: Case, last: Attempt, client: KubeClient, job: JobSeen | None, decision: Decision, now: datetime) -> None:
    changes = _seen(last, job, decision) | {"missing_since": decision.missing_since}
    stopping = AttemptState.STOPPING in (last.state, decision.state)
    if stopping or decision.state in ENDED:
        # Read before the Job goes, and again while it goes: a program's last lines count most.
        name, text = observe.last_lines(last, client, job, case.run.spec)
        if text:
            changes["log"] = text
            changes["pods"] = [{**row, "log": row["name"] == name} for row in changes["pods"]]
    if stopping and job is not None and job.deleting and last.deletion_at is None:
        changes["deletion_at"] = now
    _close(case, client, now, changes)
    if decision.act is Act.STOP and job is not None:
        # Why was noted before the Job goes, so that who finds it gone knows.
        where = (*kind_of(case.run.spec), last.job_name, last.namespace)
        taken = client.delete(*where, propagation="Foreground", uid=job.uid)
        if taken:
            Attempt.objects.filter(pk=last.pk).update(deletion_at=now)


def _seen(last: Attempt, job: JobSeen | None, decision: Decision) -> dict[str, Any]:
    """The columns that an observation fills."""
    changes: dict[str, Any] = ending(decision.state, decision.reason, decision.message)
    if decision.state is None and last.state in ENDED:
        # A lost one that has not turned up: its words are still why.
        changes = {}
    if decision.started_at is not None:
        changes["started_at"] = decision.started_at
    if decision.state in ENDED:
        changes |= {"exit_code": decision.exit_code, "ended_at": decision.ended_at}
    elif decision.state is not None:
        changes |= {"exit_code": None, "ended_at": None, "cause": ""}
    if job is not None:
        changes["job_uid"] = job.uid
        changes["pods"] = [pod.to_json() for pod in job.pods]
        changes["nodes"] = list(dict.fromkeys(pod.node for pod in job.pods if pod.node))
    return changes


def _close(case: Case, client: KubeClient | None, now: datetime, changes: dict[str, Any] | None = None) -> None:
    """Record. If that ends the run, remove its Secret before: the step that may fail comes first, and fails alone."""
    run = case.run
    after = case.standing(now, changes)
    is_over = after.state in SETTLED and after.state != RunState.LOST
    # The next attempt may be on another cluster, and nobody comes back for what is left on this one.
    leaves = run.anywhere is not None and (changes or {}).get("state") in ENDED
    if (is_over or leaves) and case.attempts and run.cluster is not None:
        try:
            remove_secret(run, client or _client(case))
        except (KubeError, FlotillaError) as error:
            # Its token is revoked in any case, so what stays behind opens nothing.
            logger.warning("run %s: its Secret stays on %s: %s", run.pk, run.cluster, error)
    cases.record(case, now, changes)


def _stop_late(case: Case) -> None:
    """Remove a Job that was made late for a run that a person canceled: nobody waits for it."""
    run = case.run
    client = _client(case)
    kind = kind_of(run.spec)
    for item in client.list(*kind, run.namespace, label_selector=f"{RUN}={run.pk}"):
        job = see(as_job(item))
        if job.outcome or job.deleting or not manifests.is_ours(item, run.pk, run.uid):
            continue
        name = str(item["metadata"]["name"])
        client.delete(*kind, name, run.namespace, propagation="Foreground", uid=job.uid)


def _without_cluster(case: Case, now: datetime) -> None:
    after, last = case.standing(now), case.last
    changes: dict[str, Any] = {}
    if last is not None and last.state not in ENDED:
        changes = ending(AttemptState(after.state), after.reason, after.message) | {"ended_at": now}
    cases.record(case, now, changes)

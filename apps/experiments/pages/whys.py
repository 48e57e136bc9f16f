""" "Why?" for runs: that of a pod of their last attempt, of the Job that may have none, or of how they ended."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from django.utils import timezone

from apps.clusters.models import Pod
from apps.clusters.quantities.words import parse
from apps.clusters.selectors.explain import explain_absent, explain_pod, explain_pods
from apps.clusters.selectors.visibility import Visibility
from apps.clusters.why import ClusterFacts, PodFacts, Why, explain
from apps.clusters.why.containers import STARTS
from apps.clusters.why.facts import Condition, ContainerFacts, Ended, EventFacts
from apps.clusters.why.holds import RESUME
from apps.clusters.why.lastwords import last_line
from apps.clusters.why.result import Evidence
from apps.core.states import Health
from apps.experiments.decision import FAILING, NO_SANDBOX, NODE_LOST, START_ERRORS, SUCCEEDING, WAITING_FOR
from apps.experiments.decision.workers import of_several
from apps.experiments.models import Attempt, Run
from apps.experiments.models.waiting import waiting_since
from apps.experiments.selectors import newest_attempts
from apps.experiments.services.away import SILENCES
from apps.experiments.services.placing import NO_ROOM
from apps.experiments.specs import CONTAINER
from apps.experiments.specs.places import Placing
from apps.experiments.states import FAILURES, SETTLED, AttemptState, RunKind, RunState

# Words of a Job that is ended, or that has decided how it ends, while its last pods are still there.
_ENDING = frozenset({FAILING, SUCCEEDING, "Deleting"})


def why_of(run: Run, attempts: Sequence[Attempt], pods: Sequence[Pod], sight: Visibility) -> Why | None:
    """Why one launched run waits, is unwell or failed; None when it is well.

    `attempts` are its own by number, as `selectors.attempts_of` gives them, `pods` its own, the newest first.
    """
    why = _why_of(run, attempts, pods, sight)
    return _dated(why, waiting_since([run]).get(run.pk)) if why is not None else None


def _dated(why: Why, since: datetime | None) -> Why:
    """With the time since when its run waits, where it does: one since, wherever it is told."""
    return replace(why, at=since) if since is not None else why


def _why_of(run: Run, attempts: Sequence[Attempt], pods: Sequence[Pod], sight: Visibility) -> Why | None:
    if run.kind != RunKind.LAUNCHED or run.state in {RunState.SUCCEEDED, RunState.CANCELED, RunState.LOST}:
        return None
    last = attempts[-1] if attempts else None
    if homeless := _homeless(run):
        return homeless
    if run.state == RunState.PENDING and run.retry_at is not None and last is not None:
        return _between(run, last)
    if run.state in FAILURES and (recorded := how_it_failed(run, last)):
        # The remains of the pod may tell how it was removed, not why.
        return recorded
    if why := _held_or_decided(run, last):
        return why
    pod = _telling(run, last, pods)
    if pod is not None and pod.phase != "Succeeded":
        why = _of_several(run, last, pods, explain_pod(pod, sight=sight, log_line=_last_line(last)))
        if why is not None or (run.state not in FAILURES and pod.deleted_at is None):
            return why
    if run.state in FAILURES:
        return None
    # Also where the pod was deleted: its Job may be refused another one.
    if (pod is None or pod.deleted_at is not None) and (place := _place(last)):
        return explain_absent([place], "Job", waiting_for=WAITING_FOR).get(place)
    return None


def whys_of(runs: Iterable[Run], sight: Visibility) -> dict[int, Why]:
    """Why each of the runs that are not settled waits, by primary key: as many queries for one as for many."""
    going = [run for run in runs if run.kind == RunKind.LAUNCHED and run.state not in SETTLED]
    whys = _whys_of(going, sight)
    since = waiting_since(run for run in going if run.pk in whys)
    return {pk: _dated(why, since.get(pk)) for pk, why in whys.items()}


def _whys_of(going: Sequence[Run], sight: Visibility) -> dict[int, Why]:
    nowhere = {run.pk: homeless for run in going if (homeless := _homeless(run))}
    waiting = [run for run in going if run.cluster_id]
    if not waiting:
        return nowhere
    attempts = newest_attempts(waiting)
    rows = Pod.objects.filter(run__in=[str(run.pk) for run in waiting]).order_by("-id")
    by_run: dict[int, list[Pod]] = {}
    for pod in rows:
        by_run.setdefault(int(pod.run), []).append(pod)
    between = {run.pk: attempts[run.pk] for run in waiting if run.retry_at is not None and run.pk in attempts}
    telling: dict[int, Pod] = {}
    for run in waiting:
        telling_pod = _telling(run, attempts.get(run.pk), by_run.get(run.pk, ()))
        if telling_pod is not None and run.pk not in between:
            telling[run.pk] = telling_pod
    whys = explain_pods(telling.values(), sight=sight)
    present = {pk for pk, pod in telling.items() if pod.deleted_at is None} | set(between)
    places = {pk: place for pk, last in attempts.items() if pk not in present and (place := _place(last))}
    refusals = explain_absent(places.values(), "Job", waiting_for=WAITING_FOR) if places else {}
    reasons = {pk: refusals[place] for pk, place in places.items() if place in refusals}
    for run in waiting:
        told_by = telling.get(run.pk)
        why = whys.get(told_by.uid) if told_by is not None else None
        if why := _of_several(run, attempts.get(run.pk), by_run.get(run.pk, ()), why):
            reasons[run.pk] = why
    reasons |= {run.pk: why for run in waiting if (why := _held_or_decided(run, attempts.get(run.pk)))}
    return nowhere | reasons | {run.pk: _between(run, between[run.pk]) for run in waiting if run.pk in between}


def _homeless(run: Run) -> Why | None:
    """Of a run that any cluster may take: why none does now."""
    placing = Placing.from_json(run.placing)
    if placing is None or run.cluster_id is not None or run.state != RunState.PENDING or run.reason != NO_ROOM:
        return None
    step = "Nothing: it goes on by itself when there is room. Or launch it again, and ask for less."
    lacks = tuple(Evidence(other.cluster, other.why) for other in placing.others)
    sentence = "No cluster that it may go to has room for it now."
    if placing.hopeless and placing.others:
        sentence = "No cluster that it may go to is known to have a node that could ever hold it."
        step = "Cancel it and ask for less, or have a larger node added: of the nodes that are known none will do."
    return Why(NO_ROOM, sentence, lacks, step, at=placing.since)


def _telling(run: Run, last: Attempt | None, pods: Sequence[Pod]) -> Pod | None:
    """The pod of the last attempt that says most: the newest, and among several workers the first that is unwell."""
    own = _own(last, pods)
    if _workers(run) == 1:
        return own[0] if own else None
    return min([pod for pod in own if pod.deleted_at is None] or own, key=_ill, default=None)


def _own(last: Attempt | None, pods: Sequence[Pod]) -> list[Pod]:
    """The pods of the last attempt: one elsewhere that carries the run's number is another Flotilla's."""
    if last is None:
        return []
    here = [pod for pod in pods if (pod.cluster_id, pod.namespace) == (last.cluster_id, last.namespace)]
    return [pod for pod in here if pod.owner_name in ("", last.job_name)]


def _workers(run: Run) -> int:
    return int(run.spec.get("workers") or 1)


def _of_several(run: Run, last: Attempt | None, pods: Sequence[Pod], why: Why | None) -> Why | None:
    """What one of several workers says, beside how many of them run."""
    if why is None or _workers(run) == 1:
        return why
    states = [(pod.name, _state(pod)) for pod in _own(last, pods) if pod.deleted_at is None]
    several = of_several(states, _workers(run))
    return replace(why, sentence=f"{several} {why.sentence}") if several else why


def _state(pod: Pod) -> str:
    return {"Pending": "Starting" if pod.node_name else "Queued"}.get(pod.phase, pod.phase)


def _ill(pod: Pod) -> tuple[bool, float, bool, bool]:
    ended = pod.ended_at.timestamp() if pod.ended_at else 0.0
    return pod.phase != "Failed", ended, bool(pod.node_name), pod.health == Health.HEALTHY


def _place(last: Attempt | None) -> tuple[int, str, str] | None:
    return (last.cluster_id, last.namespace, last.job_name) if last is not None and last.cluster_id else None


def _held_or_decided(run: Run, last: Attempt | None) -> Why | None:
    """Of a run whose Job says what its pods, or their remains, don't tell."""
    if run.state in SETTLED:
        return None
    reason, message = _last_said(run, last)
    return _held(reason, message) or _decided(run, last, reason, message)


def _last_said(run: Run, last: Attempt | None) -> tuple[str, str]:
    """The reason and the message of the last look at its Job. While its cluster can't be asked its attempt has them."""
    if last is None or run.reason not in SILENCES:
        return run.reason, run.message
    return last.reason, f"As last seen: {last.message} {run.message}" if last.message else run.message


def _held(reason: str, message: str) -> Why | None:
    """A Job that is suspended: of what it had, nothing explains that it does not go on."""
    return Why("Suspended", message, (), RESUME) if reason == "Suspended" else None


def _decided(run: Run, last: Attempt | None, reason: str, message: str) -> Why | None:
    """Of an attempt that is being ended: why, which its pods don't tell."""
    if last is None:
        return None
    if reason in _ENDING or (reason == NODE_LOST and run.state == RunState.CANCELING):
        return Why(reason, message, (), "Nothing: it ends as soon as its pods have.", at=run.updated_at)
    if last.state == AttemptState.STOPPING and run.state != RunState.CANCELING and run.reason:
        return explain_attempt(run, last, reason=run.reason, message=run.message)
    return None


def _between(run: Run, last: Attempt) -> Why:
    """Between two attempts: how the last one ended, and that another follows."""
    why_of_last = _of_attempt(run, last)
    at = f" at {run.retry_at:%H:%M:%S} UTC" if run.retry_at else ""
    why = why_of_last or Why(last.reason, f"Attempt {last.number} ended: {last.message or last.reason}")
    sentence = f"Attempt {last.number} ended, the next one follows{at}. {why.sentence}"
    return replace(why, sentence=sentence, next_step="Nothing: it is tried again by itself.", at=last.ended_at)


def how_it_failed(run: Run, last: Attempt | None) -> Why | None:
    """Why a launched run failed, from what was recorded of it: no query, and no pod is needed any more."""
    if run.kind != RunKind.LAUNCHED or run.state not in FAILURES or not run.reason or run.state == RunState.LOST:
        return None
    return explain_attempt(run, last, reason=run.reason, message=run.message)


def told(run: Run, last: Attempt | None) -> str:
    """The sentence for a run that failed, wherever it is told."""
    why = how_it_failed(run, last)
    code = f"exit code {run.exit_code}" if run.exit_code is not None else ""
    words = ", ".join(part for part in (run.reason, code) if part)
    return why.sentence if why else run.message or (f"{words}." if words else "No reason was given.")


def why_of_attempt(run: Run, attempt: Attempt) -> Why | None:
    """Why one attempt ended without success, from what was recorded of it."""
    return _of_attempt(run, attempt) if attempt.state == AttemptState.FAILED and attempt.reason else None


def _of_attempt(run: Run, attempt: Attempt) -> Why | None:
    return explain_attempt(run, attempt, reason=attempt.reason, message=attempt.message)


def explain_attempt(run: Run, attempt: Attempt | None, *, reason: str, message: str) -> Why | None:
    """The sentence for a recorded reason and message. Everything else comes from the attempt and its pods."""
    ended_at = attempt.ended_at if attempt is not None else run.ended_at
    if reason == NODE_LOST:
        return Why(NODE_LOST, message, (), "Launch it again: it did not fail by itself.", at=ended_at)
    seen = _told_by(attempt, reason)
    if "words" not in seen:
        # From before sentences were recorded: Kubernetes' words themselves.
        why = _explain(run, attempt, reason, message, seen)
        return replace(why, at=ended_at) if why is not None else None
    why = _explain(run, attempt, reason, str(seen["words"]), seen) or Why(reason, message)
    return replace(why, sentence=message or why.sentence, at=ended_at)


def _explain(run: Run, attempt: Attempt | None, reason: str, words: str, seen: Mapping[str, Any]) -> Why | None:
    code = attempt.exit_code if attempt is not None else run.exit_code
    starts, unmade = reason in START_ERRORS, reason == NO_SANDBOX
    container = ContainerFacts(
        CONTAINER,
        image=str(run.spec.get("image") or ""),
        waiting="ContainerCreating" if unmade else reason if starts else "",
        waiting_message=words if starts else "",
        ended=Ended(code, reason, words if reason in STARTS else "") if code is not None else None,
        memory_limit=parse("memory", str((run.spec.get("resources") or {}).get("memory") or "")),
    )
    pod = PodFacts(
        str(seen.get("name") or (attempt.job_name if attempt else run)),
        phase="Pending" if container.waiting else "Failed",
        reason=reason,
        message=words,
        node=str(seen.get("node") or (attempt.nodes[0] if attempt and attempt.nodes else "its node")),
        conditions=(Condition("DisruptionTarget", "True", reason, words),) if seen.get("disrupted") else (),
        containers=(container,),
        events=(EventFacts(reason, words),) if unmade else (),
        started_at=run.started_at,
        log_line=_last_line(attempt),
    )
    return explain(pod, ClusterFacts(""), timezone.now())


def _told_by(attempt: Attempt | None, reason: str) -> Mapping[str, Any]:
    """The remembered pod that gave this reason, else what is known of the first one beside its words."""
    pods: list[dict[str, Any]] = attempt.pods if attempt is not None else []
    first = {name: value for name, value in pods[0].items() if name != "words"} if pods else {}
    return next((pod for pod in pods if pod.get("reason") == reason), first)


def _last_line(attempt: Attempt | None) -> str:
    return last_line("\n".join(last_lines(attempt)))


def last_lines(attempt: Attempt | None) -> list[str]:
    """The last lines of an attempt's kept log, of a row that the selectors gave."""
    return str(getattr(attempt, "last_lines", "") or "").rstrip().splitlines()

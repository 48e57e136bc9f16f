""" "Why?" for runs: that of their pod, of the Job that may have none, or of how they ended."""

from collections.abc import Iterable
from dataclasses import replace

from django.utils import timezone

from apps.clusters.explain import explain_absent, explain_pod, explain_pods
from apps.clusters.models import Pod
from apps.clusters.visibility import Visibility
from apps.clusters.why import ClusterFacts, PodFacts, Why, explain
from apps.clusters.why.amounts import parse
from apps.clusters.why.containers import STARTS
from apps.clusters.why.facts import ContainerFacts, Ended
from apps.experiments.health import NODE_LOST, START_ERRORS
from apps.experiments.manifests import CONTAINER
from apps.experiments.models import Run
from apps.experiments.states import FAILURES, SETTLED, RunKind, RunState

_WAITING_FOR = "the pod of its Job"


def why_of(run: Run, pods: list[Pod], sight: Visibility) -> Why | None:
    """Why one launched run waits, is unwell or failed; None when it is well. `pods` are its own, the newest first."""
    if run.kind != RunKind.LAUNCHED or run.state in {RunState.SUCCEEDED, RunState.CANCELED, RunState.LOST}:
        return None
    if run.state in FAILURES and run.reason == NODE_LOST:
        # What is left of the pod tells how it was removed, not why.
        return how_it_failed(run)
    newest = pods[0] if pods else None
    if newest is not None and (newest.phase != "Succeeded"):
        why = explain_pod(newest, sight=sight, log_line=_last_line(run))
        if why is not None or (run.state not in FAILURES and newest.deleted_at is None):
            return why
    if run.state in FAILURES:
        return how_it_failed(run)
    # Also where the pod was deleted: its Job may be refused another one.
    if (newest is None or newest.deleted_at is not None) and (place := _place(run)):
        return explain_absent([place], "Job", waiting_for=_WAITING_FOR).get(place)
    return None


def whys_of(runs: Iterable[Run], sight: Visibility) -> dict[int, Why]:
    """Why each of the runs that are not settled waits, by primary key: as many queries for one as for many."""
    waiting = [run for run in runs if run.kind == RunKind.LAUNCHED and run.state not in SETTLED and run.cluster_id]
    if not waiting:
        return {}
    newest: dict[str, Pod] = {}
    for pod in Pod.objects.filter(run__in=[str(run.pk) for run in waiting]).order_by("id"):
        newest[pod.run] = pod
    whys = explain_pods(newest.values(), sight=sight)
    present = {label for label, pod in newest.items() if pod.deleted_at is None}
    places = {run.pk: place for run in waiting if str(run.pk) not in present and (place := _place(run))}
    refusals = explain_absent(places.values(), "Job", waiting_for=_WAITING_FOR) if places else {}
    found = {pk: refusals[place] for pk, place in places.items() if place in refusals}
    return found | {int(pod.run): whys[pod.uid] for pod in newest.values() if pod.uid in whys}


def _place(run: Run) -> tuple[int, str, str] | None:
    return (run.cluster_id, run.namespace, run.job_name) if run.cluster_id is not None and run.job_name else None


def how_it_failed(run: Run) -> Why | None:
    """Why a launched run failed, from what was recorded of it: no query, and no pod is needed any more."""
    if run.kind != RunKind.LAUNCHED or run.state not in FAILURES or not run.reason or run.state == RunState.LOST:
        return None
    if run.reason == NODE_LOST:
        return Why(NODE_LOST, run.message, (), "Launch it again: it did not fail by itself.", at=run.ended_at)
    container = ContainerFacts(
        CONTAINER,
        image=str(run.spec.get("image") or ""),
        waiting=run.reason if run.reason in START_ERRORS else "",
        waiting_message=run.message if run.reason in START_ERRORS else "",
        ended=_end(run) if run.exit_code is not None else None,
        memory_limit=parse("memory", str((run.spec.get("resources") or {}).get("memory") or "")),
    )
    pod = PodFacts(
        run.pod_name or run.job_name,
        phase="Pending" if container.waiting else "Failed",
        reason=run.reason,
        message=run.message,
        node=run.node_name or "its node",
        containers=(container,),
        started_at=run.started_at,
        log_line=_last_line(run),
    )
    why = explain(pod, ClusterFacts(""), timezone.now())
    return replace(why, at=run.ended_at) if why is not None else None


def _end(run: Run) -> Ended:
    # Of what never started only the message tells why; what ran tells it in its log.
    message = run.message if run.reason in STARTS else ""
    return Ended(run.exit_code, run.reason, message, run.ended_at)


def _last_line(run: Run) -> str:
    lines = run.log_tail.rstrip().splitlines()
    return lines[-1].strip() if lines else ""

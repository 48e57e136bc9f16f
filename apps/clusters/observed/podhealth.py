"""A pod as observed → (health, reason, message, exit code). Pure.

The message is the sentence of "why?" as far as the pod's status alone tells it, so that every door says the same.
Where the page knows more, by events or by the nodes, it goes on from there. The scheduler's own words stay: what "why?"
makes of them is reckoned from nodes that change by the second.

The order follows what `kubectl get pods` shows (pkg/printers/internalversion/printers.go, printPod) and Argo CD's
gitops-engine (pkg/health/health_pod.go).
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from apps.clusters.observed.health import Verdict, condition_of, text_of, true_condition
from apps.clusters.observed.status import phase_of, pod_status
from apps.clusters.why import ClusterFacts, PodFacts, Why, explain
from apps.clusters.why.containers import config, restarted, worst_end
from apps.clusters.why.ended import NEVER_RAN, never_ran, stopped
from apps.clusters.why.facts import ContainerFacts, NodeFacts
from apps.clusters.why.images import image
from apps.clusters.why.observe import facts_of
from apps.clusters.why.recovery import believed_at, fails_still
from apps.core.states import Health

Object = Mapping[str, Any]

# For whoever asks of a pod that no later look will correct: whatever runs now is believed.
LATE = datetime.max.replace(tzinfo=UTC)
_WELL = "All containers are ready."


def pod_health(pod: Object, now: datetime = LATE, *, gone: bool = False) -> Verdict:
    """A pod's state at a time, and the reason for it; `settles_at` says when it may be another without an event.

    Of a pod that is `gone` nothing is said that was only true while it was there.
    """
    status = pod.get("status") or {}
    if phase_of(status) == "Succeeded":
        return Verdict(Health.HEALTHY, "Completed", "All containers ended with exit code 0.", 0)
    disrupted = true_condition(status, "DisruptionTarget") is not None
    if status.get("phase") == "Running" and is_ready(pod) and not _has_restarted(status) and not disrupted:
        return Verdict(Health.HEALTHY, "Running", _WELL)
    facts = replace(_facts(pod), deleted=gone)
    verdict = _judge(facts, now)
    why = _alone(facts, now)
    if why is None or verdict.health is Health.HEALTHY or verdict.reason == "Unschedulable":
        return verdict
    return verdict._replace(message=why.quoted)


def told(pod: Object, node: NodeFacts | None = None) -> str:
    """The sentence for a pod that does not go on, as far as its status tells it, and its `node` where that is silent;
    "" where it goes on."""
    why = _alone(_facts(pod), LATE, node)
    return why.quoted if why is not None else ""


def lasting(facts: PodFacts) -> str:
    """The sentence that is still true when the pod is gone: why it ended; "" where it does not tell."""
    why = _alone(replace(facts, deleted=True), LATE)
    return why.quoted if why is not None else ""


def lasting_of(pod: Object) -> str:
    """The same for an object."""
    return lasting(_facts(pod))


def words_of(facts: PodFacts) -> str:
    """Kubernetes' own words behind the sentence, which the next steps are read from."""
    target, pair = facts.condition("DisruptionTarget"), worst_end(facts, LATE)
    stuck = next((container for container in facts.containers if container.waiting_message), None)
    if facts.message and facts.reason:
        return facts.message
    if target is not None and target.status == "True":
        return target.message
    if pair is not None and pair[1].message:
        return pair[1].message
    return stuck.waiting_message if stuck is not None else facts.message


def words_in(pod: Object) -> str:
    """The same for an object."""
    return words_of(_facts(pod))


def settles_at(pod: Object) -> datetime | None:
    """When a pod that was restarted again and again is to be judged anew, if nothing is heard of it until then."""
    status = pod.get("status") or {}
    if status.get("phase") not in {"Pending", "Running"} or not _has_restarted(status):
        return None
    return max((due for each in _facts(pod).containers if (due := believed_at(each))), default=None)


def disruption_of(status: Object) -> str | None:
    """The reason of the one who ended the pod from outside: preempted, evicted or removed it; else None.

    https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions
    """
    target = true_condition(status, "DisruptionTarget")
    if target is None or phase_of(status) == "Succeeded":
        return None
    return str(target.get("reason") or "Disrupted")


def is_ready(pod: Object) -> bool:
    """Whether the pod takes traffic: its Ready condition, and it is not being deleted."""
    if (pod.get("metadata") or {}).get("deletionTimestamp"):
        return False
    ready = condition_of(pod.get("status") or {}, "Ready")
    return ready is not None and ready.get("status") == "True"


def _facts(pod: Object) -> PodFacts:
    metadata, spec, status = (pod.get(part) or {} for part in ("metadata", "spec", "status"))
    deleting = bool(metadata.get("deletionTimestamp"))
    return facts_of(
        pod_status(pod),
        phase=phase_of(status) or "Unknown",
        ready=is_ready(pod),
        reason=str(status.get("reason") or ("Terminating" if deleting else "")),
        message=text_of(status, ""),
        node=str(spec.get("nodeName") or ""),
    )


def _alone(facts: PodFacts, now: datetime, node: NodeFacts | None = None) -> Why | None:
    """What a pod's status alone tells: nothing of its events, of nodes but that one, or how long it has been so."""
    cluster = ClusterFacts("", (node,) if node is not None else ())
    return explain(replace(facts, deleting_since=now if facts.deleting_since else None), cluster, now)


def _judge(facts: PodFacts, now: datetime) -> Verdict:
    # The pod's end counts, whether or not the ended pod is being deleted.
    if facts.phase == "Failed":
        return _failed(facts)
    if facts.deleting_since is not None or facts.reason == "Terminating":
        return _deleting(facts)
    if facts.phase not in {"Pending", "Running"}:
        return Verdict(Health.UNKNOWN, facts.reason or "Unknown", "")
    target = facts.condition("DisruptionTarget")
    if target is not None and target.status == "True" and stopped(facts) is not None:
        # Its deletion follows. Where that comes to nothing, Kubernetes takes the condition back.
        return Verdict(Health.PROGRESSING, target.reason, "")
    scheduled = facts.condition("PodScheduled")
    if facts.phase == "Pending" and scheduled is not None and scheduled.status == "False":
        if scheduled.reason == "SchedulingGated":
            return Verdict(Health.SUSPENDED, scheduled.reason, "")
        reason = scheduled.reason or "Unschedulable"
        return Verdict(Health.PROGRESSING, reason, scheduled.message.strip() or "No node has room for the pod.")
    return _at_work(facts, now)


def _at_work(facts: PodFacts, now: datetime) -> Verdict:
    failing = any(fails_still(container, now) for container in facts.containers)
    if facts.ready and not failing:
        return Verdict(Health.HEALTHY, "Running", restarted(facts) or _WELL)
    pair = worst_end(facts, now)
    if pair is not None and (failing or pair[0].waiting or pair[0].ended):
        container, end = pair
        oom = end.reason == "OOMKilled"
        again = container.waiting or ("" if container.ended else "CrashLoopBackOff")
        reason = end.reason if oom else again or end.reason or "Error"
        # A sidecar's exit code is not the pod's.
        return Verdict(Health.DEGRADED, reason, "", None if container.sidecar else end.exit_code)
    stuck = image(facts) or config(facts)
    if stuck is not None:
        return Verdict(Health.DEGRADED, stuck.state, "")
    waiting = next((container.waiting for container in facts.containers if container.waiting), "")
    if waiting:
        return Verdict(Health.PROGRESSING, waiting, "")
    return Verdict(Health.PROGRESSING, "NotReady" if facts.phase == "Running" else "Pending", "")


def _failed(facts: PodFacts) -> Verdict:
    target, pair = facts.condition("DisruptionTarget"), worst_end(facts, LATE)
    disrupted = target.reason or "Disrupted" if target is not None and target.status == "True" else ""
    if never_ran(facts):
        # The exit code that the kubelet writes into such a container is nobody's.
        reason = facts.reason if facts.reason != "Terminating" else ""
        return Verdict(Health.DEGRADED, reason or disrupted or NEVER_RAN, "")
    # Where the pod itself was stopped, by an eviction, say, its containers' exit codes only echo that.
    reason = facts.reason if facts.reason != "Terminating" else ""
    ended = (pair[1].reason or "Error") if pair is not None else "Failed"
    return Verdict(Health.DEGRADED, reason or disrupted or ended, "", _code(facts))


def _deleting(facts: PodFacts) -> Verdict:
    if facts.reason == "NodeLost":
        return Verdict(Health.UNKNOWN, "NodeLost", "")
    target = facts.condition("DisruptionTarget")
    reason = target.reason or "Disrupted" if target is not None and target.status == "True" else "Terminating"
    return Verdict(Health.PROGRESSING, reason, "", _code(facts) or None)


def _code(facts: PodFacts) -> int | None:
    """The exit code that explains a pod's end. Sidecars are stopped once the others have ended, and decide nothing."""
    pair = worst_end(facts, LATE)
    if pair is not None and pair[0].ended is not None and not pair[0].sidecar:
        return pair[1].exit_code
    return next((each.ended.exit_code for each in _own(facts.containers) if each.ended is not None), None)


def _own(containers: Iterable[ContainerFacts]) -> list[ContainerFacts]:
    return [container for container in containers if not container.init]


def _has_restarted(status: Object) -> bool:
    containers = [*(status.get("containerStatuses") or []), *(status.get("initContainerStatuses") or [])]
    return any(container.get("restartCount") for container in containers)

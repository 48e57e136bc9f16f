"""Why a pod was stopped from outside, is still being deleted, or is not heard of. Pure.

Reasons: pkg/kubelet/eviction/helpers.go, the DisruptionTarget condition
(https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions) and the pod's own reason.
"""

import re
from datetime import datetime, timedelta

from apps.clusters.quantities.words import bare, listed, parse
from apps.clusters.why.facts import ClusterFacts, NodeFacts, PodFacts
from apps.clusters.why.result import Evidence, Why, said, stop
from apps.core.text.wording import age_text

# Kubernetes gives a pod 30 s to end by itself unless told otherwise; after this long something holds it.
_PATIENCE = timedelta(minutes=2)
_LOW = re.compile(r"low on resource: ([\w-]+)")
_PRESSED = re.compile(r"node had condition: \[(\w+?)(?:Pressure)?\]")
_OVER = re.compile(r"(?:exceeds the|exceeded its) .*(?:limit|storage)", re.IGNORECASE)
_USED = re.compile(r"Container (\S+) was using (\S+), (?:request is|which exceeds its request of) (\S+?)[,.\s]")
_ENDED = frozenset({"Succeeded", "Failed"})
NEVER_RAN = "NeverRan"
OVERRAN = "Stopped: it ran longer than its deadline allows."
_RETRY = "It can be started again; it did not fail by itself."


def stopped(pod: PodFacts) -> Why | None:
    """Evicted, preempted, past its deadline, or refused by its node."""
    verdict = _evicted(pod) or _preempted(pod) or _deadline(pod) or _refused(pod)
    if verdict is None:
        return None
    state, sentence, step = verdict
    target = pod.condition("DisruptionTarget")
    evidence = [Evidence("Pod", said(pod.message, 600))] if pod.message else []
    if target is not None:
        evidence.append(Evidence("DisruptionTarget", said(f"{target.reason}: {target.message}", 600), target.at))
    return Why(state, sentence, tuple(evidence), step, at=target.at if target else None)


def never_ran(pod: PodFacts) -> bool:
    """Whether it is known to have ended before any of its containers ran, and not because of what came before them."""
    if pod.phase != "Failed" or all(each.init for each in pod.containers):
        return False
    return not any(each.ran and not (each.init and each.ended and each.ended.exit_code == 0) for each in pod.containers)


def unrun(pod: PodFacts) -> Why | None:
    """A pod that was ended, by its deletion for the most part, before it ran."""
    if not never_ran(pod) or pod.message:
        return None
    return Why(NEVER_RAN, "It was ended before any of its containers ran.", at=pod.deleting_since)


def _evicted(pod: PodFacts) -> tuple[str, str, str] | None:
    on = f" from {pod.node}" if pod.node else ""
    if pod.reason == "Evicted":
        if low := _LOW.search(pod.message):
            step = f"Ask for as much {low[1]} as it uses, so that it is not the first to go."
            return "Evicted", f"Evicted{on}: the node was low on {low[1]}{_use(pod.message, low[1])}.", step
        if pressed := _PRESSED.search(pod.message):
            words = f"the node was short of {pressed[1].lower()} and took no such pod"
            return "Evicted", f"Evicted{on}: {words}.", "Free room on the node, and start it again."
        # A pod that wrote more than it may would do so again.
        step = "Let it write less, or raise that limit." if _OVER.search(pod.message) else _RETRY
        return "Evicted", f"Evicted{on}: {stop(said(pod.message) or 'the kubelet gave no reason')}", step
    if pod.reason in {"Shutdown", "NodeShutdown", "Terminated"}:
        return "NodeShutdown", f"Stopped: its node {pod.node} was shut down.", _RETRY
    target = pod.condition("DisruptionTarget")
    if target is None or target.status != "True" or pod.phase not in {"Failed", "Running", "Pending"}:
        return None
    causes = {
        "EvictionByEvictionAPI": ("Evicted", f"Evicted{on}: somebody drained the node, or asked for it"),
        "DeletionByTaintManager": ("Evicted", f"Evicted{on}: the node got a taint that it does not tolerate"),
        "DeletionByPodGC": ("NodeLost", f"Removed{on}: the node no longer exists"),
    }
    if target.reason == "TerminationByKubelet":
        if "shutdown" in target.message:
            return "NodeShutdown", f"Stopped: its node {pod.node} was shut down.", _RETRY
        return "Evicted", f"Evicted{on}: {stop(said(target.message) or 'the kubelet gave no reason')}", _RETRY
    if target.reason not in causes:
        return None
    state, words = causes[target.reason]
    return state, f"{words}.", _RETRY


def _use(message: str, resource: str) -> str:
    """ "; container main used 3.52 GiB and had asked for 100 MiB", where the kubelet says so."""
    match = _USED.search(message)
    if match is None:
        return ""
    used, asked = parse(resource, match[2]), parse(resource, match[3])
    had = "had asked for none" if not asked else f"had asked for {bare(resource, asked)}"
    return f"; container {match[1]} used {bare(resource, used or 0)} and {had}"


def _preempted(pod: PodFacts) -> tuple[str, str, str] | None:
    target = pod.condition("DisruptionTarget")
    by_scheduler = target is not None and target.status == "True" and target.reason == "PreemptionByScheduler"
    event = next(iter(pod.events_of("Preempted", "Preempting")), None)
    if not by_scheduler and pod.reason not in {"Preempting", "Preempted"}:
        return None
    by = re.search(r"Preempted by (?:pod )?(\S+)", event.message) if event else None
    who = f" {by[1]}" if by and "/" in by[1] else ""
    sentence = f"Preempted: it had to make room for a pod of higher priority{who}."
    return "Preempting", sentence, "Give it a higher priority, or run it where there is room."


def _deadline(pod: PodFacts) -> tuple[str, str, str] | None:
    if pod.reason != "DeadlineExceeded" and not _was_ended_for_its_job(pod):
        return None
    return "DeadlineExceeded", OVERRAN, "Give it more time, or make it shorter."


def _was_ended_for_its_job(pod: PodFacts) -> bool:
    """Whether the time of its Job, or of its run, was over, so that somebody deleted it before it had ended."""
    asked, ends = pod.deleting_since, [each.ended for each in pod.containers if each.ended and not each.init]
    return pod.overran and asked is not None and all(not end.finished_at or end.finished_at >= asked for end in ends)


def _refused(pod: PodFacts) -> tuple[str, str, str] | None:
    on = pod.node or "its node"
    if pod.reason == "UnexpectedAdmissionError":
        return pod.reason, f"{on} refused it: {stop(said(pod.message))}", "It has to be started again."
    if pod.reason.startswith("OutOf") and len(pod.reason) > 5:
        return (
            pod.reason,
            f"{on} refused it: it has not enough {pod.reason.removeprefix('OutOf')} left.",
            "It has to be started again: the scheduler and the node counted differently.",
        )
    if pod.reason in {"NodeAffinity", "TaintToleration", "NodeName", "NodePorts"}:
        return pod.reason, f"{on} refused it: the node changed and no longer suits it.", "It has to be started again."
    return None


def lost(pod: PodFacts, cluster: ClusterFacts, now: datetime) -> Why | None:
    """A pod on a node that stopped answering, or that no longer exists."""
    if not pod.node or pod.phase in _ENDED:
        return None
    node = cluster.node(pod.node)
    if node is None:
        if not cluster.nodes:
            return None
        return Why(
            "NodeLost",
            f"Not heard of: node {pod.node} no longer exists.",
            (),
            f"Kubernetes removes the pod within minutes; {_then(pod)}",
        )
    if node.ready and pod.reason != "NodeLost":
        return None
    sentence = f"Not heard of: node {node.name} {_silent(node, now)}."
    evidence = (Evidence(f"Node {node.name}", node.reason or "not ready", node.not_ready_since),)
    step = f"Kubernetes gives it up about 5 min after the node was lost, unless the node comes back; {_then(pod)}"
    return Why("NodeLost", sentence, evidence, step, at=node.not_ready_since)


def _then(pod: PodFacts) -> str:
    if pod.of_run:
        return "then the run is tried again on another node."
    return "then its controller starts another."


def _silent(node: NodeFacts, now: datetime) -> str:
    word = "stopped answering" if node.reason in {"NodeStatusUnknown", "NoReport", "NodeLost", ""} else "is not ready"
    if node.not_ready_since is None:
        return word
    age = age_text(node.not_ready_since, now)
    return f"{word} {age} ago" if word.startswith("stopped") else f"{word}, for {age}"


def terminating(pod: PodFacts, cluster: ClusterFacts, now: datetime) -> Why | None:
    """A pod that is being deleted before it has ended: who asked for it, and what holds it when that takes long."""
    if pod.deleted or pod.phase in _ENDED or not (pod.deleting_since or pod.reason == "Terminating"):
        return None
    why = stopped(pod)
    since = pod.deleting_since
    long = since is not None and now - since > _PATIENCE
    evidence = [Evidence("Deletion", "asked for", since)] if since else []
    if pod.finalizers:
        evidence.append(Evidence("Finalizers", said(", ".join(pod.finalizers), 400)))
    target = pod.condition("DisruptionTarget")
    if target is not None and target.status == "True":
        evidence.append(Evidence("DisruptionTarget", said(f"{target.reason}: {target.message}", 400), target.at))
    node, state = cluster.node(pod.node) if pod.node else None, "Terminating"
    if node is not None and not node.ready:
        state = "NodeLost"
        sentence = f"Being deleted, but node {node.name} {_silent(node, now)}, so nothing confirms that it has ended."
        step = "It goes when the node comes back or is removed from the cluster."
    elif pod.reason == "NodeLost":
        state = "NodeLost"
        sentence = f"Being deleted, but node {pod.node} stopped answering, so nothing confirms that it has ended."
        step = "It goes when the node comes back or is removed from the cluster."
    elif pod.finalizers and long:
        sentence = f"Being deleted, but held by {listed(list(pod.finalizers))}."
        step = "Whoever set the finalizer has to remove it."
    elif long and since is not None:
        sentence = f"Being deleted for {age_text(since, now)}: its containers have not ended yet."
        step = "See its log; its process may ignore SIGTERM."
    else:
        sentence, step = "Being deleted: its containers have a moment to end by themselves.", ""
    if why is not None:
        # The cause from outside explains more than the deletion does.
        return Why(why.state, f"{why.sentence} {sentence}", tuple(evidence), step or why.next_step, at=since)
    return Why(state, sentence, tuple(evidence), step, at=since)

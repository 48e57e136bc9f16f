""" "Why?": one sentence for a pod that waits or is unwell, with its evidence and the next step. Pure.

Facts in (`facts.py`), a `Why` out; one small function a cause, asked in order of what explains more. None means that
all is well.
"""

from collections.abc import Callable
from datetime import datetime

from apps.clusters.why.admission import refused
from apps.clusters.why.containers import config, crash, initialising
from apps.clusters.why.ended import lost, stopped, terminating, unrun
from apps.clusters.why.facts import ClusterFacts, PodFacts
from apps.clusters.why.images import image, pulling
from apps.clusters.why.probes import probe, unready
from apps.clusters.why.result import Evidence, Why, said, stop, together
from apps.clusters.why.scheduling import unschedulable
from apps.clusters.why.volumes import sandbox, volume

__all__ = [
    "ClusterFacts",
    "Evidence",
    "PodFacts",
    "Why",
    "explain",
    "refused",
    "together",
]

# The causes that keep a pod with a node from being ready; the one that explains most comes first.
_ON_ITS_NODE: tuple[Callable[[PodFacts], Why | None], ...] = (image, config, volume, sandbox, initialising, pulling)

# The reasons for which a container waits while all goes well.
_PASSING = frozenset({"ContainerCreating", "PodInitializing"})


def explain(pod: PodFacts, cluster: ClusterFacts, now: datetime) -> Why | None:
    """Why the pod waits or is unwell; None when all is well. A cluster's silence comes first in the sentence."""
    current = _explain(pod, cluster, now)
    why = current if cluster.answers or pod.deleted else _as_of(pod, cluster, current, now)
    return why.tidy() if why is not None else None


def _explain(pod: PodFacts, cluster: ClusterFacts, now: datetime) -> Why | None:
    if pod.phase == "Succeeded":
        return None
    if pod.deleted and pod.phase != "Failed":
        # How it ended nobody saw, but perhaps why it had to.
        return stopped(pod)
    if why := terminating(pod, cluster, now) or stopped(pod):
        return why
    if pod.phase == "Failed":
        return unrun(pod) or crash(pod, now) or _otherwise(pod)
    # A node that is gone from a cluster that can't be asked may be anything: only the cluster's silence is known.
    if cluster.answers and (why := lost(pod, cluster, now)):
        return why
    if pod.health == "Healthy":
        return None
    if pod.ready:
        # Ready for a moment is not well yet where it has ended again and again.
        return crash(pod, now)
    if why := unschedulable(pod, cluster):
        return why
    trouble = _trouble(pod, now)
    return trouble or next((why for cause in _ON_ITS_NODE if (why := cause(pod))), None) or _waiting(pod, now)


def _trouble(pod: PodFacts, now: datetime) -> Why | None:
    """A container that ended, or a probe that fails: whichever is the cause of the other."""
    ended, probed = crash(pod, now), probe(pod, now)
    if ended is None or probed is None:
        return ended or probed
    if ended.state == "OOMKilled":
        return ended
    killed_for_it = probed.state == "Unhealthy"
    down = any(container.waiting == "CrashLoopBackOff" or container.ended for container in pod.containers)
    return probed if killed_for_it or not down else ended


def _waiting(pod: PodFacts, now: datetime) -> Why | None:
    odd = next((container for container in pod.containers if container.waiting not in {"", *_PASSING}), None)
    if odd is not None:
        # A reason that is new to us: Kubernetes' own words.
        words = ": ".join(filter(None, (odd.waiting, odd.waiting_message)))
        return Why(odd.waiting, f"{odd.kind} {odd.name} waits: {stop(said(words))}", at=pod.created_at)
    if pod.phase == "Running":
        return unready(pod, now)
    if pod.phase == "Pending" and not pod.node:
        return Why("Pending", "Waiting: the scheduler has not looked at it yet.", at=pod.created_at)
    if pod.phase == "Pending":
        return Why("ContainerCreating", f"Starting: its containers are being made on {pod.node}.", at=pod.created_at)
    return _otherwise(pod)


def _otherwise(pod: PodFacts) -> Why:
    if pod.phase in {"", "Unknown"} and not pod.message:
        return Why(pod.reason or "Unknown", "Not heard of: its node does not report.", at=pod.started_at)
    silence = "It failed, and Kubernetes gives no reason" if pod.phase == "Failed" else "Kubernetes gives no reason"
    sentence = stop(said(pod.message) or silence)
    return Why(pod.reason or pod.phase or "Unknown", sentence, at=pod.started_at)


def _as_of(pod: PodFacts, cluster: ClusterFacts, known: Why | None, now: datetime) -> Why:
    """The explanation as of the time when the cluster answered last."""
    when = "as last seen"
    if cluster.seen_at:
        day = "" if cluster.seen_at.date() == now.date() else f"{cluster.seen_at.day} {cluster.seen_at:%b}, "
        when = f"as of {day}{cluster.seen_at:%H:%M} UTC"
    state = known.sentence if known else f"it was {pod.reason or pod.phase or 'not seen yet'}"
    cause = f": {stop(said(cluster.silence))}" if cluster.silence else "."
    sentence = f"{when[0].upper()}{when[1:]}: {state.rstrip('.')}. {cluster.name} can't be asked now{cause}"
    evidence = (
        *(known.evidence if known else ()),
        Evidence(f"Cluster {cluster.name}", "answered last", cluster.seen_at),
    )
    return Why("Unreachable", sentence, evidence, known.next_step if known else "", at=cluster.seen_at)

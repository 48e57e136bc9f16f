"""Why no node takes a pod: read from kube-scheduler's message, and computed from the nodes as we see them. Pure.

The message is that of `FitError` in pkg/scheduler/framework/types.go: "0/5 nodes are available: 2 Insufficient
nvidia.com/gpu, 3 node(s) had untolerated taint(s). preemption: 0/5 nodes are available: …". Since 1.32 "no new claims
to deallocate," may stand before "preemption:".
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from apps.clusters.why.amounts import amount, bare, listed, more, needed, plural
from apps.clusters.why.facts import ClusterFacts, NodeFacts, PodFacts, held, is_counted, is_gpu
from apps.clusters.why.result import Evidence, Why, said

_HEAD = re.compile(r"^\d+/(\d+) nodes are available: ?(.*)$", re.DOTALL)
_TAIL = re.compile(r"[ .,]*(?:no new claims to deallocate,? ?)?preemption:.*$", re.DOTALL)
_REASON = re.compile(r"^(\d+) (.+)$", re.DOTALL)
_SHORT = re.compile(r"^Insufficient (\S+)$")
_CLAIM = re.compile(r'persistentvolumeclaim "([^"]+)" not found')
# The words of the scheduler's plugins, and how they are said here.
_EXCLUSIONS = (
    ("untolerated taint", "by a taint"),
    ("that the pod didn't tolerate", "by a taint"),
    ("were unschedulable", "cordoned"),
    ("were not ready", "not ready"),
    ("node affinity/selector", "by its node selector or affinity"),
    ("anti-affinity rules", "by an anti-affinity rule"),
    ("pod affinity rules", "by an affinity rule"),
    ("topology spread", "by a spread constraint"),
    ("free ports", "by a host port that is taken"),
    ("volume node affinity conflict", "by the zone of its volume"),
    ("max volume count", "full of volumes"),
)
# From the dearest: what people run out of first is what they want to hear of.
_ORDER = ("memory", "cpu", "ephemeral-storage", "pods")


@dataclass(frozen=True)
class Refusals:
    """What kube-scheduler said: of `total` nodes how many lack what, and how many are left out for which cause."""

    total: int
    lacking: Mapping[str, int]
    excluded: Mapping[str, int]
    other: tuple[str, ...] = ()


@dataclass(frozen=True)
class Gap:
    """The node with most of a resource free: `free` now, `total` when it is empty."""

    resource: str
    asked: int
    free: int
    node: str
    largest: int


def parse(message: str) -> Refusals | None:
    """The reasons in a scheduler's message; None when it is something else."""
    match = _HEAD.match(" ".join(message.split()))
    if match is None:
        return None
    lacking: dict[str, int] = {}
    excluded: dict[str, int] = {}
    other: list[str] = []
    for part in re.split(r", (?=\d+ )", _TAIL.sub("", match[2]).rstrip(" .,")):
        found = _REASON.match(part)
        count, text = (int(found[1]), found[2]) if found else (0, part)
        short = _SHORT.match(text)
        if short:
            lacking[short[1]] = lacking.get(short[1], 0) + count
        elif text == "Too many pods":
            lacking["pods"] = count
        elif cause := next((said_as for words, said_as in _EXCLUSIONS if words in text), ""):
            excluded[cause] = excluded.get(cause, 0) + count
        elif text:
            other.append(text)
    return Refusals(int(match[1]), lacking, excluded, tuple(other))


def unschedulable(pod: PodFacts, cluster: ClusterFacts) -> Why | None:
    """Why a pod has no node; None when it has one, or when nobody has looked for one yet."""
    condition = pod.condition("PodScheduled")
    if pod.node or condition is None or condition.status != "False":
        return None
    if condition.reason == "SchedulingGated":
        return Why(
            "SchedulingGated",
            "Waiting: its scheduling gates are still closed, so no node is looked for.",
            (Evidence("Pod", condition.message or "Scheduling is blocked by gates.", condition.at),),
            "A queue such as Kueue opens them when there is quota.",
            at=condition.at,
        )
    message = condition.message or next((event.message for event in pod.events_of("FailedScheduling")), "")
    refusals = parse(message)
    evidence = [Evidence("kube-scheduler", said(message, 600), condition.at)] if message else []
    if claim := _volume_claim(message):
        return Why("Unschedulable", claim[0], tuple(evidence), claim[1], at=condition.at)
    open_nodes = [node for node in cluster.nodes if not left_out(pod, node)]
    gap = _shortage(pod, refusals, open_nodes)
    if gap is not None:
        evidence += _room(gap, open_nodes)
        evidence += _left_out(pod, cluster, refusals)
        return Why("Unschedulable", _sentence(gap), tuple(evidence), _next(gap, open_nodes, cluster), at=condition.at)
    evidence += _left_out(pod, cluster, refusals)
    sentence, step = _without_gap(pod, refusals, open_nodes, message)
    return Why("Unschedulable", sentence, tuple(evidence), f"{step}{_elsewhere(cluster)}", at=condition.at)


def fits(pod: PodFacts, nodes: Iterable[NodeFacts]) -> bool:
    """Whether a node would take the pod now. What its rows don't tell, such as network cards, is not promised."""
    return all(is_counted(name) for name in pod.asks) and any(
        not left_out(pod, node) and all(node.free(name) >= asked for name, asked in pod.asks.items()) for node in nodes
    )


def left_out(pod: PodFacts, node: NodeFacts) -> str:
    """Why a node is no choice for the pod whatever its room; "" when it is one."""
    if not node.schedulable:
        return "cordoned"
    if not node.ready:
        return "not ready"
    if any(not _tolerated(taint, pod.tolerations) for taint in node.taints):
        return "by a taint"
    if any(node.labels.get(key) != value for key, value in pod.selector.items()):
        return "by its node selector or affinity"
    return ""


def _tolerated(taint: Mapping[str, Any], tolerations: Iterable[Mapping[str, Any]]) -> bool:
    if taint.get("effect") == "PreferNoSchedule":
        return True
    return any(
        found.get("effect") in (None, "", taint.get("effect"))
        and found.get("key") in (None, "", taint.get("key"))
        and (found.get("operator") == "Exists" or (found.get("value") or "") == (taint.get("value") or ""))
        for found in tolerations
    )


def _shortage(pod: PodFacts, refusals: Refusals | None, nodes: list[NodeFacts]) -> Gap | None:
    """The scarcest of the resources that the scheduler, or else our own sum, finds lacking."""
    asks = {name: asked for name, asked in pod.asks.items() if asked > 0 and is_counted(name)}
    if refusals and "pods" in refusals.lacking:
        asks["pods"] = 1
    gaps = [gap for name, asked in asks.items() if (gap := _gap(name, asked, nodes)) is not None]
    named = set(refusals.lacking) if refusals else set()
    if any(is_gpu(name) for name in named):
        named.add("gpu")
    short = [gap for gap in gaps if gap.free < gap.asked and (not named or gap.resource in named)]
    return min(short, key=lambda gap: _rank(gap.resource), default=None)


def _gap(resource: str, asked: int, nodes: list[NodeFacts]) -> Gap | None:
    best = max(nodes, key=lambda node: (node.free(resource), node.total(resource)), default=None)
    if best is None:
        return None
    largest = max(node.total(resource) for node in nodes)
    return Gap(resource, asked, best.free(resource), best.name, largest)


def _rank(resource: str) -> int:
    if is_gpu(resource):
        return 0
    return _ORDER.index(resource) + 2 if resource in _ORDER else 1


def _sentence(gap: Gap) -> str:
    if gap.resource == "pods":
        return "Waiting: every node that may take it has as many pods as it can."
    if gap.largest == 0:
        return f"Waiting: no node that may take it has any {gap.resource}."
    if gap.largest < gap.asked:
        largest = bare(gap.resource, gap.largest)
        return f"Waiting: no node has {amount(gap.resource, gap.asked)}; the largest has {largest}."
    free = bare(gap.resource, gap.free)
    none = f"the largest gap is {free} on {gap.node}" if gap.free else "none is free anywhere"
    return f"Waiting: no node has {needed(gap.resource, gap.asked)}; {none}."


def _next(gap: Gap, nodes: list[NodeFacts], cluster: ClusterFacts) -> str:
    if gap.largest < gap.asked:
        less = f"Ask for at most {amount(gap.resource, gap.largest)}, or have" if gap.largest else "Have"
        return f"{less} a larger node added: waiting does not help.{_elsewhere(cluster)}"
    holder = _who_ends(gap, nodes)
    wait = (
        f"wait for {holder} to end"
        if holder
        else f"wait until {more(gap.resource, gap.asked - gap.free)} on {gap.node}"
    )
    if gap.resource == "pods" and not holder:
        wait = f"wait until a pod on {gap.node} ends"
    if gap.free and gap.resource != "pods":
        return f"Ask for at most {amount(gap.resource, gap.free)}, or {wait}.{_elsewhere(cluster)}"
    return f"{wait[0].upper()}{wait[1:]}.{_elsewhere(cluster)}"


def _who_ends(gap: Gap, nodes: list[NodeFacts]) -> str:
    """The one holder whose end alone makes room, the smallest first."""
    enough = [
        (held(holder.amounts, gap.resource), holder.name)
        for node in nodes
        for holder in node.holders
        if node.free(gap.resource) + held(holder.amounts, gap.resource) >= gap.asked
    ]
    return min(enough)[1] if enough else ""


def _elsewhere(cluster: ClusterFacts) -> str:
    return f" It would fit on {listed(list(cluster.elsewhere))}." if cluster.elsewhere else ""


def _room(gap: Gap, nodes: list[NodeFacts]) -> list[Evidence]:
    """The nodes with most room, as Flotilla counts it: allocatable without what pods have asked for."""
    having = [node for node in nodes if node.total(gap.resource)]
    best = sorted(having, key=lambda node: (-node.free(gap.resource), node.name))[:5]
    parts = [
        f"{node.name} {bare(gap.resource, node.free(gap.resource))} of {bare(gap.resource, node.total(gap.resource))}"
        for node in best
    ]
    parts += [f"{plural(len(having) - 5, 'node')} with less"] if len(having) > 5 else []
    without = len(nodes) - len(having)
    parts += [f"{plural(without, 'node')} without any"] if without else []
    return [Evidence(f"Free {gap.resource}", ", ".join(parts))] if parts else []


def _left_out(pod: PodFacts, cluster: ClusterFacts, refusals: Refusals | None) -> list[Evidence]:
    counts: Mapping[str, int] = refusals.excluded if refusals else {}
    if not counts:
        causes = [cause for node in cluster.nodes if (cause := left_out(pod, node))]
        counts = {cause: causes.count(cause) for cause in dict.fromkeys(causes)}
    if not counts:
        return []
    total = refusals.total if refusals else len(cluster.nodes)
    parts = ", ".join(f"{count} {cause}" for cause, count in counts.items())
    return [Evidence("Left out", f"{sum(counts.values())} of {plural(total, 'node')}: {parts}")]


def _without_gap(pod: PodFacts, refusals: Refusals | None, nodes: list[NodeFacts], message: str) -> tuple[str, str]:
    """(sentence, next step) where no single resource is short on the nodes that we see."""
    if "no nodes available" in message or (refusals and refusals.total == 0):
        return "Waiting: the cluster has no nodes.", "Have a node added."
    if refusals is None:
        return f"Waiting: {said(message) or 'no node was found for it.'}", ""
    if nodes and refusals.lacking and all(is_counted(name) for name in refusals.lacking):
        asked = listed([amount(name, value) for name, value in pod.asks.items() if value], 4)
        return f"Waiting: no single node has {asked} free at once.", "Ask for less of one of them, or wait for room."
    if refusals.lacking:
        names = listed(sorted(refusals.lacking, key=_rank))
        return f"Waiting: not enough {names} on any node that may take it.", "Ask for less, or wait for room."
    if refusals.excluded:
        parts = listed([f"{count} {cause}" for cause, count in refusals.excluded.items()], 5)
        return f"Waiting: no node may take it: {parts}.", _allow(refusals)
    return f"Waiting: {said(', '.join(refusals.other)) or 'no node takes it'}.", ""


def _allow(refusals: Refusals) -> str:
    if "cordoned" in refusals.excluded or "not ready" in refusals.excluded:
        return "Bring the nodes back, or run it elsewhere."
    if "by a taint" in refusals.excluded:
        return "Give it a toleration for the taint, or have nodes without it added."
    return "Change what it demands of a node, or label a node to match."


def _volume_claim(message: str) -> tuple[str, str] | None:
    """(sentence, next step): the words of the volume plugins of the scheduler."""
    if missing := _CLAIM.search(message):
        return (
            f"Waiting: its volume claim {missing[1]} does not exist.",
            f"Make the claim {missing[1]} in its namespace.",
        )
    if "unbound immediate PersistentVolumeClaims" in message:
        step = "See that the claim's storage class exists and can provision."
        return "Waiting: its volume claim has no volume yet.", step
    return None

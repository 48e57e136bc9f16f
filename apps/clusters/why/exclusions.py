"""The nodes that are no choice for a pod whatever their room: in kube-scheduler's words, and as we see the nodes. Pure.

The message is that of `FitError` in pkg/scheduler/framework/types.go: "0/5 nodes are available: 2 Insufficient
nvidia.com/gpu, 3 node(s) had untolerated taint(s). preemption: 0/5 nodes are available: …". Since 1.32 "no new claims
to deallocate," or "still not schedulable," may stand before "preemption:", and taints may be left unnamed.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from apps.clusters.why.facts import NodeFacts, PodFacts

_HEAD = re.compile(r"^(?:\(combined from similar events\): )?\d+/(\d+) nodes are available: ?(.*)$", re.DOTALL)
_TAIL = re.compile(r"(?:\. ?(?:[a-z ]+,? )?|[ ,]+)preemption:.*$", re.DOTALL)
_REASON = re.compile(r"^(\d+) (.+)$", re.DOTALL)
_SHORT = re.compile(r"^Insufficient (\S+)$")
_TAINT = re.compile(r"(?:untolerated taint|had taint) \{([^:}]+): ?([^}]*)\}")
CORDONED, NOT_READY, TAINTED, LABELS = "cordoned", "not ready", "with a taint", "without the labels that it demands"
# Kubernetes sets these taints itself: what they say is a state of the node, and no toleration is the way out.
_OWN_TAINTS = {
    "node.kubernetes.io/not-ready": NOT_READY,
    "node.kubernetes.io/unreachable": NOT_READY,
    "node.kubernetes.io/network-unavailable": NOT_READY,
    "node.cloudprovider.kubernetes.io/uninitialized": NOT_READY,
    "node.kubernetes.io/unschedulable": CORDONED,
    "node.kubernetes.io/memory-pressure": "short of memory",
    "node.kubernetes.io/disk-pressure": "short of disk",
    "node.kubernetes.io/pid-pressure": "short of process ids",
}
# The words of the scheduler's plugins, and how they are said here.
_EXCLUSIONS = (
    ("untolerated taint", TAINTED),
    ("that the pod didn't tolerate", TAINTED),
    ("were unschedulable", CORDONED),
    ("were not ready", NOT_READY),
    ("node affinity/selector", LABELS),
    ("requested node name", "of another name than it demands"),
    ("anti-affinity rules", "ruled out by an anti-affinity rule"),
    ("pod affinity rules", "ruled out by an affinity rule"),
    ("topology spread", "ruled out by its spread constraint"),
    ("free ports", "with its host port taken"),
    ("volume node affinity conflict", "in another zone than its volume"),
    ("available volume zone", "in another zone than its volume"),
    ("available persistent volumes to bind", "without a volume for its claim"),
    ("enough free storage", "without storage for its volume"),
    ("max volume count", "full of volumes"),
    ("allocate all claims", "without the devices that it claims"),
)


@dataclass(frozen=True)
class Refusals:
    """kube-scheduler's words, read: of `total` nodes how many lack what, and how many are left out for which cause."""

    total: int
    lacking: Mapping[str, int]
    excluded: Mapping[str, int]
    other: tuple[str, ...] = ()


def parse(message: str) -> Refusals | None:
    """The reasons in a scheduler's message; None when it is something else."""
    match = _HEAD.match(" ".join(message.split()))
    if match is None:
        return None
    lacking: Counter[str] = Counter()
    excluded: Counter[str] = Counter()
    other: list[str] = []
    for part in re.split(r", (?=\d+ )", _TAIL.sub("", match[2]).rstrip(" .,")):
        reason = _REASON.match(part)
        # Longer figures are no counts of nodes.
        count, text = (int(reason[1][:9]), reason[2]) if reason else (0, part)
        if short := _SHORT.match(text):
            lacking[short[1]] += count
        elif text == "Too many pods":
            lacking["pods"] += count
        elif cause := _cause(text):
            excluded[cause] += count
        elif text:
            other.append(part)
    return Refusals(int(match[1][:9]), dict(lacking), dict(excluded), tuple(other))


def _cause(text: str) -> str:
    if taint := _TAINT.search(text):
        return tainted(taint[1].strip(), taint[2].strip())
    return next((said_as for words, said_as in _EXCLUSIONS if words in text), "")


def tainted(key: str, value: str = "") -> str:
    """How a node with such a taint is said: by what it means where Kubernetes set it, else with its name."""
    return _OWN_TAINTS.get(key) or f"with the taint {key}{f'={value}' if value else ''}"


def left_out(pod: PodFacts, node: NodeFacts) -> str:
    """Why a node is no choice for the pod whatever its room; "" when it is one."""
    if not node.schedulable:
        return CORDONED
    if not node.ready:
        return NOT_READY
    for taint in node.taints:
        if not _tolerated(taint, pod.tolerations):
            return tainted(str(taint.get("key") or ""), str(taint.get("value") or ""))
    if any(node.labels.get(key) != value for key, value in pod.selector.items()):
        return LABELS
    return ""


def shut(pod: PodFacts, nodes: Iterable[NodeFacts]) -> list[tuple[NodeFacts, str]]:
    """The nodes that are a choice but for being cordoned or not ready, with which of these they are."""
    closed = []
    for node in nodes:
        cause = left_out(pod, node)
        if cause in {CORDONED, NOT_READY}:
            taints = tuple(taint for taint in node.taints if taint.get("key") not in _OWN_TAINTS)
            if not left_out(pod, replace(node, schedulable=True, ready=True, taints=taints)):
                closed.append((node, cause))
    return closed


def causes(pod: PodFacts, nodes: Iterable[NodeFacts], refusals: Refusals | None) -> dict[str, int]:
    """How many nodes are left out for which cause: as the scheduler says, and as we see them where it does not."""
    seen = Counter(cause for node in nodes if (cause := left_out(pod, node)))
    if refusals is None or not refusals.excluded:
        return dict(seen)
    counts = Counter(refusals.excluded)
    if TAINTED in counts:
        # Newer schedulers don't name taints: our own look at as many nodes does.
        named = {cause: count for cause, count in seen.items() if cause not in {CORDONED, LABELS}}
        if sum(named.values()) == counts[TAINTED]:
            del counts[TAINTED]
            counts += Counter(named)
    return dict(counts)


def what_to_do(counts: Mapping[str, int]) -> str:
    """The next step where every node is left out."""
    if CORDONED in counts or NOT_READY in counts:
        return "Bring the nodes back, or run it elsewhere."
    if any(cause.startswith("short of") for cause in counts):
        return "Free room on the nodes, or run it elsewhere."
    if any(cause.startswith(("with a taint", "with the taint")) for cause in counts):
        return "Give it a toleration for the taint, or have nodes without it added."
    if "without a volume for its claim" in counts:
        return "See that the claim's storage class exists and can provision where the nodes are."
    if "without the devices that it claims" in counts:
        return "Claim less, wait for devices to be let go, or have nodes with such devices added."
    return "Change what it demands of a node, or label a node to match."


def _tolerated(taint: Mapping[str, Any], tolerations: Iterable[Mapping[str, Any]]) -> bool:
    if taint.get("effect") == "PreferNoSchedule":
        return True
    return any(
        toleration.get("effect") in (None, "", taint.get("effect"))
        and toleration.get("key") in (None, "", taint.get("key"))
        and (toleration.get("operator") == "Exists" or (toleration.get("value") or "") == (taint.get("value") or ""))
        for toleration in tolerations
    )

"""The choice of a pod's node, or the reasons why none fits. Pure.

The messages are those of kube-scheduler (pkg/scheduler/framework/types.go, FitError.Error), because people and
programs read them: "0/3 nodes are available: 3 Insufficient nvidia.com/gpu. preemption: …".
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeVar

from kubevalues import quantities
from kubevalues.numbers import whole
from localcluster.taints import NO_EXECUTE, NO_SCHEDULE, PREFER_NO_SCHEDULE, tolerated

Pod = dict[str, Any]
Node = dict[str, Any]
Amounts = dict[str, int]
N = TypeVar("N", int, Decimal)

UNSCHEDULABLE = {"key": "node.kubernetes.io/unschedulable", "effect": NO_SCHEDULE}
_OPERATORS_WITH_NUMBERS = {"Gt", "Lt"}
# The amounts that the scheduler assumes for a pod without requests (100m, 200Mi), so that such pods spread as well.
_ASSUMED = {"cpu": 100, "memory": 200 * 1024**2}
# A node with devices that are not asked for comes after one that is only to be avoided, and that after all others.
_IDLE_DEVICES, _AVOIDED = 10.0, 5.0


@dataclass(frozen=True)
class Placement:
    """A node was found."""

    node: str


@dataclass(frozen=True)
class NoFit:
    """No node takes the pod; `message` says why as kube-scheduler would."""

    message: str


@dataclass(slots=True)
class NodeView:
    """The facts about a node that decide where pods go, read once; `taken` is counted as pods come and go."""

    name: str
    labels: Mapping[str, str]
    #: NoSchedule and NoExecute; the soft ones are apart.
    taints: tuple[Mapping[str, Any], ...]
    soft_taints: tuple[Mapping[str, Any], ...]
    unschedulable: bool
    has: Amounts
    devices: frozenset[str]
    taken: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, node: Node, taken: Mapping[str, int] | None = None) -> NodeView:
        """Of a Node; a Counter given as `taken` is kept, not copied."""
        taints = tuple(node["spec"].get("taints") or ())
        has = allocatable(node)
        return cls(
            name=node["metadata"]["name"],
            labels=node["metadata"].get("labels") or {},
            taints=tuple(each for each in taints if each.get("effect") in {NO_SCHEDULE, NO_EXECUTE}),
            soft_taints=tuple(each for each in taints if each.get("effect") == PREFER_NO_SCHEDULE),
            unschedulable=bool(node["spec"].get("unschedulable")),
            has=has,
            devices=frozenset(resource for resource, value in has.items() if value and "/" in resource),
            taken=taken if isinstance(taken, Counter) else Counter(taken or {}),
        )


def requests(pod: Pod) -> Amounts:
    """The resources that a pod asks for in all."""
    spec = pod["spec"]
    total = together(spec, container_requests)
    for resource, value in (spec.get("overhead") or {}).items():
        total[resource] = total.get(resource, 0) + quantities.amount(resource, value)
    return {resource: value for resource, value in total.items() if value}


def together(spec: Mapping[str, Any], amounts: Callable[[Mapping[str, Any]], Mapping[str, N]]) -> dict[str, N]:
    """The containers' amounts in sum, or what an init container needs where that is more.

    Init containers run one after another, each beside the sidecars that were started before it; sidecars (restartPolicy
    Always) go on beside the rest: https://github.com/kubernetes/enhancements/tree/master/keps/sig-node/753-sidecar-containers
    """
    running: dict[str, N] = {}
    most: dict[str, N] = {}
    for container in spec.get("initContainers") or ():
        if container.get("restartPolicy") == "Always":
            running = _sum(running, amounts(container))
        else:
            most = _most(most, _sum(running, amounts(container)))
    for container in spec.get("containers") or ():
        running = _sum(running, amounts(container))
    return _most(running, most)


def _sum(left: Mapping[str, N], right: Mapping[str, N]) -> dict[str, N]:
    return {**left, **{name: left[name] + value if name in left else value for name, value in right.items()}}


def _most(left: Mapping[str, N], right: Mapping[str, N]) -> dict[str, N]:
    return {**left, **{name: max(left[name], value) if name in left else value for name, value in right.items()}}


def container_requests(container: Mapping[str, Any]) -> Amounts:
    """The resources that a container asks for: its requests, or its limits where it names no request."""
    resources = container.get("resources") or {}
    asked = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return {resource: quantities.amount(resource, value) for resource, value in asked.items()}


def allocatable(node: Node) -> Amounts:
    """The resources that a node offers to pods."""
    quantity_of = (node.get("status") or {}).get("allocatable") or {}
    return {resource: quantities.amount(resource, value) for resource, value in quantity_of.items()}


def used_by(pods: Iterable[Pod]) -> dict[str, Amounts]:
    """Requests per node of the pods that hold them (bound and not finished), with "pods" counted."""
    used: dict[str, Counter[str]] = {}
    for pod in pods:
        node = pod["spec"].get("nodeName")
        if not node or (pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"}:
            continue
        counter = used.setdefault(node, Counter())
        counter.update(requests(pod))
        counter["pods"] += 1
    return {node: dict(counter) for node, counter in used.items()}


class Ranking:
    """The nodes that take pods of one kind, best first.

    It holds while nodes only fill up: what it remembers of a node is then the most that there can be, so that a look
    at the best few is enough for the next pod. When something is freed, or a node changes, make a new one.
    """

    def __init__(self, pod: Pod, nodes: Iterable[NodeView]) -> None:
        self._spec = pod["spec"]
        self._asked = requests(pod)
        self._nodes = tuple(nodes)
        self._why: NoFit | None = None
        # The highest score first; among equals the first by name.
        self._heap = [(-self._score(node), node.name, node) for node in self._nodes if self._takes(node)]
        heapq.heapify(self._heap)

    def best(self) -> Placement | NoFit:
        """The node with the most room left, or the reasons of all of them why there is none.

        A pod that asks for no device avoids nodes with devices while another has room, so that GPUs stay free.
        """
        while self._heap:
            known, name, node = self._heap[0]
            score = -self._score(node)
            if not _has_room(self._asked, node):
                heapq.heappop(self._heap)
            elif score == known:
                return Placement(name)
            else:
                heapq.heapreplace(self._heap, (score, name, node))
        if self._why is None:
            self._why = NoFit(_explain(self._spec, self._asked, self._nodes))
        return self._why

    def _takes(self, node: NodeView) -> bool:
        return _obstacle(self._spec, node) is None and _has_room(self._asked, node)

    def _score(self, node: NodeView) -> float:
        return _score(self._asked, node, self._spec.get("tolerations") or ())


def fit(pod: Pod, nodes: Iterable[NodeView]) -> Placement | NoFit:
    """The placement of a pod, or the reasons why it fits nowhere."""
    return Ranking(pod, nodes).best()


def _has_room(asked: Amounts, node: NodeView) -> bool:
    has, taken = node.has, node.taken
    if taken["pods"] >= has.get("pods", 0):
        return False
    return all(value + taken[resource] <= has.get(resource, 0) for resource, value in asked.items())


def _score(asked: Amounts, node: NodeView, tolerations: Iterable[Mapping[str, Any]]) -> float:
    """Least allocated wins (0..1 left after placing for each of cpu, memory and pods, resources as their mean)."""
    has, taken = node.has, node.taken
    left, counted = 0.0, 0
    for resource, assumed in _ASSUMED.items():
        if total := has.get(resource):
            left += (total - taken[resource] - (asked.get(resource) or assumed)) / total
            counted += 1
    score = left / max(counted, 1) + 1 - taken["pods"] / max(has.get("pods", 1), 1)
    if node.devices and not node.devices <= asked.keys():
        score -= _IDLE_DEVICES
    if node.soft_taints:
        score -= _AVOIDED * sum(not tolerated(taint, tolerations) for taint in node.soft_taints)
    return round(score, 6)


def _explain(spec: Mapping[str, Any], asked: Amounts, nodes: Sequence[NodeView]) -> str:
    if not nodes:
        return "no nodes available to schedule pods"
    total = len(nodes)
    reasons: Counter[str] = Counter()
    resource_only = 0
    for node in nodes:
        if obstacle := _obstacle(spec, node):
            reasons[obstacle] += 1
        else:
            reasons.update(_shortages(asked, node))
            # As kube-scheduler: where the whole node would be too small, removing other pods cannot help either.
            resource_only += all(value <= node.has.get(resource, 0) for resource, value in asked.items())
    listed = ", ".join(sorted(f"{count} {reason}" for reason, count in reasons.items()))
    unhelpful = total - resource_only
    parts = []
    if resource_only:
        parts.append(f"{resource_only} No preemption victims found for incoming pod")
    if unhelpful:
        parts.append(f"{unhelpful} Preemption is not helpful for scheduling")
    preemption = ", ".join(sorted(parts))
    return f"0/{total} nodes are available: {listed}. preemption: 0/{total} nodes are available: {preemption}."


def _obstacle(spec: Mapping[str, Any], node: NodeView) -> str | None:
    """The first obstacle, other than a want of room, that keeps a pod off a node, in the scheduler's words."""
    tolerations = spec.get("tolerations") or ()
    if node.unschedulable and not tolerated(UNSCHEDULABLE, tolerations):
        return "node(s) were unschedulable"
    for taint in node.taints:
        if not tolerated(taint, tolerations):
            return f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value') or ''}}}"
    if not _selected(spec, node):
        return "node(s) didn't match Pod's node affinity/selector"
    return None


def _shortages(asked: Amounts, node: NodeView) -> list[str]:
    short = ["Too many pods"] if node.taken["pods"] >= node.has.get("pods", 0) else []
    return short + [
        f"Insufficient {resource}"
        for resource, value in asked.items()
        if value + node.taken[resource] > node.has.get(resource, 0)
    ]


def _selected(spec: Mapping[str, Any], node: NodeView) -> bool:
    if any(node.labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    affinity = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    if not affinity:
        return True
    return any(_term_matches(term, node) for term in affinity.get("nodeSelectorTerms") or [])


def _term_matches(term: Mapping[str, Any], node: NodeView) -> bool:
    expressions = term.get("matchExpressions") or []
    fields = term.get("matchFields") or []
    if not expressions and not fields:
        return False
    return all(_expression_matches(e, node.labels) for e in expressions) and all(
        _expression_matches(e, {"metadata.name": node.name}) for e in fields
    )


def _expression_matches(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    actual = labels.get(expression["key"])
    operator, values = expression["operator"], expression.get("values") or []
    if operator == "Exists":
        return actual is not None
    if operator == "DoesNotExist":
        return actual is None
    if operator == "NotIn":
        return actual not in values
    if operator in _OPERATORS_WITH_NUMBERS:
        have, bound = (whole(text) if text is not None else None for text in (actual, values[0] if values else None))
        if have is None or bound is None:
            return False
        return have > bound if operator == "Gt" else have < bound
    return actual in values

"""Which node a pod goes to: `fit` decides, `Scheduler` binds.

The messages are those of kube-scheduler (pkg/scheduler/framework/types.go, FitError.Error), because people and
programs read them: "0/3 nodes are available: 3 Insufficient nvidia.com/gpu. preemption: …".
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localcluster import quantities
from localcluster.errors import StatusError
from localcluster.meta import key_of

if TYPE_CHECKING:
    from localcluster.registry import Registry
    from localcluster.store import Change

log = logging.getLogger(__name__)

COMPONENT = "default-scheduler"

Pod = dict[str, Any]
Node = dict[str, Any]
Amounts = dict[str, int]

_OPERATORS_WITH_NUMBERS = {"Gt", "Lt"}


@dataclass(frozen=True)
class Placement:
    """A node was found."""

    node: str


@dataclass(frozen=True)
class NoFit:
    """No node takes the pod; `message` says why as kube-scheduler would."""

    message: str


def requests(pod: Pod) -> Amounts:
    """What a pod asks for in all: containers together, or the largest init container where that is more."""
    spec = pod["spec"]
    total: Counter[str] = Counter()
    for container in spec.get("containers") or []:
        total.update(_container_requests(container))
    sidecars: Counter[str] = Counter()
    for container in spec.get("initContainers") or []:
        asked = _container_requests(container)
        if container.get("restartPolicy") == "Always":
            sidecars.update(asked)
            continue
        for resource, value in asked.items():
            total[resource] = max(total[resource], value + sidecars[resource])
    if sidecars:
        total.update(sidecars)
    for resource, value in (spec.get("overhead") or {}).items():
        total[resource] += quantities.amount(resource, value)
    return {resource: value for resource, value in total.items() if value}


def _container_requests(container: Mapping[str, Any]) -> Amounts:
    resources = container.get("resources") or {}
    asked = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return {resource: quantities.amount(resource, value) for resource, value in asked.items()}


def allocatable(node: Node) -> Amounts:
    """What a node has to give."""
    given = (node.get("status") or {}).get("allocatable") or {}
    return {resource: quantities.amount(resource, value) for resource, value in given.items()}


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


def fit(pod: Pod, nodes: Iterable[Node], used: Mapping[str, Amounts]) -> Placement | NoFit:
    """The node with the most room left among those that take the pod, or the reasons of all of them.

    A pod that asks for no device avoids nodes with devices while another has room, so that GPUs stay free.
    """
    wanted = requests(pod)
    candidates: list[tuple[float, str]] = []
    reasons: Counter[str] = Counter()
    resource_only = 0
    total = 0
    for node in nodes:
        total += 1
        why, only_resources = _refusals(pod, wanted, node, used.get(node["metadata"]["name"], {}))
        if why:
            reasons.update(why)
            resource_only += only_resources
        else:
            candidates.append((_score(wanted, node, used), node["metadata"]["name"]))
    if candidates:
        best = max(score for score, _ in candidates)
        return Placement(min(name for score, name in candidates if score == best))
    return NoFit(_message(total, reasons, resource_only))


def _message(total: int, reasons: Counter[str], resource_only: int) -> str:
    if not total:
        return "no nodes available to schedule pods"
    listed = ", ".join(sorted(f"{count} {reason}" for reason, count in reasons.items()))
    unhelpful = total - resource_only
    parts = []
    if resource_only:
        parts.append(f"{resource_only} No preemption victims found for incoming pod")
    if unhelpful:
        parts.append(f"{unhelpful} Preemption is not helpful for scheduling")
    preemption = ", ".join(sorted(parts))
    return f"0/{total} nodes are available: {listed}. preemption: 0/{total} nodes are available: {preemption}."


def _refusals(pod: Pod, wanted: Amounts, node: Node, taken: Amounts) -> tuple[list[str], bool]:
    """Why a node does not take a pod, in the scheduler's words, and whether only resources stand in the way."""
    spec = pod["spec"]
    if node["spec"].get("unschedulable") and not _tolerates(
        spec, {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
    ):
        return ["node(s) were unschedulable"], False
    for taint in node["spec"].get("taints") or []:
        if taint.get("effect") in {"NoSchedule", "NoExecute"} and not _tolerates(spec, taint):
            return [f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value', '')}}}"], False
    if not _selected(spec, node):
        return ["node(s) didn't match Pod's node affinity/selector"], False
    has = allocatable(node)
    short = []
    if taken.get("pods", 0) + 1 > has.get("pods", 0):
        short.append("Too many pods")
    short += [
        f"Insufficient {resource}"
        for resource, value in wanted.items()
        if value + taken.get(resource, 0) > has.get(resource, 0)
    ]
    # As kube-scheduler: where the whole node would be too small, removing other pods cannot help either.
    possible = all(value <= has.get(resource, 0) for resource, value in wanted.items())
    return short, possible


def _tolerates(spec: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    for toleration in spec.get("tolerations") or []:
        if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
            continue
        if toleration.get("key") and toleration["key"] != taint["key"]:
            continue
        if toleration.get("operator", "Equal") == "Exists":
            return True
        if toleration.get("key") and toleration.get("value", "") == taint.get("value", ""):
            return True
    return False


def _selected(spec: Mapping[str, Any], node: Node) -> bool:
    labels = node["metadata"].get("labels") or {}
    if any(labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    affinity = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    if not affinity:
        return True
    return any(_term_matches(term, node) for term in affinity.get("nodeSelectorTerms") or [])


def _term_matches(term: Mapping[str, Any], node: Node) -> bool:
    labels = node["metadata"].get("labels") or {}
    expressions = term.get("matchExpressions") or []
    fields = term.get("matchFields") or []
    if not expressions and not fields:
        return False
    return all(_expression_matches(e, labels) for e in expressions) and all(
        _expression_matches(e, {"metadata.name": node["metadata"]["name"]}) for e in fields
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
        if actual is None or not actual.lstrip("-").isdigit():
            return False
        return int(actual) > int(values[0]) if operator == "Gt" else int(actual) < int(values[0])
    return actual in values


def _score(wanted: Amounts, node: Node, used: Mapping[str, Amounts]) -> float:
    """Least allocated wins (0..1 left after placing); a node with devices that are not asked for comes last."""
    has, taken = allocatable(node), used.get(node["metadata"]["name"], {})
    left = []
    for resource in ("cpu", "memory"):
        # The scheduler counts a pod without requests as 100m and 200Mi, so that such pods spread as well.
        asked = wanted.get(resource) or (100 if resource == "cpu" else 200 * 1024**2)
        if has.get(resource):
            left.append((has[resource] - taken.get(resource, 0) - asked) / has[resource])
    spread = 1 - taken.get("pods", 0) / max(has.get("pods", 1), 1)
    idle_devices = any("/" in resource and resource not in wanted for resource, value in has.items() if value)
    return round(sum(left) / max(len(left), 1) + spread - (10 if idle_devices else 0), 6)


class Scheduler:
    """Binds pods to nodes as soon as they appear, and tries those that did not fit again when room may have come."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._waiting: dict[tuple[str, str], None] = {}
        self._used: dict[str, Counter[str]] = {}
        self._held: dict[str, tuple[str, Amounts]] = {}  # pod uid -> (node, what it holds)
        self._awake = asyncio.Event()

    async def run(self) -> None:
        """Schedule until cancelled."""
        stop = self._registry.store.listen(("pods", "nodes"), self._changed)
        try:
            for pod in self._registry.list("pods"):
                self._note(pod)
            while True:
                await self._awake.wait()
                self._awake.clear()
                for key in list(self._waiting):
                    self._schedule(key)
                    await asyncio.sleep(0)  # let requests in between
        finally:
            stop()

    def _changed(self, change: Change) -> None:
        if change.resource == "nodes":
            if _node_facts(change.stored.obj) != (change.old and _node_facts(change.old.obj)):
                self._awake.set()
        elif change.type == "DELETED":
            self._waiting.pop(key_of(change.stored.obj), None)
            self._free(change.stored.obj["metadata"]["uid"])
        else:
            self._note(change.stored.obj)

    def _note(self, pod: Pod) -> None:
        """Keep the account of what is held, and of what waits."""
        key, uid = key_of(pod), pod["metadata"]["uid"]
        node = pod["spec"].get("nodeName")
        if (pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"}:
            self._waiting.pop(key, None)
            self._free(uid)
        elif node:
            self._waiting.pop(key, None)
            if uid not in self._held:
                held = {**requests(pod), "pods": 1}
                self._held[uid] = (node, held)
                self._used.setdefault(node, Counter()).update(held)
        elif self._is_mine(pod) and key not in self._waiting:
            self._waiting[key] = None
            self._awake.set()

    def _is_mine(self, pod: Pod) -> bool:
        """Is the pod to be scheduled, and by this scheduler?"""
        ours = pod["spec"].get("schedulerName", COMPONENT) == COMPONENT
        return ours and not pod["metadata"].get("deletionTimestamp") and not pod["spec"].get("schedulingGates")

    def _free(self, uid: str) -> None:
        node, held = self._held.pop(uid, ("", {}))
        if node:
            self._used[node].subtract(held)
            self._awake.set()

    def _schedule(self, key: tuple[str, str]) -> None:
        namespace, name = key
        try:
            pod = self._registry.get("pods", name, namespace)
            found = fit(pod, self._registry.list("nodes"), self._used)
            if isinstance(found, Placement):
                self._registry.bind(name, namespace, found.node)
                message = f"Successfully assigned {namespace}/{name} to {found.node}"
                self._registry.record_event(pod, "Normal", "Scheduled", message, COMPONENT)
            else:
                self._refuse(pod, found)
        except StatusError as error:
            # The pod was changed or deleted meanwhile: its next change brings it back.
            log.debug("scheduling %s/%s: %s", namespace, name, error.message)
            self._waiting.pop(key, None)

    def _refuse(self, pod: Pod, why: NoFit) -> None:
        def mark(obj: dict[str, Any]) -> None:
            conditions = (obj.get("status") or {}).get("conditions") or []
            since = next((c["lastTransitionTime"] for c in conditions if c["type"] == "PodScheduled"), None)
            condition = {
                "type": "PodScheduled",
                "status": "False",
                "reason": "Unschedulable",
                "message": why.message,
                "lastProbeTime": None,
                "lastTransitionTime": since or quantities.now(),
            }
            others = [c for c in conditions if c["type"] != "PodScheduled"]
            obj.setdefault("status", {})["conditions"] = [*others, condition]

        namespace, name = key_of(pod)
        before = pod["metadata"]["resourceVersion"]
        after = self._registry.mutate("pods", name, namespace, mark, subresource="status")
        if after["metadata"]["resourceVersion"] != before:
            self._registry.record_event(pod, "Warning", "FailedScheduling", why.message, COMPONENT)


def _node_facts(node: Node) -> tuple[Any, ...]:
    """What of a node can change where pods fit."""
    spec = node["spec"]
    return (
        allocatable(node),
        node["metadata"].get("labels"),
        spec.get("taints"),
        spec.get("unschedulable"),
    )

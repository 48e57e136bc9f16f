"""Why no node takes a pod: read from kube-scheduler's message, and computed from the nodes as we see them. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from apps.clusters.quantities.words import amount, bare, listed, more, needed, plural
from apps.clusters.why.exclusions import LABELS, Refusals, causes, left_out, parse, shut, what_to_do
from apps.clusters.why.facts import ClusterFacts, Holder, NodeFacts, PodFacts, held, is_counted, is_gpu
from apps.clusters.why.holds import gated
from apps.clusters.why.result import Evidence, Why, said, stop

_CLAIM = re.compile(r'persistentvolumeclaim "([^"]+)" (not found|is being deleted)')
# The dearest first: people want to hear first of what they run out of first.
_ORDER = ("memory", "cpu", "ephemeral-storage", "pods")


@dataclass(frozen=True)
class Gap:
    """The node with most of a resource free: `free` now, `total` when it is empty."""

    resource: str
    asked: int
    free: int
    node: str
    largest: int


def unschedulable(pod: PodFacts, cluster: ClusterFacts) -> Why | None:
    """Why a pod has no node; None when it has one, or when nobody has looked for one yet."""
    condition = pod.condition("PodScheduled")
    if pod.node or condition is None or condition.status != "False":
        return None
    if condition.reason == "SchedulingGated":
        return Why(
            "SchedulingGated",
            gated(pod.scheduling_gates),
            (Evidence("Pod", said(condition.message, 400) or "Scheduling is blocked by gates.", condition.at),),
            "A queue such as Kueue opens them when there is quota.",
            at=condition.at,
        )
    message = condition.message or next((event.message for event in pod.events_of("FailedScheduling")), "")
    refusals = parse(message)
    evidence = [Evidence("kube-scheduler", said(message, 600), condition.at)] if message else []
    if claim := _volume_claim(message):
        return Why("Unschedulable", claim[0], tuple(evidence), claim[1], at=condition.at)
    open_nodes = [node for node in cluster.nodes if not left_out(pod, node)]
    out = causes(pod, cluster.nodes, refusals)
    gap = _shortage(pod, refusals, open_nodes)
    if gap is not None:
        evidence += _room(gap, open_nodes)
        sentence, step = _sentence(gap, pod, cluster), _next(gap, pod, open_nodes, cluster)
    else:
        sentence, step = _without_gap(pod, refusals, open_nodes, out, message)
        step = f"{step}{_elsewhere(cluster)}"
    evidence += _left_out(pod, cluster, refusals, out)
    return Why("Unschedulable", sentence, tuple(evidence), step, at=condition.at)


def fits(pod: PodFacts, nodes: Iterable[NodeFacts]) -> bool:
    """Whether a node would take the pod now. What its rows don't tell, such as network cards, is not promised."""
    return all(is_counted(name) for name in pod.asks) and any(
        not left_out(pod, node) and all(node.free(name) >= asked for name, asked in pod.asks.items()) for node in nodes
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


def _sentence(gap: Gap, pod: PodFacts, cluster: ClusterFacts) -> str:
    if gap.resource == "pods":
        return "Waiting: every node that may take it has as many pods as it can."
    # Where a node that is left out has enough, the others alone are meant, and the evidence says why it is left out.
    enough = any(node.free(gap.resource) >= gap.asked for node in cluster.nodes if left_out(pod, node))
    no_node = "no node that may take it" if enough or gap.largest == 0 else "no node"
    if gap.largest == 0:
        return f"Waiting: {no_node} has any {gap.resource}."
    if gap.largest < gap.asked:
        largest = bare(gap.resource, gap.largest)
        return f"Waiting: {no_node} has {amount(gap.resource, gap.asked)}; the largest has {largest}."
    free = bare(gap.resource, gap.free)
    others = any(node.free(gap.resource) for node in cluster.nodes)
    taken = "none of theirs is free" if others else f"none is free on {cluster.name}"
    none = f"the largest gap is {free} on {gap.node}" if gap.free else taken
    return f"Waiting: {no_node} has {needed(gap.resource, gap.asked)}; {none}."


def _next(gap: Gap, pod: PodFacts, nodes: list[NodeFacts], cluster: ClusterFacts) -> str:
    back = next(
        (
            f"bring {node.name} back: it is {cause} and has room"
            for node, cause in shut(pod, cluster.nodes)
            if all(node.free(name) >= asked for name, asked in pod.asks.items() if is_counted(name))
        ),
        "",
    )
    return f"{_ways_out(gap, nodes, back, pod.owner)}{_elsewhere(cluster)}"


def _ways_out(gap: Gap, nodes: list[NodeFacts], back: str, owner: str | None) -> str:
    less = min(gap.largest, gap.free) if back else gap.largest
    if gap.largest < gap.asked:
        otherwise = back or "have a larger node added: waiting does not help"
        ways = [f"ask for at most {amount(gap.resource, less)}", otherwise] if less else [otherwise]
        return f"{_capital(', or '.join(ways))}."
    holder = _who_ends(gap, nodes, owner)
    wait = f"wait until {more(gap.resource, gap.asked - gap.free)} on {gap.node}"
    if holder is not None:
        wait = _beside(holder, gap) if holder.owner == owner else f"wait for {holder.name} to end"
    elif gap.resource == "pods":
        wait = f"wait until a pod on {gap.node} ends"
    ways = [f"ask for at most {amount(gap.resource, gap.free)}"] if gap.free and gap.resource != "pods" else []
    return f"{_capital(', or '.join([*ways, wait, *([back] if back else [])]))}."


def _capital(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}"


def _who_ends(gap: Gap, nodes: list[NodeFacts], owner: str | None) -> Holder | None:
    """The one holder whose end alone makes room, the smallest first; another pod of the same owner only where no other
    would do."""
    enough = [
        holder
        for node in nodes
        for holder in node.holders
        if node.free(gap.resource) + held(holder.amounts, gap.resource) >= gap.asked
    ]
    return min(
        enough,
        key=lambda each: (each.owner == owner, held(each.amounts, gap.resource), each.name),
        default=None,
    )


def _beside(holder: Holder, gap: Gap) -> str:
    """The way out of a pod whose own fellow holds what it waits for."""
    has = amount(gap.resource, held(holder.amounts, gap.resource))
    return f"let fewer of its pods run at once: one of them, {holder.pod}, holds {has} until it ends"


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


def _left_out(
    pod: PodFacts, cluster: ClusterFacts, refusals: Refusals | None, out: Mapping[str, int]
) -> list[Evidence]:
    evidence = []
    if out:
        total = refusals.total if refusals else len(cluster.nodes)
        evidence.append(Evidence("Left out", f"{sum(out.values())} of {plural(total, 'node')}: {_counted(out, 9)}"))
    if LABELS in out and pod.selector:
        evidence.append(Evidence("Its node selector", said(_labels(pod), 400)))
    return evidence


def _counted(out: Mapping[str, int], most: int) -> str:
    return listed([f"{count} {cause}" for cause, count in out.items()], most)


def _labels(pod: PodFacts) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(pod.selector.items()))


def _without_gap(
    pod: PodFacts, refusals: Refusals | None, nodes: list[NodeFacts], out: Mapping[str, int], message: str
) -> tuple[str, str]:
    """(sentence, next step) where no single resource is short on the nodes that we see."""
    if "no nodes available" in message or (refusals and refusals.total == 0):
        return "Waiting: the cluster has no nodes.", "Have a node added."
    if refusals is None:
        return f"Waiting: {stop(said(message) or 'no node was found for it')}", ""
    if nodes and refusals.lacking and all(is_counted(name) for name in refusals.lacking):
        asked = listed([amount(name, value) for name, value in pod.asks.items() if value], 4)
        return f"Waiting: no single node has {asked} free at once.", "Ask for less of one of them, or wait for room."
    if refusals.lacking:
        names = listed(sorted(refusals.lacking, key=_rank))
        return f"Waiting: not enough {names} on any node that may take it.", "Ask for less, or wait for room."
    if list(out) == [LABELS] and pod.selector and not pod.affinity:
        step = "Correct its node selector, or label a node to match."
        return f"Waiting: no node has the labels that it demands: {said(_labels(pod))}.", step
    if out:
        other = f"; {said(', '.join(refusals.other))}" if refusals.other else ""
        return f"Waiting: no node may take it: {_counted(out, 5)}{other}.", what_to_do(out)
    return f"Waiting: {stop(said(', '.join(refusals.other)) or 'no node takes it')}", ""


def _volume_claim(message: str) -> tuple[str, str] | None:
    """(sentence, next step): the words of the volume plugins of the scheduler."""
    if claim := _CLAIM.search(message):
        gone = "does not exist" if claim[2] == "not found" else "is being deleted"
        return f"Waiting: its volume claim {claim[1]} {gone}.", f"Make the claim {claim[1]} in its namespace."
    if "unbound immediate PersistentVolumeClaims" in message:
        step = "See that the claim's storage class exists and can provision."
        return "Waiting: its volume claim has no volume yet.", step
    return None

"""A node and a pod: whether the node is a choice, how many such pods it has room for, and what one costs there. Pure.

Taints, selectors and required node affinity are read as kube-scheduler reads them; rules about other pods, volumes and
devices are its own to know.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from apps.clusters.fit.asks import Ask
from apps.clusters.podoptions.scheduling import NODE, REQUIRED
from apps.clusters.quantities.sizes import GPU, Size
from apps.clusters.usage.consumption import Price, price_for
from apps.clusters.why.exclusions import LABELS, left_out
from apps.clusters.why.facts import NodeFacts, PodFacts

GIB = Decimal(1024**3)
_RESOURCES = ("cpu", "memory", GPU)
# The API server lets a pod that asks for a GPU tolerate the taint of that name:
# https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#extendedresourcetoleration
_OF_GPUS: Mapping[str, Any] = {"key": GPU, "operator": "Exists"}


def amounts_of(size: Size) -> dict[str, int]:
    """What a pod of this size asks for, by resource; what it doesn't ask for is left out."""
    return {name: amount for name in _RESOURCES if (amount := size.of(name)) > 0}


def why_no_choice(ask: Ask, node: NodeFacts) -> str:
    """Why the node is no choice whatever its room, in a few words; "" when it is one."""
    tolerations = (*ask.pod.tolerations, _OF_GPUS) if ask.size.gpu else ask.pod.tolerations
    pod = PodFacts("", selector=ask.pod.node_selector, tolerations=tolerations)
    return left_out(pod, node) or ("" if _has_affinity(ask.pod.affinity, node) else LABELS)


def could_be(ask: Ask, node: NodeFacts) -> bool:
    """Whether an empty node of this kind that is well would take such a pod."""
    well = replace(node, ready=True, schedulable=True, taints=tuple(t for t in node.taints if not _passes(t)))
    return not why_no_choice(ask, well) and all(
        node.total(name) >= amount for name, amount in amounts_of(ask.size).items()
    )


def slots(ask: Ask, node: NodeFacts) -> int:
    """How many such pods the node has room for now."""
    counts = [node.free(name) // amount for name, amount in amounts_of(ask.size).items()]
    if node.total("pods"):
        counts.append(node.free("pods"))
    return min(counts, default=0) if not why_no_choice(ask, node) else 0


def places_for(ask: Ask, nodes: Iterable[NodeFacts], promised: Sequence[Ask] = ()) -> int:
    """How many such pods fit on the nodes together, beside what has been promised room and has no node yet."""
    return sum(slots(ask, node) for node in without(promised, list(nodes), ask))


def without(promised: Sequence[Ask], nodes: list[NodeFacts], ask: Ask) -> list[NodeFacts]:
    """The nodes with the promised pods on them, each where it leaves most room for `ask`. One that fits nowhere now
    takes no room."""
    left = sorted(nodes, key=lambda node: node.name)
    for other in promised:
        for _ in range(other.number):
            open_nodes = [number for number, node in enumerate(left) if slots(other, node)]
            if not open_nodes:
                break
            taken = [(number, _with(other.size, left[number])) for number in open_nodes]
            number, node = min(taken, key=lambda each: (slots(ask, left[each[0]]) - slots(ask, each[1]), each[0]))
            left[number] = node
    return left


def cost(ask: Ask, node: NodeFacts, prices: Sequence[Price]) -> tuple[Decimal, str] | None:
    """What such a pod costs an hour on the node, and the currency; None where the node has no price."""
    price = price_for(node.labels, prices)
    if price is None:
        return None
    size = ask.size
    cpu, memory = size.cpu_m * price.cpu_core_hour / 1000, size.memory_b * price.memory_gib_hour / GIB
    return cpu + memory + size.gpu * price.gpu_hour, price.currency


def _with(size: Size, node: NodeFacts) -> NodeFacts:
    more = {**amounts_of(size), "pods": 1}
    names = {*node.requested, *more}
    return replace(node, requested={name: node.requested.get(name, 0) + more.get(name, 0) for name in names})


def _passes(taint: Mapping[str, Any]) -> bool:
    """Whether a taint is a state of the node, which passes."""
    return str(taint.get("key") or "").startswith(("node.kubernetes.io/", "node.cloudprovider.kubernetes.io/"))


def _has_affinity(affinity: Mapping[str, Any], node: NodeFacts) -> bool:
    """Whether one of the terms that are required of a node holds. Without terms any node will do."""
    terms = ((affinity.get(NODE) or {}).get(REQUIRED) or {}).get("nodeSelectorTerms") or []
    return not terms or any(_holds(term, node) for term in terms)


def _holds(term: Mapping[str, Any], node: NodeFacts) -> bool:
    by_label = [_matches(rule, node.labels.get(str(rule.get("key")))) for rule in term.get("matchExpressions") or ()]
    # The only field that there is: the node's name.
    by_field = [_matches(rule, node.name) for rule in term.get("matchFields") or ()]
    return bool(by_label or by_field) and all([*by_label, *by_field])


def _matches(rule: Mapping[str, Any], value: str | None) -> bool:
    values = [str(each) for each in rule.get("values") or ()]
    match rule.get("operator"):
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt":
            return _number(value) is not None and _number(value) > _number(values[0])  # type: ignore[operator]
        case "Lt":
            return _number(value) is not None and _number(value) < _number(values[0])  # type: ignore[operator]
    return False


def _number(text: str | None) -> int | None:
    try:
        return int(text or "")
    except ValueError:
        return None

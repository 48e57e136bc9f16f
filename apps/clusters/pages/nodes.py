"""The node table of a cluster: the address's filters and the order. No I/O."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from django.http import QueryDict

from apps.clusters.pages.fleet import Label, parse_labels
from apps.clusters.selectors.nodes import Asked, Brief, NodeRow
from apps.core.pages.overview import Capacity
from apps.core.states import Health
from apps.core.text.wording import DIM, look_of, percent

# Every node has its own value of some labels: nobody filters by those.
MOST_VALUES = 24
_TONES = ("bad", "warn", "idle", "go", "ok")


@dataclass(frozen=True)
class NodeQuery:
    """The order and the filters that the address asks for."""

    text: str = ""
    labels: tuple[Label, ...] = ()
    state: str = ""
    sort: str = ""

    @property
    def is_narrow(self) -> bool:
        """Whether anything is filtered out."""
        return bool(self.text or self.labels or self.state)


def parse(params: QueryDict) -> NodeQuery:
    """Read an address. What makes no sense is as if it were not there."""
    sort = params.get("sort", "")
    return NodeQuery(
        text=params.get("q", "").strip()[:100],
        labels=parse_labels(params.getlist("label")),
        state=params.get("state", "")[:100],
        sort=sort if sort.removeprefix("-") in SORTS else "",
    )


def look_word(reason: str, health: str) -> str:
    """The state word whose look a node's reason has. A node that does not report is as bad as one that is not ready."""
    if look_of(reason) is not DIM:
        return reason
    return "NotReady" if health == Health.UNKNOWN else health


def severity(node: Brief) -> tuple[int, str]:
    """How bad a node stands: the smallest is worst."""
    return _TONES.index(look_of(look_word(node.reason, node.health)).tone), node.reason


def _share(asked: int, total: int) -> float:
    share = percent(asked, total)
    return -1.0 if share is None else share


SORTS: Mapping[str, Callable[[Brief, Asked], Any]] = {
    "name": lambda node, _: node.name,
    "state": lambda node, _: severity(node),
    "age": lambda node, _: -node.created_at.timestamp() if node.created_at else 0.0,
    "pods": lambda _, asked: asked.pods,
    "cpu": lambda node, asked: _share(asked.cpu, node.cpu),
    "memory": lambda node, asked: _share(asked.memory, node.memory),
    "gpu": lambda node, asked: _share(asked.gpu, node.gpu),
}
_BY_SUMS = frozenset({"pods", "cpu", "memory", "gpu"})


def needs_sums(sort: str) -> bool:
    """Whether an order is by what pods ask for."""
    return sort.removeprefix("-") in _BY_SUMS


def in_order(nodes: Iterable[Brief], sort: str, asked: Mapping[str, Asked]) -> list[Brief]:
    """The nodes in the order of `sort`; "-" before it turns it round, and "" puts trouble first. Names decide ties."""
    by_name = sorted(nodes, key=lambda node: node.name)
    key = SORTS[sort.removeprefix("-") or "state"]
    nothing = Asked()
    return sorted(by_name, key=lambda node: key(node, asked.get(node.name, nothing)), reverse=sort.startswith("-"))


def state_counts(nodes: Iterable[Brief]) -> list[tuple[str, str, int]]:
    """The states that nodes are in, worst first: the word, whose look it has, and how many."""
    counted: dict[tuple[str, str], int] = {}
    for node in sorted(nodes, key=severity):
        state = (node.reason, look_word(node.reason, node.health))
        counted[state] = counted.get(state, 0) + 1
    return [(*state, count) for state, count in counted.items()]


def label_choices(nodes: Iterable[Brief]) -> dict[str, list[str]]:
    """The labels that tell groups of nodes apart: keys with their values."""
    values_by_key: dict[str, set[str]] = {}
    for node in nodes:
        for key, value in node.labels.items():
            values_by_key.setdefault(str(key), set()).add(str(value))
    return {
        key: sorted(values)
        for key, values in sorted(values_by_key.items())
        if len(values) <= MOST_VALUES and key != "kubernetes.io/hostname"
    }


@dataclass(frozen=True)
class Line:
    """One resource of a node, in `unit`; None where a figure is not known."""

    key: str
    label: str
    capacity: Capacity
    has: float | None
    # From how much use on the bar is red, in percent: a GPU that is fully used is as wanted.
    hot: float = 90
    # Nobody can use the room that is left on a node that is cordoned or not ready.
    takes_pods: bool = True

    @property
    def unit(self) -> str:
        """ "cpu" (millicores), "bytes" or "" for figures."""
        return self.capacity.unit

    @property
    def figures(self) -> list[float | None]:
        """The columns in their order."""
        part = self.capacity
        free = max(0, (part.total or 0) - (part.asked or 0)) if self.takes_pods else 0
        return [self.has, part.total, part.asked, part.used, free]


def lines(row: NodeRow) -> list[Line]:
    """CPU, memory, pods and every kind of GPU of a node."""
    node, has = row.node, row.node.capacity
    pods = Capacity(row.pods, row.pods, node.allocatable_pods)
    figures = [
        Line("cpu", "CPU", row.cpu, has.get("cpu")),
        Line("memory", "Memory", row.memory, has.get("memory")),
        *(
            Line(use.kind, use.kind, use.capacity, (has.get("gpus") or {}).get(use.kind), hot=101)
            for use in row.gpus or ()
        ),
        Line("pods", "Pods", pods, has.get("pods")),
    ]
    return [replace(line, takes_pods=node.ready and node.schedulable) for line in figures]

"""What the node table of a cluster shows: the address's filters and the order. No I/O."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.http import QueryDict

from apps.clusters.fleet import Label, parse_labels
from apps.clusters.selectors.nodes import NodeRow
from apps.core.look import look_of, percent
from apps.core.overview import Capacity

# Every node has its own value of some labels: nobody filters by those.
MOST_VALUES = 24
_TONES = ("bad", "warn", "idle", "go", "ok")


@dataclass(frozen=True)
class NodeQuery:
    """What the address asks for."""

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


def severity(row: NodeRow) -> tuple[int, str]:
    """How bad a node stands: the smallest is worst."""
    seen = look_of(row.node.reason or row.node.health)
    by_health = look_of(row.node.health)
    worst = min(_TONES.index(seen.tone), _TONES.index(by_health.tone))
    return worst, row.node.reason


def _share(capacity: Capacity) -> float:
    share = percent(capacity.asked, capacity.total)
    return -1.0 if share is None else share


SORTS: Mapping[str, Callable[[NodeRow], Any]] = {
    "name": lambda row: row.node.name,
    "state": severity,
    "pods": lambda row: row.pods,
    "cpu": lambda row: _share(row.cpu),
    "memory": lambda row: _share(row.memory),
    "gpu": lambda row: _share(row.room.gpu),
    "age": lambda row: -row.node.created_at.timestamp() if row.node.created_at else 0.0,
}


def in_order(rows: Iterable[NodeRow], sort: str) -> list[NodeRow]:
    """By `sort` ("-" before it turns it round), names deciding between equals; trouble first where it is ""."""
    by_name = sorted(rows, key=SORTS["name"])
    return sorted(by_name, key=SORTS[sort.removeprefix("-") or "state"], reverse=sort.startswith("-"))


def state_counts(rows: Iterable[NodeRow]) -> list[tuple[str, int]]:
    """How many nodes are in which state, worst first."""
    counted: dict[str, int] = {}
    for row in sorted(rows, key=severity):
        counted[row.node.reason] = counted.get(row.node.reason, 0) + 1
    return list(counted.items())


def label_choices(rows: Iterable[NodeRow]) -> dict[str, list[str]]:
    """The labels that tell groups of nodes apart: keys with their values."""
    found: dict[str, set[str]] = {}
    for row in rows:
        for key, value in row.node.labels.items():
            found.setdefault(str(key), set()).add(str(value))
    return {
        key: sorted(values)
        for key, values in sorted(found.items())
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

    @property
    def unit(self) -> str:
        """ "cpu" (millicores), "bytes" or "" for figures."""
        return self.capacity.unit

    @property
    def figures(self) -> list[float | None]:
        """The columns in their order."""
        part = self.capacity
        return [self.has, part.total, part.asked, part.used, max(0, (part.total or 0) - (part.asked or 0))]


def lines(row: NodeRow) -> list[Line]:
    """CPU, memory, pods and every kind of GPU of a node."""
    node, has = row.node, row.node.capacity
    pods = Capacity(row.pods, row.pods, node.allocatable_pods)
    return [
        Line("cpu", "CPU", row.cpu, has.get("cpu")),
        Line("memory", "Memory", row.memory, has.get("memory")),
        *(Line(use.kind, use.kind, use.capacity, (has.get("gpus") or {}).get(use.kind), hot=101) for use in row.gpus),
        Line("pods", "Pods", pods, has.get("pods")),
    ]

"""The fleet page: the address's filters, the order, groups and totals. No I/O."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.http import QueryDict
from django.utils.dateparse import parse_datetime

from apps.clusters.models import Cluster
from apps.clusters.selectors.fleet import ClusterRow, is_current
from apps.clusters.selectors.free import NOTHING, Free
from apps.clusters.states import ClusterState
from apps.core.pages.overview import Capacity
from apps.core.text.wording import percent

# Worst first; what an administrator has switched off comes last.
SEVERITY: tuple[str, ...] = (
    ClusterState.UNREACHABLE,
    ClusterState.DEGRADED,
    ClusterState.PENDING,
    ClusterState.HEALTHY,
    ClusterState.DISABLED,
)
Label = tuple[str, str | None]
# By the cluster's key, and the name of the resource.
FreeRoom = Mapping[int, Mapping[str, Free]]


@dataclass(frozen=True)
class FleetQuery:
    """The filters that the address asks for. A label without a value asks for the key alone."""

    text: str = ""
    labels: tuple[Label, ...] = ()
    state: str = ""
    sort: str = ""
    group: str = ""

    @property
    def is_narrow(self) -> bool:
        """Whether anything is filtered out."""
        return bool(self.text or self.labels or self.state)

    def matches(self, cluster: Cluster, *, any_state: bool = False) -> bool:
        """Whether a cluster is asked for; `any_state` leaves the state out of it."""
        if self.state and not any_state and cluster.state != self.state:
            return False
        for key, value in self.labels:
            if key not in cluster.labels or (value is not None and str(cluster.labels[key]) != value):
                return False
        said = " ".join([cluster.name, *(f"{key}={value}" for key, value in cluster.labels.items())]).lower()
        return all(part in said for part in self.text.lower().split())


def parse(params: QueryDict) -> FleetQuery:
    """Read an address. What makes no sense is as if it were not there."""
    state, sort = params.get("state", ""), params.get("sort", "")
    return FleetQuery(
        text=params.get("q", "").strip()[:100],
        labels=parse_labels(params.getlist("label")),
        state=state if state in SEVERITY else "",
        sort=sort if sort.removeprefix("-") in SORTS else "",
        group=params.get("group", "").strip()[:100],
    )


def parse_labels(texts: Iterable[str]) -> tuple[Label, ...]:
    """`region=eu` and `region`, each once. One with a NUL is no label, and JSON in Postgres can't hold it."""
    labels: dict[Label, None] = {}
    for text in texts:
        key, equals, value = text.strip()[:320].partition("=")
        if key and "\0" not in text:
            labels[key, value if equals else None] = None
    return tuple(labels)


def label_text(label: Label) -> str:
    """A label as an address says it."""
    key, value = label
    return key if value is None else f"{key}={value}"


def severity(state: str) -> int:
    """How bad a state is: 0 is worst."""
    return SEVERITY.index(state) if state in SEVERITY else len(SEVERITY)


def _share(capacity: Capacity) -> float:
    share = percent(capacity.asked, capacity.total)
    return -1.0 if share is None else share


def tightest(row: ClusterRow) -> float:
    """The share of what there is that is asked for, of CPU or memory, whichever is scarcer; -1 where there is none."""
    return max(_share(row.cpu), _share(row.memory))


# Ascending: the worst state, the smallest figure, the emptiest cluster, the newest look.
SORTS: Mapping[str, Callable[[ClusterRow], Any]] = {
    "name": lambda row: row.cluster.name,
    "state": lambda row: severity(row.cluster.state),
    "nodes": lambda row: row.nodes or 0,
    "pods": lambda row: row.pods or 0,
    "cpu": lambda row: _share(row.cpu),
    "memory": lambda row: _share(row.memory),
    "gpu": lambda row: _share(row.gpu),
    "version": lambda row: row.cluster.server_version,
    "failing": lambda row: row.pods_bad or 0,
    "waiting": lambda row: row.room.pods_waiting or 0,
    "seen": lambda row: -row.cluster.as_of.timestamp() if row.cluster.as_of else float("inf"),
}


def in_order(rows: Iterable[ClusterRow], sort: str) -> list[ClusterRow]:
    """The rows in the order of `sort`; "-" before it turns it round, and "" puts trouble first. Names decide ties."""
    by_name = sorted(rows, key=SORTS["name"])
    key = sort.removeprefix("-") or "state"
    return sorted(by_name, key=SORTS[key], reverse=sort.startswith("-"))


@dataclass(frozen=True)
class Group:
    """Clusters that have the same value of a label; `value` is None for those without the label, `rows` in order."""

    value: str | None
    rows: Sequence[ClusterRow]


def grouped(rows: Iterable[ClusterRow], key: str) -> list[Group]:
    """The rows by the value of a label, each group in the order of `rows`; one nameless group where `key` is ""."""
    rows = list(rows)
    if not key:
        return [Group(None, rows)]
    by_value: dict[str | None, list[ClusterRow]] = {}
    for row in rows:
        value = row.cluster.labels.get(key)
        by_value.setdefault(None if value is None else str(value), []).append(row)
    return [Group(value, by_value[value]) for value in sorted(by_value, key=lambda value: (value is None, value or ""))]


def label_choices(clusters: Iterable[Cluster]) -> dict[str, list[str]]:
    """The labels that clusters carry: keys with their values."""
    values_by_key: dict[str, set[str]] = {}
    for cluster in clusters:
        for key, value in cluster.labels.items():
            values_by_key.setdefault(str(key), set()).add(str(value))
    return {key: sorted(values) for key, values in sorted(values_by_key.items())}


def state_counts(clusters: Iterable[Cluster]) -> list[tuple[str, int]]:
    """How many clusters are in which state, worst first; states that none is in are left out."""
    states = [cluster.state for cluster in clusters]
    return [(state, states.count(state)) for state in SEVERITY if state in states]


def cut_off_since(cluster: Cluster) -> datetime | None:
    """When a cluster that can't be reached, or refuses the credential, was last heard of; None for any other."""
    if cluster.state != ClusterState.UNREACHABLE and not cluster.is_locked_out:
        return None
    return cluster.as_of or troubled_since(cluster)


def troubled_since(cluster: Cluster) -> datetime | None:
    """When the condition behind the cluster's state became False, else the first that did; None where none is."""
    failing = [condition for condition in cluster.conditions if condition["status"] == "False"]
    about = [condition for condition in failing if condition.get("reason") == cluster.reason] or failing
    texts = [str(condition.get("last_transition_time") or "") for condition in about]
    moments = [moment for moment in map(parse_datetime, texts) if moment is not None]
    return min(moments, default=None)


def as_of(clusters: Iterable[Cluster]) -> datetime | None:
    """How old sums over clusters may be: the oldest look at any that is watched. None where nothing is."""
    seen = [cluster.as_of for cluster in clusters if cluster.as_of and is_current(cluster)]
    return min(seen, default=None)


@dataclass(frozen=True)
class Total:
    """One resource over many clusters: what people call it, its sum, and where most of it is free."""

    key: str
    label: str
    capacity: Capacity
    roomiest: ClusterRow | None = None
    free: Free = NOTHING

    @property
    def share(self) -> float | None:
        """How much of it is requested, in percent."""
        return percent(self.capacity.asked, self.capacity.total)


def totals(rows: Sequence[ClusterRow], together: Any, free: FreeRoom | None = None) -> list[Total]:
    """CPU, memory and every kind of GPU of `together`, the sum of `rows`, and where most of it is `free`."""
    capacities = [("cpu", "CPU", together.cpu), ("memory", "Memory", together.memory)]
    capacities += [(use.kind, f"GPU {use.label}", use.capacity) for use in together.gpus or ()]
    return [Total(key, label, capacity, *_roomiest(rows, key, free or {})) for key, label, capacity in capacities]


def _roomiest(rows: Iterable[ClusterRow], key: str, free: FreeRoom) -> tuple[ClusterRow | None, Free]:
    """The cluster where one pod could get most of it; no pod can go to clusters that can't be reached."""
    choices = [(free.get(row.cluster.pk, {}).get(key, NOTHING), row) for row in rows if row.is_current]
    most, row = max(choices, key=lambda choice: (choice[0].on_one_node, choice[0].total), default=(NOTHING, None))
    return (row, most) if most.on_one_node > 0 else (None, NOTHING)

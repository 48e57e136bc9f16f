"""Where a run or a deployment may go: the clusters for a form, healthy ones first, with their state and free room."""

from collections.abc import Mapping
from dataclasses import dataclass

from apps.clusters.models import Cluster
from apps.clusters.quantities.sizes import GPU
from apps.clusters.selectors import ClusterRow, Free, free_room, with_sums
from apps.clusters.selectors.free import NOTHING
from apps.clusters.states import ClusterState
from apps.core.text.wording import bytes_text, cpu_text

_ORDER = (ClusterState.HEALTHY, ClusterState.DEGRADED, ClusterState.PENDING, ClusterState.UNREACHABLE)


@dataclass(frozen=True)
class Place:
    """A cluster to choose. `text` says its name, state and free room."""

    name: str
    text: str
    is_healthy: bool


def places() -> list[Place]:
    """The clusters that are enabled: four queries, however many."""
    rows = with_sums(Cluster.objects.filter(enabled=True).order_by("name"))
    free = free_room([row.cluster.pk for row in rows])
    return [_place(row, free.get(row.cluster.pk, {})) for row in sorted(rows, key=_rank)]


def _rank(row: ClusterRow) -> tuple[int, str]:
    cluster = row.cluster
    # Nothing can be launched where the credential is refused, either.
    state = ClusterState.UNREACHABLE if cluster.is_locked_out else ClusterState(cluster.state)
    return _ORDER.index(state), cluster.name


def _place(row: ClusterRow, free: Mapping[str, Free]) -> Place:
    cluster = row.cluster
    state = _room(row, free) if row.is_current else cluster.message or "its room is not known"
    healthy = cluster.state == ClusterState.HEALTHY
    return Place(cluster.name, f"{cluster.name} · {cluster.state} · {state[:120]}", healthy)


def _room(row: ClusterRow, free: Mapping[str, Free]) -> str:
    """The room that one pod could get now. Only the GPUs that a run can ask for are counted."""
    cpu, memory, gpu = (free.get(name, NOTHING).on_one_node for name in ("cpu", "memory", GPU))
    gpus = next((use.capacity.total or 0 for use in row.gpus or () if use.kind == GPU), 0)
    parts = [f"{cpu_text(cpu)} CPU", bytes_text(memory), *([f"{gpu} of {gpus:.0f} GPUs"] if gpus else [])]
    return f"free for one pod: {', '.join(parts)}"

"""Where a run may go: the clusters for the launch form, healthy ones first, each with its state and free room."""

from dataclasses import dataclass

from apps.clusters.models import Cluster
from apps.clusters.selectors import ClusterRow, with_sums
from apps.clusters.states import ClusterState
from apps.core.pages.overview import Capacity
from apps.core.text.wording import bytes_text, cpu_text
from apps.experiments.manifests import GPU

_ORDER = (ClusterState.HEALTHY, ClusterState.DEGRADED, ClusterState.PENDING, ClusterState.UNREACHABLE)


@dataclass(frozen=True)
class Place:
    """A cluster to choose. `text` says its name, state and free room."""

    name: str
    text: str
    is_healthy: bool


def places() -> list[Place]:
    """The clusters that are enabled: three queries, however many."""
    rows = with_sums(Cluster.objects.filter(enabled=True).order_by("name"))
    return [_place(row) for row in sorted(rows, key=_rank)]


def _rank(row: ClusterRow) -> tuple[int, str]:
    cluster = row.cluster
    # Nothing can be launched where the credential is refused, either.
    state = ClusterState.UNREACHABLE if cluster.is_locked_out else ClusterState(cluster.state)
    return _ORDER.index(state), cluster.name


def _place(row: ClusterRow) -> Place:
    cluster = row.cluster
    told = _room(row) if row.is_current else cluster.message or "its room is not known"
    healthy = cluster.state == ClusterState.HEALTHY
    return Place(cluster.name, f"{cluster.name} · {cluster.state} · {told[:120]}", healthy)


def _room(row: ClusterRow) -> str:
    """What nobody has asked for. Only the GPUs that a run can ask for are counted."""
    gpus = next((use.capacity for use in row.gpus if use.kind == GPU), Capacity(asked=0, total=0))
    parts = [f"{cpu_text(_free(row.cpu))} CPU", bytes_text(_free(row.memory))]
    parts += [f"{_free(gpus):.0f} of {gpus.total:.0f} GPUs"] if gpus.total else []
    return f"free: {', '.join(parts)}"


def _free(capacity: Capacity) -> float:
    return max(0.0, (capacity.total or 0) - (capacity.asked or 0))

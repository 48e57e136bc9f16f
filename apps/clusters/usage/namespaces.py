"""The namespaces of a cluster by what they hold and use now, and what they had within a day."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import Count, Max, Min, Q, Sum

from apps.clusters.models import Cluster, Pod
from apps.clusters.selectors.visibility import visibility_of
from apps.clusters.usage import partitions, rollup
from apps.clusters.usage.consumption import hours_text
from apps.clusters.usage.levels import Kind, pieces
from apps.clusters.usage.spending import Period, window_sums
from apps.core.access import Principal
from apps.core.text.names import NAMESPACE_PREFIX

# A pod holds what it asked for from the moment it has a node until it ends.
_HOLDS = ~Q(node_name="") & ~Q(phase__in=["Succeeded", "Failed"])


@dataclass(frozen=True)
class NamespaceRow:
    """A namespace; or, without a name, all those together that the viewer may not know by name (`count` of them).

    CPU in millicores, memory in bytes; `used_*` is None where nothing is measured. Hours are core-hours of 24 hours.
    """

    name: str
    project: str = ""
    pods: int = 0
    asked_cpu_m: int = 0
    used_cpu_m: int | None = None
    asked_memory_b: int = 0
    used_memory_b: int | None = None
    asked_gpu: int = 0
    asked_hours: float = 0.0
    used_hours: float | None = None
    count: int = 1

    @property
    def asked_text(self) -> str:
        """Core-hours requested within a day, for people."""
        return hours_text(self.asked_hours)

    @property
    def used_text(self) -> str:
        """Core-hours used within a day, for people."""
        return hours_text(self.used_hours or 0)

    def __add__(self, other: "NamespaceRow") -> "NamespaceRow":
        return NamespaceRow(
            name=self.name,
            pods=self.pods + other.pods,
            asked_cpu_m=self.asked_cpu_m + other.asked_cpu_m,
            used_cpu_m=_sum(self.used_cpu_m, other.used_cpu_m),
            asked_memory_b=self.asked_memory_b + other.asked_memory_b,
            used_memory_b=_sum(self.used_memory_b, other.used_memory_b),
            asked_gpu=self.asked_gpu + other.asked_gpu,
            asked_hours=self.asked_hours + other.asked_hours,
            used_hours=_sum(self.used_hours, other.used_hours),
            count=self.count + other.count,
        )


def namespaces_of(cluster: Cluster, principal: Principal, now: datetime | None = None) -> list[NamespaceRow]:
    """The namespaces that hold something, or had something within a day, the largest first; what the caller may not
    name is one row at the end.

    At most five queries.
    """
    sight = visibility_of(principal)
    had = _had(cluster, now or partitions.clock())
    named, hidden = [], NamespaceRow("", count=0)
    for row, other in _rows(_held(cluster), had):
        # A namespace that two projects share is named to who sees both.
        if sight.allows(row.project) and sight.allows(other or row.project):
            named.append(row)
        else:
            hidden += row
    named.sort(key=lambda row: (-row.asked_cpu_m, -row.asked_memory_b, -row.asked_hours, row.name))
    return [*named, hidden] if hidden.count else named


def _rows(held: Iterable[Mapping[str, Any]], had: dict[str, NamespaceRow]) -> Iterator[tuple[NamespaceRow, str]]:
    """The rows, each with the other project that it belongs to, if any."""
    ended = dict(had)
    for row in held:
        past = ended.pop(row["namespace"], NamespaceRow(row["namespace"]))
        yield _row(row, past), row["other"] or ""
    for past in ended.values():
        if past.asked_hours or past.used_hours:
            yield past, ""


def _held(cluster: Cluster) -> Iterable[Mapping[str, Any]]:
    ours = ~Q(project="")
    by_namespace = Pod.objects.present().filter(_HOLDS, cluster=cluster).order_by().values("namespace")
    return by_namespace.annotate(
        owner=Max("project"),
        other=Min("project", filter=ours),
        pods=Count("id"),
        asked_cpu=Sum("requests_cpu_m"),
        used_cpu=Sum("used_cpu_m"),
        asked_memory=Sum("requests_memory_b"),
        used_memory=Sum("used_memory_b"),
        asked_gpu=Sum("requests_gpu"),
    )


def _had(cluster: Cluster, now: datetime) -> dict[str, NamespaceRow]:
    """The consumption of namespaces within a day, by their names, also of those that are deleted."""
    parts = pieces(Period.DAY.start(now), now, rollup.marks(now))
    if not parts:
        return {}
    sums, values = window_sums(parts)
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH wanted AS MATERIALIZED (SELECT id, name, project FROM clusters_usageseries "  # noqa: S608 - our own words
            f"WHERE cluster_id = %s AND kind = %s), sums AS ({sums}) "
            "SELECT w.name, max(w.project), sum(asked_cpu) / 3600000, sum(used_cpu) / 3600000 "
            "FROM sums JOIN wanted w ON w.id = series_id GROUP BY 1",
            [cluster.pk, Kind.NAMESPACE.value, *values],
        )
        return {
            name: NamespaceRow(name, project or _owner(name), asked_hours=asked, used_hours=used)
            for name, project, asked, used in cursor.fetchall()
        }


def _row(row: Mapping[str, Any], past: NamespaceRow) -> NamespaceRow:
    return replace(
        past,
        project=row["owner"] or _owner(row["namespace"]),
        pods=row["pods"],
        asked_cpu_m=row["asked_cpu"],
        used_cpu_m=row["used_cpu"],
        asked_memory_b=row["asked_memory"],
        used_memory_b=row["used_memory"],
        asked_gpu=row["asked_gpu"],
    )


def _owner(namespace: str) -> str:
    return namespace.removeprefix(NAMESPACE_PREFIX) if namespace.startswith(NAMESPACE_PREFIX) else ""


def _sum(a: Any, b: Any) -> Any:
    return b if a is None else a if b is None else a + b

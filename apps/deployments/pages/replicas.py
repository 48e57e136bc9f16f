"""The replicas of a deployment in groups: of a revision, on a cluster or on a node. Pure."""

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from apps.deployments.pages.rows import ReplicaRow


class By(enum.StrEnum):
    """What replicas are grouped by."""

    REVISION = "revision"
    CLUSTER = "cluster"
    NODE = "node"

    @property
    def label(self) -> str:
        """As people see it."""
        return self.value.capitalize()


@dataclass(frozen=True)
class Group:
    """Replicas that have something in common: what it is, and where, if that is not clear."""

    title: str
    note: str
    rows: list[ReplicaRow]

    @property
    def ready(self) -> str:
        """ "2 of 3 ready"."""
        return f"{sum(row.pod.ready for row in self.rows)} of {len(self.rows)} ready"


def parse_by(text: str) -> By:
    """What an address asks for; revisions where it says nothing that is known."""
    return By(text) if text in set(By) else By.REVISION


def groups_of(rows: Iterable[ReplicaRow], by: By, clusters: Mapping[int, str]) -> list[Group]:
    """The rows in groups: revisions as the rows come, clusters and nodes by their names. `clusters`: names by keys."""
    groups: dict[tuple[str, str], list[ReplicaRow]] = {}
    for row in rows:
        groups.setdefault(_key(row, by, clusters), []).append(row)
    keys = list(groups) if by is By.REVISION else sorted(groups)
    return [Group(title, note, groups[title, note]) for title, note in keys]


def _key(row: ReplicaRow, by: By, clusters: Mapping[int, str]) -> tuple[str, str]:
    cluster = clusters.get(row.pod.cluster_id, "")
    if by is By.CLUSTER:
        return cluster, ""
    if by is By.NODE:
        return row.pod.node_name or "On no node yet", f"on {cluster}" if len(clusters) > 1 else ""
    return f"Revision {row.pod.revision or '?'}", ""

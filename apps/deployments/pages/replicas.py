"""The replicas of a deployment in groups: of a revision, on a cluster or on a node. Pure."""

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apps.deployments.pages.ready import LAST_SEEN
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
    # How many of all are ready, where the rows are not all.
    of_all: tuple[int, int] | None = None

    @property
    def ready(self) -> str:
        """ "2 of 3 ready", and whether that is only as last seen."""
        ready, count = self.of_all or (sum(row.pod.ready for row in self.rows), len(self.rows))
        if not any(row.stale for row in self.rows):
            return f"{ready} of {count} ready"
        how = f" {LAST_SEEN}" if all(row.stale for row in self.rows) else ", in part as last seen"
        return f"{ready} of {count} ready{how}"


def parse_by(text: str) -> By:
    """What an address asks for; revisions where it says nothing that is known."""
    return By(text) if text in set(By) else By.REVISION


def groups_of(
    rows: Iterable[ReplicaRow],
    by: By,
    clusters: Mapping[int, str],
    counts: Sequence[Mapping[str, Any]] = (),
) -> list[Group]:
    """The rows in groups: revisions as the rows come, clusters and nodes by their names. `clusters`: names by keys.

    Where the rows are not all there are, `counts` are of all (`selectors.counts_of`). A revision or a cluster none of
    whose replicas is among the rows is a group without any; such a node is none.
    """
    groups: dict[tuple[str, str], list[ReplicaRow]] = {}
    for row in rows:
        key = _key(row.pod.revision, row.pod.cluster_id, row.pod.node_name, by, clusters)
        groups.setdefault(key, []).append(row)
    of_all: dict[tuple[str, str], tuple[int, int]] = {}
    for count in counts:
        key = _key(count["revision"], count["cluster_id"], count["node_name"], by, clusters)
        ready, every = of_all.get(key, (0, 0))
        of_all[key] = ready + count["well"], every + count["every"]
        if by is not By.NODE:
            groups.setdefault(key, [])
    keys = list(groups) if by is By.REVISION else sorted(groups)
    return [Group(title, note, groups[title, note], of_all.get((title, note))) for title, note in keys]


def _key(revision: object, cluster_id: int, node: str, by: By, clusters: Mapping[int, str]) -> tuple[str, str]:
    cluster = clusters.get(cluster_id, "")
    if by is By.CLUSTER:
        return cluster, ""
    if by is By.NODE:
        return node or "On no node yet", f"on {cluster}" if len(clusters) > 1 else ""
    return f"Revision {revision or '?'}", ""

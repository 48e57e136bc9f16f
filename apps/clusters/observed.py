"""Writes what was observed: many rows by one statement, and only while the writer still holds the cluster."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import DataError, IntegrityError, connection, transaction

from apps.clusters.manifests import NAMESPACE_PREFIX
from apps.clusters.models import Node, Pod
from apps.clusters.routing import Changed
from apps.clusters.rows import Row
from apps.clusters.usage import sampling

logger = logging.getLogger(__name__)


class LeaseLost(Exception):
    """Another watcher holds the cluster now: stop, and write nothing."""


@dataclass(frozen=True)
class _Table:
    """A table that the watcher fills: its columns with their SQL types, and which of them tell that a row changed."""

    name: str
    kind: str
    columns: dict[str, str]
    compared: tuple[str, ...]

    def upsert(self) -> str:
        """INSERT … ON CONFLICT that returns only rows that are new or differ."""
        names = ", ".join(self.columns)
        typed = ", ".join(f"{name} {kind}" for name, kind in self.columns.items())
        sets = ", ".join(f"{name} = EXCLUDED.{name}" for name in self.columns if name != "uid")
        old = ", ".join(f"t.{name}" for name in self.compared)
        new = ", ".join(f"EXCLUDED.{name}" for name in self.compared)
        return (
            f"INSERT INTO {self.name} AS t (cluster_id, {names}) "  # noqa: S608 - names are constants of this module
            f"SELECT %s, {names} FROM jsonb_to_recordset(%s::jsonb) AS r({typed}) "
            f"ON CONFLICT (cluster_id, uid) DO UPDATE SET {sets} WHERE ({old}) IS DISTINCT FROM ({new}) RETURNING uid"
        )


_TEXT = "text"
_NODES = _Table(
    "clusters_node",
    "Node",
    {
        **dict.fromkeys(("uid", "resource_version", "name", "health", "reason", "message", "kubelet_version"), _TEXT),
        **dict.fromkeys(("labels", "conditions", "taints", "allocatable_gpus", "capacity"), "jsonb"),
        **dict.fromkeys(("ready", "schedulable"), "boolean"),
        **dict.fromkeys(("allocatable_cpu_m", "allocatable_memory_b"), "bigint"),
        **dict.fromkeys(("allocatable_gpu", "allocatable_pods"), "integer"),
        **dict.fromkeys(("created_at", "observed_at"), "timestamptz"),
    },
    ("resource_version", "health", "reason"),
)
_PODS = _Table(
    "clusters_pod",
    "Pod",
    {
        **dict.fromkeys(
            (
                *("uid", "resource_version", "namespace", "name", "project", "run", "deployment", "revision"),
                *("owner_kind", "owner_name", "node_name", "pod_ip", "phase", "health", "reason", "message"),
            ),
            _TEXT,
        ),
        **dict.fromkeys(("labels", "status", "requests_gpus"), "jsonb"),
        "ready": "boolean",
        **dict.fromkeys(("restarts", "exit_code", "requests_gpu"), "integer"),
        **dict.fromkeys(("requests_cpu_m", "requests_memory_b"), "bigint"),
        **dict.fromkeys(("created_at", "started_at", "ended_at", "deleted_at", "observed_at"), "timestamptz"),
    },
    ("resource_version", "health", "reason", "deleted_at"),
)
_EVENTS = _Table(
    "clusters_kubeevent",
    "Event",
    {
        **dict.fromkeys(("uid", "resource_version", "namespace", "involved_kind", "involved_name"), _TEXT),
        **dict.fromkeys(("involved_uid", "project", "type", "reason", "message", "source"), _TEXT),
        "count": "integer",
        **dict.fromkeys(("first_at", "last_at"), "timestamptz"),
    },
    ("resource_version",),
)


@dataclass
class Batch:
    """Rows by uid to write together. `present` maps a kind to the uids that a complete list had: others are gone."""

    nodes: dict[str, Row] = field(default_factory=dict)
    deleted_nodes: set[str] = field(default_factory=set)
    pods: dict[str, Row] = field(default_factory=dict)
    events: dict[str, Row] = field(default_factory=dict)
    present: dict[str, set[str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.nodes or self.deleted_nodes or self.pods or self.events or self.present)


@dataclass(frozen=True)
class Written:
    """What really changed: objects for the routes, objects that events speak of, and whether pages need a hint."""

    changes: list[Changed]
    spoken_of: list[Changed]
    anything: bool


def write(cluster_id: int, fencing: int, batch: Batch) -> Written:
    """Store a batch in one transaction. Raises LeaseLost when `fencing` is no longer the cluster's."""
    try:
        with transaction.atomic():
            return _write(cluster_id, fencing, batch)
    except (DataError, IntegrityError):
        # One object that Postgres can't hold must not keep the others out for ever: find it and leave it out.
        logger.warning("cluster %s: a batch is not acceptable; writing it row by row", cluster_id)
        with transaction.atomic():
            return _write(cluster_id, fencing, batch, one_by_one=True)


def write_usage(cluster_id: int, fencing: int, nodes: Sequence[Row], pods: Sequence[Row]) -> bool:
    """Store used CPU and memory and sample them; True when any value changed. Both are empty without a metrics-server:
    then only what pods ask for is sampled."""
    changed = 0
    with transaction.atomic():
        hold(cluster_id, fencing)
        for table, rows, match in (
            ("clusters_node", nodes, "t.name = r.name"),
            ("clusters_pod", pods, "t.name = r.name AND t.namespace = r.namespace AND t.deleted_at IS NULL"),
        ):
            with connection.cursor() as cursor:
                cursor.execute(
                    f"UPDATE {table} t SET used_cpu_m = r.cpu, used_memory_b = r.memory "  # noqa: S608 - constants
                    "FROM jsonb_to_recordset(%s::jsonb) AS r(namespace text, name text, cpu bigint, memory bigint) "
                    f"WHERE t.cluster_id = %s AND {match} "
                    "AND (t.used_cpu_m, t.used_memory_b) IS DISTINCT FROM (r.cpu, r.memory)",
                    [_json(rows), cluster_id],
                )
                changed += cursor.rowcount
        sampling.record(cluster_id, nodes, pods)
    return changed > 0


def forget_usage(cluster_id: int, fencing: int) -> None:
    """Clear used CPU and memory: better nothing than figures of a metrics-server that is gone."""
    with transaction.atomic():
        hold(cluster_id, fencing)
        for table in ("clusters_node", "clusters_pod"):
            with connection.cursor() as cursor:
                cursor.execute(
                    f"UPDATE {table} SET used_cpu_m = NULL, used_memory_b = NULL "  # noqa: S608 - constants
                    "WHERE cluster_id = %s AND (used_cpu_m IS NOT NULL OR used_memory_b IS NOT NULL)",
                    [cluster_id],
                )


def hold(cluster_id: int, fencing: int) -> None:
    """Keep the lease from changing hands until the transaction ends. Raises LeaseLost when it has."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM clusters_watcherlease WHERE cluster_id = %s AND fencing = %s AND expires_at > now() "
            "FOR SHARE",
            [cluster_id, fencing],
        )
        if cursor.fetchone() is None:
            raise LeaseLost(f"cluster {cluster_id} has another watcher than #{fencing}")


def _write(cluster_id: int, fencing: int, batch: Batch, *, one_by_one: bool = False) -> Written:
    hold(cluster_id, fencing)
    nodes = _upsert(_NODES, cluster_id, batch.nodes, one_by_one)
    gone_nodes = _delete_nodes(cluster_id, batch)
    pods = _upsert(_PODS, cluster_id, batch.pods, one_by_one)
    changes = [_changed(batch.pods[uid]) for uid in pods]
    if "Pod" in batch.present:
        changes += _prune_pods(cluster_id, batch.present["Pod"])
    _name_projects(cluster_id, batch.events)
    events = _upsert(_EVENTS, cluster_id, batch.events, one_by_one)
    spoken_of = _labels_of(cluster_id, [batch.events[uid]["involved_uid"] for uid in events])
    return Written(changes, spoken_of, bool(nodes or gone_nodes or changes or events))


def _upsert(table: _Table, cluster_id: int, rows: dict[str, Row], one_by_one: bool) -> list[str]:
    if not rows:
        return []
    if not one_by_one:
        return _execute(table.upsert(), [cluster_id, _json(list(rows.values()))])
    changed: list[str] = []
    for uid, row in rows.items():
        try:
            with transaction.atomic():
                changed += _execute(table.upsert(), [cluster_id, _json([row])])
        except (DataError, IntegrityError) as error:
            logger.error("cluster %s: %s %s can't be stored: %s", cluster_id, table.kind, uid, type(error).__name__)
    return changed


def _delete_nodes(cluster_id: int, batch: Batch) -> int:
    gone = 0
    if batch.deleted_nodes:
        gone += Node.objects.filter(cluster_id=cluster_id, uid__in=batch.deleted_nodes).delete()[0]
    if "Node" in batch.present:
        gone += Node.objects.filter(cluster_id=cluster_id).exclude(uid__in=batch.present["Node"]).delete()[0]
    return gone


def _prune_pods(cluster_id: int, present: set[str]) -> list[Changed]:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE clusters_pod SET deleted_at = now(), ready = false "
            "WHERE cluster_id = %s AND deleted_at IS NULL AND NOT (uid = ANY(%s)) RETURNING namespace, name, labels",
            [cluster_id, list(present)],
        )
        found = cursor.fetchall()
    return [Changed("Pod", namespace, name, _loaded(labels), deleted=True) for namespace, name, labels in found]


def _name_projects(cluster_id: int, events: dict[str, Row]) -> None:
    """Say whose events these are: by the pod that they speak of, by the namespace's name, or by our pods in it.

    Two queries at most; an event of nobody's namespace stays without a project, for administrators only.
    """
    if not events:
        return
    pods = Pod.objects.filter(cluster_id=cluster_id)
    by_uid = dict(pods.filter(uid__in={row["involved_uid"] for row in events.values()}).values_list("uid", "project"))
    for row in events.values():
        row["project"] = by_uid.get(row["involved_uid"], "") or _project_of_namespace(row["namespace"])
    unknown = {row["namespace"] for row in events.values() if not row["project"]}
    if not unknown:
        return
    pairs = pods.filter(namespace__in=unknown).exclude(project="").order_by().values_list("namespace", "project")
    owners: dict[str, set[str]] = {}
    for namespace, project in pairs.distinct():
        owners.setdefault(namespace, set()).add(project)
    for row in events.values():
        shared = owners.get(row["namespace"], set())
        if not row["project"] and len(shared) == 1:
            row["project"] = next(iter(shared))


def _project_of_namespace(namespace: str) -> str:
    return namespace.removeprefix(NAMESPACE_PREFIX) if namespace.startswith(NAMESPACE_PREFIX) else ""


def _labels_of(cluster_id: int, uids: Sequence[str]) -> list[Changed]:
    if not uids:
        return []
    pods = Pod.objects.filter(cluster_id=cluster_id, uid__in=uids).exclude(project="")
    return [Changed("Pod", *found) for found in pods.values_list("namespace", "name", "labels")]


def _execute(statement: str, parameters: list[Any]) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return [row[0] for row in cursor.fetchall()]


def _changed(row: Row) -> Changed:
    return Changed("Pod", row["namespace"], row["name"], row["labels"], deleted=row["deleted_at"] is not None)


def _json(rows: Sequence[Row]) -> str:
    # Postgres has no NUL in texts; a container's message may.
    return json.dumps(rows).replace("\\u0000", "")


def _loaded(value: Any) -> dict[str, str]:
    found: dict[str, str] = json.loads(value) if isinstance(value, str) else value
    return found

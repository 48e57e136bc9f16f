"""Writes what was observed: rows of many clusters by one statement, and only of clusters that the writer holds."""

import json
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import DataError, IntegrityError, connection, transaction

from apps.clusters.observed.interests import Changed
from apps.clusters.observed.rows import WORKLOAD_KINDS, Row
from apps.clusters.observed.tables import EVENTS, NODES, PODS, WORKLOADS, Table
from apps.clusters.usage import sampling
from apps.core.text.jsontext import storable
from apps.core.text.names import NAMESPACE_PREFIX

logger = logging.getLogger(__name__)

# A writer may leave a transaction open this long without a statement before Postgres ends its session.
STOPPED_AFTER = "5s"
STATEMENT_LIMIT = "30s"
# (cluster, uid) names a row of any of these tables.
Key = tuple[int, str]


class LeaseLost(Exception):
    """Another watcher holds the cluster now: stop, and write nothing."""


@dataclass
class Batch:
    """Rows of one cluster by uid, to be written together.

    `present` maps a kind to the uids that a complete list had: others are gone. `deleted` maps a kind to the uids of
    rows that go; pods stay for a while, marked as deleted.
    """

    nodes: dict[str, Row] = field(default_factory=dict)
    pods: dict[str, Row] = field(default_factory=dict)
    workloads: dict[str, Row] = field(default_factory=dict)
    events: dict[str, Row] = field(default_factory=dict)
    deleted: dict[str, set[str]] = field(default_factory=dict)
    present: dict[str, set[str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.nodes or self.pods or self.workloads or self.events or self.deleted or self.present)

    def __len__(self) -> int:
        return len(self.nodes) + len(self.pods) + len(self.workloads) + len(self.events)


@dataclass
class Written:
    """The real changes on one cluster: objects for the routes, objects that are only worth a hint, and whether
    pages need one. `refused` rows are left out, since Postgres can't hold them."""

    changes: list[Changed] = field(default_factory=list)
    spoken_of: list[Changed] = field(default_factory=list)
    anything: bool = False
    refused: int = 0


def write(cluster_id: int, fencing: int, batch: Batch) -> Written:
    """Store one cluster's batch. Raises LeaseLost when `fencing` is no longer the cluster's."""
    written = write_many({cluster_id: (fencing, batch)}).get(cluster_id)
    if written is None:
        raise LeaseLost(f"cluster {cluster_id} has another watcher than #{fencing}")
    return written


def write_many(batches: Mapping[int, tuple[int, Batch]]) -> dict[int, Written]:
    """Store the batches of many clusters, {cluster: (fencing number, batch)}, in one transaction.

    A cluster that the writer no longer holds is not in the answer, and nothing of it is written.
    """
    try:
        with transaction.atomic():
            return _write(batches)
    except (DataError, IntegrityError):
        # One object that Postgres can't hold must not keep the others out for ever: find it and leave it out.
        logger.warning("a batch of %d clusters is not acceptable; writing it row by row", len(batches))
        with transaction.atomic():
            return _write(batches, one_by_one=True)


def write_usage(cluster_id: int, fencing: int, nodes: Sequence[Row], pods: Sequence[Row]) -> bool:
    """Store used CPU and memory, forget those that are no longer measured, and sample; True when any value changed.
    Both are empty without a metrics-server: then only what pods ask for is sampled."""
    changed = 0
    with transaction.atomic():
        hold(cluster_id, fencing)
        for table, rows, match in (
            ("clusters_node", nodes, "t.name = r.name"),
            ("clusters_pod", pods, "t.name = r.name AND t.namespace = r.namespace AND t.deleted_at IS NULL"),
        ):
            changed += _write_used(table, cluster_id, rows, match) if rows else 0
        sampling.record(cluster_id, nodes, pods)
    return changed > 0


def _write_used(table: str, cluster_id: int, rows: Sequence[Row], match: str) -> int:
    measured = "jsonb_to_recordset(%s::jsonb) AS r(namespace text, name text, cpu bigint, memory bigint)"
    matched = f"SELECT t.id, r.cpu, r.memory FROM {table} t LEFT JOIN {measured} ON {match} WHERE t.cluster_id = %s"  # noqa: S608 - constants
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {table} u SET used_cpu_m = s.cpu, used_memory_b = s.memory FROM ({matched}) s "  # noqa: S608 - constants
            "WHERE u.id = s.id AND (u.used_cpu_m, u.used_memory_b) IS DISTINCT FROM (s.cpu, s.memory)",
            [storable(rows), cluster_id],
        )
        return int(cursor.rowcount)


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
    if not hold_many({cluster_id: fencing}):
        raise LeaseLost(f"cluster {cluster_id} has another watcher than #{fencing}")


def hold_many(fencing: Mapping[int, int]) -> set[int]:
    """Keep the leases {cluster: fencing number} from changing hands until the transaction ends; returns those held.

    FOR KEY SHARE stands in the way of whoever takes a lease over (FOR UPDATE), not of its renewal; where somebody is
    just taking it, or removes the cluster, it counts as lost, and the other clusters need not wait. A process that is
    stopped in mid-transaction must not keep its successor out: Postgres ends its session, and with it the lock.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT cluster_id, set_config('idle_in_transaction_session_timeout', %s, true), "
            "set_config('statement_timeout', %s, true) "
            "FROM clusters_watcherlease "
            "WHERE (cluster_id, fencing) IN (SELECT * FROM unnest(%s::bigint[], %s::bigint[])) AND expires_at > now() "
            "ORDER BY cluster_id FOR KEY SHARE SKIP LOCKED",
            [STOPPED_AFTER, STATEMENT_LIMIT, list(fencing), list(fencing.values())],
        )
        return {row[0] for row in cursor.fetchall()}


def _write(batches: Mapping[int, tuple[int, Batch]], *, one_by_one: bool = False) -> dict[int, Written]:
    held = hold_many({pk: fencing for pk, (fencing, _) in batches.items()})
    ours = {pk: batch for pk, (_, batch) in batches.items() if pk in held}
    written = {pk: Written() for pk in ours}
    _forget("clusters_node", ours, "Node")
    for pk, _ in _upsert(NODES, {pk: batch.nodes for pk, batch in ours.items()}, written, one_by_one):
        written[pk].anything = True
    _write_pods(ours, written, one_by_one)
    _write_workloads(ours, written, one_by_one)
    _write_events(ours, written, one_by_one)
    for pk, batch in ours.items():
        outcome = written[pk]
        gone = batch.deleted.get("Node") or "Node" in batch.present
        outcome.anything = bool(outcome.anything or outcome.changes or outcome.spoken_of or gone)
    return written


def _write_pods(ours: Mapping[int, Batch], written: Mapping[int, Written], one_by_one: bool) -> None:
    for pk, uid in _upsert(PODS, {pk: batch.pods for pk, batch in ours.items()}, written, one_by_one):
        row = ours[pk].pods[uid]
        deleted = row["deleted_at"] is not None
        written[pk].changes.append(Changed("Pod", row["namespace"], row["name"], row["labels"], deleted=deleted))
    for pk, batch in ours.items():
        if "Pod" in batch.present:
            written[pk].changes += _prune_pods(pk, batch.present["Pod"])


def _write_workloads(ours: Mapping[int, Batch], written: Mapping[int, Written], one_by_one: bool) -> None:
    left: list[tuple[int, str, str]] = []
    for kind in WORKLOAD_KINDS:
        for pk, namespace, name, labels, target in _forget(
            "clusters_workload", ours, kind, "status #>> '{target,name}'"
        ):
            written[pk].changes.append(Changed(kind, namespace, name, labels, deleted=True))
            left += [(pk, namespace, target)] if target else []
    for pk, namespace, name, labels in _deployments(left):
        # Its autoscaler is gone, which changes nothing in itself, and is perhaps of nobody's that we know.
        written[pk].changes.append(Changed("Deployment", namespace, name, _loaded(labels)))
    for pk, uid in _upsert(WORKLOADS, {pk: batch.workloads for pk, batch in ours.items()}, written, one_by_one):
        row = ours[pk].workloads[uid]
        change = Changed(row["kind"], row["namespace"], row["name"], row["labels"])
        # An autoscaler's effect shows in its Deployment, which wakes: its own figures change every 15 s.
        quiet = row["kind"] in ("HorizontalPodAutoscaler", "ScaledObject")
        (written[pk].spoken_of if quiet else written[pk].changes).append(change)


def _write_events(ours: Mapping[int, Batch], written: Mapping[int, Written], one_by_one: bool) -> None:
    events = {(pk, uid): row for pk, batch in ours.items() for uid, row in batch.events.items()}
    if not events:
        return
    _name_projects(events)
    stored = _upsert(EVENTS, {pk: batch.events for pk, batch in ours.items()}, written, one_by_one)
    for pk, _ in stored:
        written[pk].anything = True
    about = {(pk, events[pk, uid]["involved_uid"]) for pk, uid in stored}
    for pk, namespace, name, labels in _of_pods("namespace, name, labels", "project <> ''", about):
        written[pk].spoken_of.append(Changed("Pod", namespace, name, _loaded(labels)))


def _upsert(
    table: Table, rows: Mapping[int, Mapping[str, Row]], written: Mapping[int, Written], one_by_one: bool
) -> list[Key]:
    complete = [row | {"cluster_id": pk} for pk, of_cluster in rows.items() for row in of_cluster.values()]
    if not complete:
        return []
    if not one_by_one:
        return _execute(table.upsert(), [storable(complete)])
    changed: list[Key] = []
    for row in complete:
        try:
            with transaction.atomic():
                changed += _execute(table.upsert(), [storable([row])])
        except (DataError, IntegrityError) as error:
            written[row["cluster_id"]].refused += 1
            subject = f"{table.name} {row['uid']} of cluster {row['cluster_id']}"
            logger.error("%s can't be stored: %s", subject, type(error).__name__)
    return changed


def _forget(table: str, ours: Mapping[int, Batch], kind: str, more: str = "NULL") -> list[tuple[Any, ...]]:
    """Delete rows of a kind that are gone: (cluster, namespace, name, labels, more) of each."""
    pairs = [(pk, uid) for pk, batch in ours.items() for uid in batch.deleted.get(kind, ())]
    of_kind, namespace = ("", "''") if table == "clusters_node" else (f"kind = '{kind}' AND ", "namespace")
    returned = f"RETURNING cluster_id, {namespace}, name, labels, {more}"
    gone: list[Any] = []
    if pairs:
        statement = (
            f"DELETE FROM {table} WHERE {of_kind}"  # noqa: S608 - constants
            f"(cluster_id, uid) IN (SELECT * FROM unnest(%s::bigint[], %s::text[])) {returned}"
        )
        gone += _execute(statement, _columns(pairs))
    for pk, batch in ours.items():
        if kind in batch.present:
            where = f"{of_kind}cluster_id = %s AND NOT (uid = ANY(%s))"
            parameters = [pk, list(batch.present[kind])]
            gone += _execute(f"DELETE FROM {table} WHERE {where} {returned}", parameters)  # noqa: S608 - constants
    return [(pk, space, name, _loaded(labels), also) for pk, space, name, labels, also in gone]


def _deployments(named: Collection[tuple[int, str, str]]) -> list[Any]:
    """(cluster, namespace, name, labels) of our Deployments among these."""
    statement = (
        "SELECT cluster_id, namespace, name, labels FROM clusters_workload WHERE kind = 'Deployment' AND project <> '' "
        "AND (cluster_id, namespace, name) IN (SELECT * FROM unnest(%s::bigint[], %s::text[], %s::text[]))"
    )
    return _execute(statement, [list(column) for column in zip(*named, strict=True)]) if named else []


def _prune_pods(cluster_id: int, present: set[str]) -> list[Changed]:
    pruned = _execute(
        "UPDATE clusters_pod SET deleted_at = now(), ready = false "
        "WHERE cluster_id = %s AND deleted_at IS NULL AND NOT (uid = ANY(%s)) RETURNING namespace, name, labels",
        [cluster_id, list(present)],
    )
    return [Changed("Pod", namespace, name, _loaded(labels), deleted=True) for namespace, name, labels in pruned]


def _name_projects(events: Mapping[Key, Row]) -> None:
    """Say whose events these are: by the pod that they speak of, by the namespace's name, or by our pods in it.

    Two queries at most; an event of nobody's namespace stays without a project, for administrators only.
    """
    about = {(pk, row["involved_uid"]) for (pk, _), row in events.items()}
    by_uid = {(pk, uid): project for pk, uid, project in _of_pods("uid, project", "true", about)}
    for (pk, _), row in events.items():
        row["project"] = by_uid.get((pk, row["involved_uid"]), "") or _project_of_namespace(row["namespace"])
    unknown = {(pk, row["namespace"]) for (pk, _), row in events.items() if not row["project"]}
    if not unknown:
        return
    owners: dict[Key, set[str]] = {}
    for pk, namespace, project in _execute(
        "SELECT DISTINCT cluster_id, namespace, project FROM clusters_pod WHERE project <> '' "
        "AND (cluster_id, namespace) IN (SELECT * FROM unnest(%s::bigint[], %s::text[]))",
        _columns(unknown),
    ):
        owners.setdefault((pk, namespace), set()).add(project)
    for (pk, _), row in events.items():
        shared = owners.get((pk, row["namespace"]), set())
        if not row["project"] and len(shared) == 1:
            row["project"] = next(iter(shared))


def _project_of_namespace(namespace: str) -> str:
    return namespace.removeprefix(NAMESPACE_PREFIX) if namespace.startswith(NAMESPACE_PREFIX) else ""


def _of_pods(columns: str, condition: str, keys: Iterable[Key]) -> list[Any]:
    """Columns of the pods with these keys, after the cluster's id."""
    return _execute(
        f"SELECT cluster_id, {columns} FROM clusters_pod WHERE {condition} "  # noqa: S608 - constants
        "AND (cluster_id, uid) IN (SELECT * FROM unnest(%s::bigint[], %s::text[]))",
        _columns(keys),
    )


def _columns(keys: Iterable[Key]) -> list[Any]:
    pairs = list(keys)
    return [[pk for pk, _ in pairs], [text for _, text in pairs]]


def _execute(statement: str, parameters: list[Any]) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())


def _loaded(value: Any) -> dict[str, str]:
    labels: dict[str, str] = json.loads(value) if isinstance(value, str) else value
    return labels

"""The tables that the watcher fills, and the one statement that writes many rows of each."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """A table that the watcher fills: its columns with their SQL types, and which of them tell that a row changed."""

    name: str
    columns: dict[str, str]
    compared: tuple[str, ...]

    def upsert(self) -> str:
        """INSERT … ON CONFLICT that returns only rows that are new or differ."""
        names = ", ".join(self.columns)
        typed = ", ".join(f"{name} {kind}" for name, kind in self.columns.items())
        sets = ", ".join(f"{name} = EXCLUDED.{name}" for name in self.columns if name not in {"uid", "cluster_id"})
        old = ", ".join(f"t.{name}" for name in self.compared)
        new = ", ".join(f"EXCLUDED.{name}" for name in self.compared)
        known = ", ".join(f"o.{name}" for name in self.compared)
        came = ", ".join(f"r.{name}" for name in self.compared)
        # A list repeats mostly what is known: such rows are left out before the INSERT, which would lock each of them.
        # In one order always: two writers that take the same rows in different orders would block each other.
        return (
            f"INSERT INTO {self.name} AS t ({names}) "  # noqa: S608 - names are constants of this module
            f"SELECT {names} FROM jsonb_to_recordset(%s::jsonb) AS r({typed}) "
            f"WHERE NOT EXISTS (SELECT 1 FROM {self.name} o WHERE o.cluster_id = r.cluster_id AND o.uid = r.uid "
            f"AND ({known}) IS NOT DISTINCT FROM ({came})) ORDER BY cluster_id, uid "
            f"ON CONFLICT (cluster_id, uid) DO UPDATE SET {sets} WHERE ({old}) IS DISTINCT FROM ({new}) "
            "RETURNING cluster_id, uid"
        )


_TEXT = "text"
NODES = Table(
    "clusters_node",
    {
        "cluster_id": "bigint",
        **dict.fromkeys(("uid", "resource_version", "name", "health", "reason", "message", "kubelet_version"), _TEXT),
        **dict.fromkeys(("labels", "conditions", "taints", "allocatable_gpus", "capacity"), "jsonb"),
        **dict.fromkeys(("ready", "schedulable"), "boolean"),
        **dict.fromkeys(("allocatable_cpu_m", "allocatable_memory_b"), "bigint"),
        **dict.fromkeys(("allocatable_gpu", "allocatable_pods"), "integer"),
        **dict.fromkeys(("created_at", "observed_at"), "timestamptz"),
    },
    ("resource_version", "health", "reason"),
)
PODS = Table(
    "clusters_pod",
    {
        "cluster_id": "bigint",
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
    # The same object may be told in other words after an upgrade.
    ("resource_version", "health", "reason", "message", "deleted_at"),
)
WORKLOADS = Table(
    "clusters_workload",
    {
        "cluster_id": "bigint",
        **dict.fromkeys(("uid", "resource_version", "kind", "namespace", "name", "project"), _TEXT),
        **dict.fromkeys(("owner_kind", "owner_name", "health", "reason", "message"), _TEXT),
        **dict.fromkeys(("labels", "status"), "jsonb"),
        **dict.fromkeys(("wanted", "ready"), "integer"),
        **dict.fromkeys(("created_at", "observed_at"), "timestamptz"),
    },
    ("resource_version", "health", "reason"),
)
EVENTS = Table(
    "clusters_kubeevent",
    {
        "cluster_id": "bigint",
        **dict.fromkeys(("uid", "resource_version", "namespace", "involved_kind", "involved_name"), _TEXT),
        **dict.fromkeys(("involved_uid", "project", "type", "reason", "message", "source"), _TEXT),
        "count": "integer",
        "written": "bigint",
        **dict.fromkeys(("first_at", "last_at"), "timestamptz"),
    },
    ("resource_version",),
)

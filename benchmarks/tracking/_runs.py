"""Many runs of both servers, the same ones: ten params, ten metrics and five tags each.

The rows are written past both programs, and the indexes of the large tables are made anew when the rows are there: that
takes a third of the time.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

# A number from 0 to 1 out of two others, the same on both sides.
_CHANCE = "(('x' || substr(md5({run} || '/' || {key}), 1, 8))::bit(32)::bigint & 2147483647) / 2147483647.0"
_UID = "md5('run ' || n)"
_BEGAN = 1_700_000_000
_VALUES = {
    "metric": ("generate_series(0, 9)", "'m' || k", _CHANCE.format(run="n", key="k")),
    "param": ("generate_series(0, 9)", "'p' || k", "((n * (k + 3)) % 10)::text"),
    "tag": ("generate_series(0, 4)", "'t' || k", "chr(97 + (n / (k + 1) % 5)::int)"),
}
_INDEXES = """
SELECT format('ALTER TABLE %%s DROP CONSTRAINT %%I', conrelid::regclass, conname),
  format('ALTER TABLE %%s ADD CONSTRAINT %%I %%s', conrelid::regclass, conname, pg_get_constraintdef(oid))
FROM pg_constraint WHERE conrelid = %(table)s::regclass AND contype IN ('p', 'u')
UNION ALL
SELECT format('DROP INDEX %%s', indexrelid::regclass), pg_get_indexdef(indexrelid) FROM pg_index
WHERE indrelid = %(table)s::regclass AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
"""


def fill_ours(url: str, template: str, count: int) -> None:
    """Copies of the row of one run, which knows every column, and what they logged."""
    began = f"to_timestamp({_BEGAN} + n)"
    own = {
        "uid": _UID,
        "name": "'run-' || n",
        "state": "'Succeeded'",
        "started_at": began,
        "created_at": began,
        "ended_at": f"to_timestamp({_BEGAN} + n + 60)",
        "packing": "2",
    }
    with _writing(url) as connection:
        columns = connection.execute(
            "SELECT column_name FROM information_schema.columns"
            " WHERE table_name = 'experiments_run' AND column_name <> 'id'"
        ).fetchall()
        names = [name for (name,) in columns]
        quoted = [f'"{name}"' for name in names]
        values = [own.get(name, f'"{name}"') for name in names]
        with _without_indexes(connection, "experiments_run", keep="_pkey"):
            connection.execute(
                f"INSERT INTO experiments_run ({', '.join(quoted)}) SELECT {', '.join(values)}"
                f" FROM experiments_run, generate_series(1, {count}) AS n WHERE uid = '{template}' ORDER BY n",
            )
        # The one that was copied is no part of it.
        connection.execute("UPDATE experiments_run SET deleted_at = now() WHERE uid = %s", [template])
        connection.execute(
            "INSERT INTO experiments_runtally (experiment_id, state, runs)"
            " SELECT experiment_id, state, count(*) FROM experiments_run WHERE deleted_at IS NULL GROUP BY 1, 2"
        )
        connection.execute("DELETE FROM experiments_runtally WHERE state = 'Running'")
        for name, kind, more in (
            ("latestmetric", "metric", ", step, timestamp"),
            ("param", "param", ""),
            ("tag", "tag", ""),
        ):
            series, key, value = _VALUES[kind]
            with _without_indexes(connection, f"experiments_{name}"):
                connection.execute(
                    f"INSERT INTO experiments_{name} (run_id, experiment_id, began, key, value{more})"
                    f" SELECT id, experiment_id, {began}, {key}, {value}{', 9, 1' if more else ''} FROM (SELECT id,"
                    "  experiment_id, substr(name, 5)::bigint AS n FROM experiments_run WHERE deleted_at IS NULL"
                    f"  ORDER BY id) AS run, {series} AS k",
                )
        connection.execute("VACUUM ANALYZE")


def fill_theirs(url: str, count: int) -> None:
    """The same runs in MLflow's own tables."""
    with _writing(url) as connection:
        connection.execute(
            "INSERT INTO runs (run_uuid, name, source_type, user_id, status, start_time, end_time, lifecycle_stage,"
            f" artifact_uri, experiment_id) SELECT {_UID}, 'run-' || n, 'LOCAL', 'vera', 'FINISHED',"
            f" ({_BEGAN} + n) * 1000::bigint, ({_BEGAN} + n + 60) * 1000::bigint, 'active', 'mlflow-artifacts:/0/x', 0"
            f" FROM generate_series(1, {count}) AS n",
        )
        for table, kind, more in (
            ("latest_metrics", "metric", ", step, timestamp, is_nan"),
            ("params", "param", ""),
            ("tags", "tag", ""),
        ):
            series, key, value = _VALUES[kind]
            with _without_indexes(connection, table):
                connection.execute(
                    f"INSERT INTO {table} (run_uuid, key, value{more})"
                    f" SELECT {_UID}, {key}, {value}{', 9, 1, false' if more else ''}"
                    f" FROM generate_series(1, {count}) AS n, {series} AS k",
                )
        connection.execute("VACUUM ANALYZE")


@contextmanager
def _writing(url: str) -> "Iterator[psycopg.Connection[Any]]":
    with psycopg.connect(url, autocommit=True) as connection:
        # No foreign key is looked up, and nothing is copied by triggers: all rows are made of those they refer to.
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET maintenance_work_mem = '1GB'")
        connection.execute("SET synchronous_commit = off")
        yield connection


@contextmanager
def _without_indexes(connection: "psycopg.Connection[Any]", table: str, keep: str = "none") -> Iterator[None]:
    indexes: list[Any] = connection.execute(_INDEXES, {"table": table}).fetchall()
    indexes = [(drop, add) for drop, add in indexes if keep not in drop]
    for drop, _ in indexes:
        connection.execute(drop)
    yield
    for _, add in indexes:
        connection.execute(add)

"""The names under which the runs of an experiment have logged: what a table of them can show, sort and filter by."""

from collections.abc import Iterable
from typing import Literal

from django.db import connection

from apps.experiments.models import LatestMetric, Param, Tag
from apps.experiments.selectors import Logged
from apps.experiments.tracking.tags import OF_PROGRAMS

Kind = Literal["params", "metrics", "tags"]
MOST_KEYS = 300
# Postgres reads the next name by one probe of the index, whatever number of runs has it.
_NAMES = """
(WITH RECURSIVE names(key) AS (
  (SELECT key FROM {table} WHERE experiment_id = %(experiment)s ORDER BY key LIMIT 1)
  UNION ALL
  SELECT (SELECT next.key FROM {table} AS next
    WHERE next.experiment_id = %(experiment)s AND next.key > names.key ORDER BY next.key LIMIT 1)
  FROM names WHERE names.key IS NOT NULL
) SELECT '{kind}', key FROM names WHERE key IS NOT NULL LIMIT %(limit)s)
"""
_ALL = " UNION ALL ".join(
    _NAMES.format(table=model._meta.db_table, kind=kind)
    for kind, model in (("params", Param), ("metrics", LatestMetric), ("tags", Tag))
)


def columns_of(experiment_pk: int) -> list[str]:
    """Every column that the runs of an experiment have values for: params, metrics, then tags. One query."""
    with connection.cursor() as cursor:
        cursor.execute(_ALL, {"experiment": experiment_pk, "limit": MOST_KEYS})
        # Tags that programs set say little: they are offered only where somebody asks for them by name.
        names = [(kind, key) for kind, key in cursor.fetchall() if kind != "tags" or not key.startswith(OF_PROGRAMS)]
    return [f"{kind}.{key}" for kind, key in names]


def keys_in(logged: Iterable[Logged], kind: Kind) -> set[str]:
    """All keys of a kind that any of these has a value for."""
    return {key for each in logged for key in getattr(each, kind)}


def prominence(metric: str) -> tuple[int, str]:
    """The order of metrics: results before system figures; validation and accuracy before the rest."""
    key = metric.lower()
    if key.startswith("system/"):
        return (3, key)
    return (0 if "acc" in key or key.startswith(("val", "test")) else 1 if "loss" in key else 2, key)

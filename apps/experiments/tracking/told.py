"""What a client is told of logged values: of one run by one statement, which also proves that it may be told; of many
runs by another one. No object is made for a value: a search tells of thousands."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from apps.core.database import prepared
from apps.experiments.tracking.permits import IF_RUN, Permit

_PERMITTED, _PARAM, _TAG, _METRIC, _MORE = range(5)
_VALUES = f"""
{IF_RUN}
SELECT {_PERMITTED} AS kind, NULL::text COLLATE "C" AS key, NULL::text AS text, NULL::float8, NULL::int8, NULL::int8
FROM permit
UNION ALL SELECT {_PARAM}, key, value, NULL, NULL, NULL FROM experiments_param, permit WHERE run_id = %(run)s
UNION ALL SELECT {_TAG}, key, value, NULL, NULL, NULL FROM experiments_tag, permit WHERE run_id = %(run)s
UNION ALL
SELECT {_METRIC}, key, NULL, value, step, "timestamp" FROM experiments_latestmetric, permit WHERE run_id = %(run)s
UNION ALL
SELECT {_MORE}, NULL, NULL, NULL, NULL, NULL FROM permit WHERE
  EXISTS (SELECT FROM experiments_datasetinput WHERE run_id = %(run)s)
  OR EXISTS (SELECT FROM experiments_modelinput WHERE run_id = %(run)s)
  OR EXISTS (SELECT FROM experiments_modeloutput WHERE run_id = %(run)s)
ORDER BY key
"""  # noqa: S608 - numbers of ours
# The values as JSON that Postgres writes: a search tells of thousands. NaN and infinities are strings, as in MLflow.
_PAIRS = """
(SELECT string_agg(
  '{{"key":' || to_json(key)::text || ',"value":' || to_json(value)::text {more} || '}}', ',' ORDER BY key
)
 FROM {table} WHERE run_id = run.id)
"""
_POINT = """|| ',"timestamp":' || "timestamp" || ',"step":' || step"""
_OF_RUNS = f"""
SELECT run.id, uid, name, experiment_id, client_user, state, started_at, created_at, ended_at, deleted_at,
  coalesce({_PAIRS.format(table="experiments_latestmetric", more=_POINT)}, ''),
  coalesce({_PAIRS.format(table="experiments_param", more="")}, ''),
  coalesce({_PAIRS.format(table="experiments_tag", more="")}, '')
FROM unnest(%(runs)s::int8[]) WITH ORDINALITY AS asked(id, place) JOIN experiments_run AS run ON run.id = asked.id
ORDER BY place
"""  # noqa: S608 - tables of ours


@dataclass(frozen=True, slots=True)
class RunTold:
    """What a client is told of a run; metrics, params and tags are JSON objects with commas between them."""

    pk: int
    uid: str
    name: str
    experiment_id: int
    client_user: str
    state: str
    started_at: datetime | None
    created_at: datetime
    ended_at: datetime | None
    deleted_at: datetime | None
    metrics: str
    params: str
    tags: str


@dataclass
class Values:
    """The logged values of a run in the order of their keys; of a metric the value, the step and the milliseconds.

    `has_more` says whether the run was given, or put out, datasets or models.
    """

    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, tuple[float, int, int]] = field(default_factory=dict)
    has_more: bool = False


def values_of(permit: Permit) -> Values | None:
    """The values of the permit's run; None when it does not hold any more."""
    told, permitted = Values(), False
    with prepared.cursor() as cursor:
        cursor.execute(_VALUES, permit.values)
        for kind, key, text, value, step, timestamp in cursor.fetchall():
            if kind == _METRIC:
                told.metrics[key] = (value, step, timestamp)
            elif kind == _MORE:
                told.has_more = True
            elif kind == _PERMITTED:
                permitted = True
            else:
                (told.params if kind == _PARAM else told.tags)[key] = text
    return told if permitted else None


def runs_told(pks: Sequence[int]) -> list[RunTold]:
    """These runs with their values, in the order of their keys here; those that are gone are left out. One query."""
    with prepared.cursor() as cursor:
        cursor.execute(_OF_RUNS, {"runs": list(pks)})
        return [RunTold(*row) for row in cursor.fetchall()]

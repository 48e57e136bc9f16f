"""What a client is told of logged values: of one run by one statement, which also proves that it may be told; of many
runs by another one. No object is made for a value: a search tells of thousands."""

from collections.abc import Iterable
from dataclasses import dataclass, field

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
_OF_RUNS = f"""
SELECT run_id, {_PARAM}, key COLLATE "C" AS key, value AS text, NULL::float8, NULL::int8, NULL::int8
FROM experiments_param WHERE run_id = ANY(%(runs)s)
UNION ALL SELECT run_id, {_TAG}, key, value, NULL, NULL, NULL FROM experiments_tag WHERE run_id = ANY(%(runs)s)
UNION ALL
SELECT run_id, {_METRIC}, key, NULL, value, step, "timestamp" FROM experiments_latestmetric WHERE run_id = ANY(%(runs)s)
ORDER BY key
"""  # noqa: S608 - numbers of ours


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


def values_of_runs(pks: Iterable[int]) -> dict[int, Values]:
    """The values of each of these runs, by primary key, but not whether it has more. One query."""
    told = {pk: Values() for pk in pks}
    with prepared.cursor() as cursor:
        cursor.execute(_OF_RUNS, {"runs": list(told)})
        for pk, kind, key, text, value, step, timestamp in cursor.fetchall():
            if kind == _METRIC:
                told[pk].metrics[key] = (value, step, timestamp)
            else:
                (told[pk].params if kind == _PARAM else told[pk].tags)[key] = text
    return told

"""Logged values are written by one statement, which also proves that they may be.

Two batches for the same run at the same time never deadlock: every part touches its rows in the order of their keys,
and the parts come in one order. A batch that a client sends again changes nothing.
"""

import functools
from typing import Any

from django.db import transaction

from apps.core.database import prepared
from apps.core.errors import Invalid
from apps.experiments.models import Run
from apps.experiments.states import Packing
from apps.experiments.tracking import measured
from apps.experiments.tracking.ingest import Batch
from apps.experiments.tracking.permits import IF_RUN_ACTIVE, Permit
from apps.experiments.tracking.tags import RUN_NAME_TAG

NAME_LENGTH = 250

# Arrays are sent as text that is quickly made: keys have no line breaks (`ingest.check_key`).
_METRICS = """
, input AS MATERIALIZED (
  SELECT key COLLATE "C" AS key, value, step, "timestamp"
  FROM unnest(string_to_array(%(keys)s::text, chr(10)), %(values)s::float8[], %(steps)s::int8[], %(timestamps)s::int8[])
    AS given(key, value, step, "timestamp"), permit
), points AS (
  INSERT INTO experiments_metricpoint (run_id, step, "timestamp", value, key)
  SELECT %(run)s, step, "timestamp", value, key FROM input {but_packed} ORDER BY key, step, "timestamp", value
  ON CONFLICT DO NOTHING
), latest AS (
  INSERT INTO experiments_latestmetric AS latest (run_id, experiment_id, began, key, value, step, "timestamp")
  SELECT DISTINCT ON (key) %(run)s, %(experiment)s, %(began)s::timestamptz, key, value, step, "timestamp"
  FROM input ORDER BY key, step DESC, "timestamp" DESC, value DESC
  ON CONFLICT (run_id, key) DO UPDATE
  SET value = EXCLUDED.value, step = EXCLUDED.step, "timestamp" = EXCLUDED."timestamp"
  WHERE (latest.step, latest."timestamp", latest.value) < (EXCLUDED.step, EXCLUDED."timestamp", EXCLUDED.value)
)
"""
# A run that ended, and was packed, is logged to again: what it has already is not stored beside.
_BUT_PACKED = """
  WHERE NOT EXISTS (
    SELECT FROM experiments_packedpoints AS packed
    WHERE packed.run_id = %(run)s AND packed.key = input.key
      AND input.step BETWEEN packed.first_step AND packed.last_step
      AND EXISTS (
        SELECT FROM unnest(packed.steps, packed.timestamps, packed.values) AS kept(step, "timestamp", value)
        WHERE (kept.step, kept."timestamp", kept.value) = (input.step, input."timestamp", input.value)
      )
  )
"""
# What nobody has to be asked for.
_ANYHOW = "WITH permit AS (SELECT 1 AS granted)"
_RUN = """
, changed AS (UPDATE experiments_run SET {columns} FROM permit WHERE id = %(run)s RETURNING id)
"""
_NAMED, _TO_PACK = "name = %(name)s", f"packing = least(packing, {Packing.PARTLY.value})"
_TAGS = """
, tags AS (
  INSERT INTO experiments_tag (run_id, experiment_id, began, key, value)
  SELECT %(run)s, %(experiment)s, %(began)s::timestamptz, key, value
  FROM unnest(%(tag_keys)s::text[], %(tag_values)s::text[]) AS given(key, value), permit {after}
  ORDER BY key COLLATE "C"
  ON CONFLICT (run_id, key) DO UPDATE SET value = EXCLUDED.value
)
"""
# As `runs/update` does, the run itself comes before its tags.
_AFTER_RUN = "WHERE (SELECT count(*) FROM changed) > 0"
# Writing the old value over itself returns what is stored, also when another client stored it a moment ago.
_PARAMS = """
, params AS (
  INSERT INTO experiments_param AS stored (run_id, experiment_id, began, key, value)
  SELECT %(run)s, %(experiment)s, %(began)s::timestamptz, key, value
  FROM unnest(%(param_keys)s::text[], %(param_values)s::text[]) AS given(key, value), permit ORDER BY key COLLATE "C"
  ON CONFLICT (run_id, key) DO UPDATE SET value = stored.value
  RETURNING key, value
)
SELECT params.key, params.value FROM permit LEFT JOIN params ON true
"""


@functools.cache
def _statement(begin: str, *, metrics: bool, params: bool, tags: bool, name: bool, packed: bool) -> str:
    parts = [begin]
    if metrics:
        parts.append(_METRICS.format(but_packed=_BUT_PACKED if packed else ""))
    columns = [_NAMED] * name + [_TO_PACK] * (packed and metrics)
    if columns:
        parts.append(_RUN.format(columns=", ".join(columns)))
    if tags:
        parts.append(_TAGS.format(after=_AFTER_RUN if columns else ""))
    parts.append(_PARAMS if params else "SELECT NULL, NULL FROM permit")
    return "".join(parts)


def store(permit: Permit, batch: Batch) -> bool:
    """Write a batch to the run, all of it or nothing; False, and nothing, when the permit does not hold any more.

    Raises Invalid when a param has another value already, and for a metric of a model that is none of the project's.
    """
    if batch.of_models or (batch.params and (len(batch.params) > 1 or batch.keys or batch.tags)):
        # A param that has another value, or a model that is not there, undoes the rest.
        with transaction.atomic():
            return _store(permit, batch)
    # One statement alone is a transaction by itself: no BEGIN and COMMIT to wait for.
    return _store(permit, batch)


def _store(permit: Permit, batch: Batch) -> bool:
    rows = _written(IF_RUN_ACTIVE, permit.values, batch, packed=permit.is_packed)
    for key, value in rows:
        if key is not None and value != batch.params[key]:
            raise _changed(permit, key, value, batch.params[key])
    if rows and permit.run is not None:
        _of_models(permit.run.pk, permit.experiment.pk, batch)
    return bool(rows)


@transaction.atomic
def store_brought(run: Run, batch: Batch) -> None:
    """Write what another server kept of a run that is here by now. A param that has a value already keeps it.

    Raises Invalid for a metric of a model that is none of the project's.
    """
    values = {"run": run.pk, "experiment": run.experiment_id, "began": run.started_at}
    # As if some of its points were packed: they may be, at any moment.
    _written(_ANYHOW, values, batch, packed=True)
    _of_models(run.pk, run.experiment_id, batch)


def _written(begin: str, values: dict[str, Any], batch: Batch, *, packed: bool) -> list[Any]:
    """The params as they are stored by now, or a row of nothing; no row where the permit does not hold."""
    name = batch.tags.get(RUN_NAME_TAG, "")[:NAME_LENGTH]
    if batch.keys:
        values["keys"] = "\n".join(batch.keys)
        values["values"] = _array(map(repr, batch.values))
        values["steps"], values["timestamps"] = _array(map(str, batch.steps)), _array(map(str, batch.timestamps))
    if name:
        values["name"] = name
    for kind, pairs in (("tag", batch.tags), ("param", batch.params)):
        if pairs:
            values[f"{kind}_keys"], values[f"{kind}_values"] = list(pairs), list(pairs.values())
    statement = _statement(
        begin,
        metrics=bool(batch.keys),
        params=bool(batch.params),
        tags=bool(batch.tags),
        name=bool(name),
        packed=packed,
    )
    with prepared.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall())


def _of_models(run: int, experiment: int, batch: Batch) -> None:
    if batch.of_models:
        columns = {name: getattr(batch, name) for name in ("keys", "values", "steps", "timestamps")}
        measured.store(run, experiment, batch.of_models, columns)


def _array(items: Any) -> str:
    return f"{{{','.join(items)}}}"


def _changed(permit: Permit, key: str, value: str, new: str) -> Invalid:
    uid = permit.run.uid if permit.run is not None else ""
    return Invalid(
        f"Changing param values is not allowed. Param with key='{key}' was already logged with value='{value}' for run "
        f"ID='{uid}'. Attempted logging new value '{new}'."
    )

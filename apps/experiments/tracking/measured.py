"""The metrics of logged models: the latest of each that a run logged, on each dataset.

What a run logs of a model is a metric of the run first; here it is noted of the model, too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apps.core.database import prepared
from apps.core.errors import Invalid


@dataclass(frozen=True)
class OfModel:
    """A metric of a batch is one of a logged model, on a dataset or on none ("")."""

    uid: str
    dataset_name: str
    dataset_digest: str
    place: int
    """Of the metric in its batch."""


_MODELS = """
SELECT model.uid FROM experiments_loggedmodel AS model
JOIN experiments_experiment AS experiment ON experiment.id = model.experiment_id
WHERE model.uid = ANY(%(uids)s::text[])
  AND experiment.project_id = (SELECT project_id FROM experiments_experiment WHERE id = %(experiment)s)
"""

_METRICS = """
INSERT INTO experiments_modelmetric AS latest
  (model_id, run_id, key, value, step, "timestamp", dataset_name, dataset_digest)
SELECT DISTINCT ON (model.id, given.key COLLATE "C", given.dataset_name, given.dataset_digest)
  model.id, %(run)s, given.key, given.value, given.step, given."timestamp", given.dataset_name, given.dataset_digest
FROM unnest(%(uids)s::text[], %(keys)s::text[], %(values)s::float8[], %(steps)s::int8[], %(timestamps)s::int8[],
            %(names)s::text[], %(digests)s::text[])
  AS given(uid, key, value, step, "timestamp", dataset_name, dataset_digest)
JOIN experiments_loggedmodel AS model ON model.uid = given.uid
ORDER BY model.id, given.key COLLATE "C", given.dataset_name, given.dataset_digest,
  given."timestamp" DESC, given.step DESC, given.value DESC
ON CONFLICT (model_id, key, run_id, md5(dataset_name), dataset_digest) DO UPDATE
SET value = EXCLUDED.value, step = EXCLUDED.step, "timestamp" = EXCLUDED."timestamp"
WHERE (latest."timestamp", latest.step, latest.value) < (EXCLUDED."timestamp", EXCLUDED.step, EXCLUDED.value)
"""


def store(run_pk: int, experiment_pk: int, metrics: Sequence[OfModel], columns: Mapping[str, Sequence[Any]]) -> None:
    """Note metrics of a run's batch (its `columns`) of their models. Raises Invalid for a model that is none of the
    project's."""
    uids = [each.uid for each in metrics]
    with prepared.cursor() as cursor:
        cursor.execute(_MODELS, {"uids": uids, "experiment": experiment_pk})
        known = {uid for (uid,) in cursor.fetchall()}
        for uid in uids:
            if uid not in known:
                raise Invalid(f"Logged model with ID '{uid}' not found.", field="model_id")
        given: dict[str, Any] = {name: [column[each.place] for each in metrics] for name, column in columns.items()}
        names, digests = [each.dataset_name for each in metrics], [each.dataset_digest for each in metrics]
        cursor.execute(_METRICS, {"run": run_pk, "uids": uids, "names": names, "digests": digests, **given})

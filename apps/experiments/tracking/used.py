"""What runs were given and what they put out, as MLflow's clients are told with each run: one query for all of it."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from apps.core.database import prepared

_COLUMNS = ("name", "digest", "source_type", "source", "schema", "profile")


@dataclass
class Used:
    """Of one run, each in the order in which it was told of."""

    datasets: list[tuple[dict[str, str], Mapping[str, str]]] = field(default_factory=list)
    """What a dataset is described by, and the tags of its use."""
    models: list[str] = field(default_factory=list)
    """The ids of the logged models that it was given."""
    outputs: list[tuple[str, int]] = field(default_factory=list)
    """The ids of the logged models that it put out, and the steps."""


_EVERYTHING = """
SELECT used.run_id, used.id, model.uid, used.step, NULL AS tags, NULL, NULL, NULL, NULL, NULL, NULL
FROM experiments_modeloutput AS used JOIN experiments_loggedmodel AS model ON model.id = used.model_id
WHERE used.run_id = ANY(%(runs)s)
UNION ALL
SELECT used.run_id, used.id, model.uid, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM experiments_modelinput AS used JOIN experiments_loggedmodel AS model ON model.id = used.model_id
WHERE used.run_id = ANY(%(runs)s)
UNION ALL
SELECT used.run_id, used.id, NULL, NULL, used.tags::text,
  data.name, data.digest, data.source_type, data.source, data.schema, data.profile
FROM experiments_datasetinput AS used JOIN experiments_dataset AS data ON data.id = used.dataset_id
WHERE used.run_id = ANY(%(runs)s)
ORDER BY 2
"""


def used_by(run_pks: Iterable[int]) -> dict[int, Used]:
    """What each of the runs used, by their keys. One query, however many runs."""
    found = {pk: Used() for pk in run_pks}
    with prepared.cursor() as cursor:
        cursor.execute(_EVERYTHING, {"runs": list(found)})
        rows: list[Any] = cursor.fetchall()
    for run_pk, _, uid, step, tags, *columns in rows:
        if tags is not None:
            described = dict(zip(_COLUMNS, columns, strict=True))
            found[run_pk].datasets.append((described, json.loads(tags)))
        elif step is None:
            found[run_pk].models.append(uid)
        else:
            found[run_pk].outputs.append((uid, step))
    return found

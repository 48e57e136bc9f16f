"""The list of Python packages that comes with the files of a run, or of a model that it logged: kept beside the run."""

import json

from django.db import connection

from apps.experiments.models import LoggedModel, Run, RunPackages
from apps.experiments.specs.packages import parse_list

# What a model needs never takes the place of all that was installed.
_KEEP = f"""
INSERT INTO {RunPackages._meta.db_table} AS kept (run_id, path, whole, versions) VALUES (%s, %s, %s, %s)
ON CONFLICT (run_id) DO UPDATE SET path = EXCLUDED.path, whole = EXCLUDED.whole, versions = EXCLUDED.versions
WHERE EXCLUDED.whole OR NOT kept.whole
"""  # noqa: S608 - names of our own tables


def keep(owner: Run | LoggedModel, path: str, body: bytes) -> None:
    """Keep what a list says, inside the transaction that gives the file its name. The last one counts."""
    run = owner.pk if isinstance(owner, Run) else owner.run_id
    told = parse_list(path, body)
    if run is None or not told.packages:
        return
    shown = path if isinstance(owner, Run) else f"{owner.name}/{path}"
    with connection.cursor() as cursor:
        cursor.execute(_KEEP, [run, shown[:1000], told.whole and isinstance(owner, Run), json.dumps(told.packages)])

"""What a caller was allowed to do with a run or an experiment, kept for the next request, and proved again by it.

`core.access` decides by a few rows: the token, its person, their membership. The decision is kept beside the contents
of those rows (the stamp), and the statement that makes use of it compares them with what they are by then. So a
revoked token, a smaller role or a deleted run counts from its commit on, in every process, though nobody was told; and
a request whose decision is known costs one round trip.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from apps.core.access import Principal
from apps.core.database import prepared
from apps.experiments.models import Experiment, Run
from apps.experiments.states import Packing

# So long a decision is kept. A token's last use is noted when one is made, and about as often.
KEPT = timedelta(minutes=1)

# Every column that decides; `tests/experiments/test_permits.py` says of each other one why it does not.
_STAMP = """
  (token.id, token.user_id, token.project_id, token.run_uid, token.role, token.read_only, token.expires_at,
   token.revoked_at, person.username, person.is_active, person.is_superuser, member.project_id, member.role)::text
"""
_ROWS = """
  FROM core_apitoken AS token
  LEFT JOIN core_user AS person ON person.id = token.user_id
  LEFT JOIN core_membership AS member ON member.user_id = token.user_id AND member.project_id = {project}
  WHERE token.digest = %(digest)s
"""
_OF_RUN = """
  SELECT experiment.project_id FROM experiments_run AS run
  JOIN experiments_experiment AS experiment ON experiment.id = run.experiment_id WHERE run.uid = %(uid)s
"""
_OF_EXPERIMENT = "SELECT project_id FROM experiments_experiment WHERE id = %(experiment)s"
_STAMP_BY_RUN = f"SELECT {_STAMP} {_ROWS.format(project=f'({_OF_RUN})')}"
_STAMP_BY_EXPERIMENT = f"SELECT {_STAMP} {_ROWS.format(project=f'({_OF_EXPERIMENT})')}"

_ALLOWED = f"""
permit AS MATERIALIZED (SELECT 1 AS granted {_ROWS.format(project="%(project)s")} AND {_STAMP} = %(stamp)s AND EXISTS (
"""
_A_RUN = """
  SELECT FROM experiments_run AS run JOIN experiments_experiment AS experiment ON experiment.id = run.experiment_id
  WHERE run.id = %(run)s AND experiment.id = %(experiment)s AND experiment.project_id = %(project)s
"""
# The beginnings of statements. Their table `permit` has a row while the decision holds: for a run that is not deleted
# and whose points are packed, or not, as they were, for one that may be, and for an experiment that is not deleted.
IF_RUN_ACTIVE = f"WITH {_ALLOWED} {_A_RUN} AND run.deleted_at IS NULL AND (run.packing > 0) = %(is_packed)s))"
IF_RUN = f"WITH {_ALLOWED} {_A_RUN}))"
IF_EXPERIMENT_ACTIVE = f"""
WITH {_ALLOWED}
  SELECT FROM experiments_experiment WHERE id = %(experiment)s AND project_id = %(project)s AND deleted_at IS NULL))
"""


@dataclass(frozen=True, slots=True)
class Permit:
    """A decision: who may do something with the run, or with the experiment where there is no run."""

    digest: str
    stamp: str
    principal: Principal
    experiment: Experiment
    run: Run | None
    until: datetime

    @classmethod
    def by(cls, digest: str, stamp: str, principal: Principal, about: Run | Experiment) -> "Permit":
        """What was decided when, or after, the stamp was read."""
        run = about if isinstance(about, Run) else None
        experiment = about.experiment if isinstance(about, Run) else about
        until = timezone.now() + KEPT
        if principal.token is not None and principal.token.expires_at is not None:
            until = min(until, principal.token.expires_at)
        return cls(digest, stamp, principal, experiment, run, until)

    @property
    def values(self) -> dict[str, Any]:
        """What the beginnings of statements compare."""
        return {
            "digest": self.digest,
            "stamp": self.stamp,
            "project": self.experiment.project_id,
            "experiment": self.experiment.pk,
            "run": self.run.pk if self.run is not None else 0,
            # What values are stored with; if it has changed meanwhile, Postgres corrects it.
            "began": (self.run.started_at or self.run.created_at) if self.run is not None else None,
            "is_packed": self.is_packed,
        }

    @property
    def is_packed(self) -> bool:
        """Whether some of the run's points are packed."""
        return self.run is not None and self.run.packing > Packing.LOOSE

    @property
    def is_kept(self) -> bool:
        """Whether it is young enough to be used."""
        return timezone.now() < self.until

    def holds(self) -> bool:
        """Whether the decision would be the same now. One query."""
        begin = IF_RUN if self.run is not None else IF_EXPERIMENT_ACTIVE
        with prepared.cursor() as cursor:
            cursor.execute(f"{begin} SELECT granted FROM permit", self.values)  # noqa: S608
            return cursor.fetchone() is not None


def stamp_by_run(digest: str, uid: str) -> str:
    """The stamp of a token beside the run with this id; "" for no token. To be read before the decision is made."""
    return _stamp(_STAMP_BY_RUN, {"digest": digest, "uid": uid})


def stamp_by_experiment(digest: str, pk: int) -> str:
    """The stamp of a token beside the experiment with this key."""
    return _stamp(_STAMP_BY_EXPERIMENT, {"digest": digest, "experiment": pk})


def _stamp(statement: str, values: dict[str, Any]) -> str:
    with prepared.cursor() as cursor:
        cursor.execute(statement, values)
        row = cursor.fetchone()
    return str(row[0]) if row else ""

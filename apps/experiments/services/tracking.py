"""Writes of external runs, and what any client may change about a run."""

from datetime import datetime

from django.db import DEFAULT_DB_ALIAS, transaction
from django.utils import timezone

from apps.core import audit
from apps.core.access import Principal, require_role
from apps.core.database import prepared, transitions
from apps.core.database.rows import held, put
from apps.core.errors import Conflict, Invalid
from apps.core.models import Transition
from apps.core.states import Role
from apps.experiments.models import Experiment, Run, Tag
from apps.experiments.purging.begun import check_returns
from apps.experiments.services.authors import author
from apps.experiments.services.experiments import BIN_TOPIC
from apps.experiments.states import EXTERNAL_MOVES, FROM_MLFLOW, SETTLED, RunKind, RunState
from apps.experiments.tracking.permits import IF_EXPERIMENT_ACTIVE, Permit
from apps.experiments.tracking.pulse import run_changed
from apps.experiments.tracking.store import NAME_LENGTH
from apps.experiments.tracking.tags import RUN_NAME_TAG

# The row, its first state and its tags by one statement, and so in one transaction.
_OPEN = f"""
{{begin}}
, made AS (
  INSERT INTO {Run._meta.db_table} ({{columns}}) SELECT {{values}} FROM permit RETURNING id
), history AS (
  INSERT INTO {Transition._meta.db_table} (object_type, object_id, from_state, to_state, reason, message, actor, at)
  SELECT '{Run._meta.label_lower}', id, '', %(state)s, 'Created', '', %(actor)s, now() FROM made
), tags AS (
  INSERT INTO {Tag._meta.db_table} (run_id, experiment_id, began, key, value)
  SELECT made.id, %(experiment)s, %(_started_at)s::timestamptz, key, value
  FROM made, unnest(%(tag_keys)s::text[], %(tag_values)s::text[]) AS given(key, value) ORDER BY key COLLATE "C"
)
SELECT id FROM made
"""  # noqa: S608 - names of our own tables
_ANYHOW = "WITH permit AS (SELECT 1 AS granted)"


def create_external_run(
    *,
    principal: Principal,
    experiment: Experiment,
    name: str,
    started_at: datetime | None = None,
    user: str = "",
    tags: dict[str, str] | None = None,
    permit: Permit | None = None,
) -> Run | None:
    """Open a run for a program that runs elsewhere, which calls itself `user`. Needs the developer role.

    None, and nothing is written, when the permit does not hold any more that principal and experiment are from.
    Raises Conflict when the experiment is deleted.
    """
    require_role(principal, experiment.project, Role.DEVELOPER)
    if experiment.deleted_at is not None:
        raise Conflict(f"The experiment {experiment.pk} is deleted.", hint="Restore it first.")
    made_by = author(principal)
    run = Run(
        experiment=experiment,
        name=name[:NAME_LENGTH],
        kind=RunKind.EXTERNAL,
        state=RunState.RUNNING,
        client_status="RUNNING",
        started_at=started_at or timezone.now(),
        created_by=made_by,
        client_user=user or made_by,
    )
    rows = {**(tags or {}), RUN_NAME_TAG: name}
    columns, places, values = prepared.as_values(run)
    values |= {"state": run.state, "actor": principal.label[:200], "experiment": experiment.pk}
    values |= {"tag_keys": list(rows), "tag_values": list(rows.values())}
    begin = _ANYHOW if permit is None else IF_EXPERIMENT_ACTIVE
    with prepared.cursor() as cursor:
        statement = _OPEN.format(begin=begin, columns=columns, values=places)
        cursor.execute(statement, values | (permit.values if permit is not None else {}))
        made = cursor.fetchone()
    if made is None:
        return None
    run.pk, run._state.adding, run._state.db = made[0], False, DEFAULT_DB_ALIAS
    run_changed(run)
    return run


@transaction.atomic
def update_run(
    *,
    principal: Principal,
    run: Run,
    status: str = "",
    ended_at: datetime | None = None,
    name: str = "",
) -> Run:
    """Update a run as MLflow's `runs/update` does: a status, an end time, a name; each only where given.

    For an external run the status is the state. For a launched run it is only noted, because its Job decides: the
    client says FINISHED before the process has ended, and a killed process says nothing at all.
    Needs the developer role.
    """
    require_role(principal, run.experiment.project, Role.DEVELOPER)
    run = held(run, "experiment__project")
    if run.deleted_at is not None:
        raise Conflict(f"The run {run.uid} is deleted.", hint="Restore it first.")
    if status and status not in FROM_MLFLOW:
        raise Invalid(f"{status!r} is not a run's status.", hint=f"One of {', '.join(FROM_MLFLOW)}.", field="status")
    if status:
        put(run, client_status=status)
        if run.kind == RunKind.EXTERNAL:
            _move_external(run, FROM_MLFLOW[status], ended_at, principal.label)
    if name and name != run.name:
        put(run, name=name[:250])
        Tag.objects.update_or_create(run=run, key=RUN_NAME_TAG, defaults={"value": name, "experiment": run.experiment})
    run_changed(run)
    return run


def _move_external(run: Run, to: RunState, ended_at: datetime | None, actor: str) -> None:
    """Move a run that is held, so that nobody else moves it meanwhile."""
    end = (ended_at or timezone.now()) if to in SETTLED else None
    if run.state != to:
        transitions.advance(run, to=to, allowed=EXTERNAL_MOVES, actor=actor, reason="Client", ended_at=end)
    elif end is not None and ended_at is not None:
        put(run, ended_at=end)


def delete_run(*, principal: Principal, run: Run) -> None:
    """Mark a run as deleted. Needs the developer role. Raises Conflict while a launched one is under way."""
    _mark(principal, run, "run.delete", deleted=True)


def restore_run(*, principal: Principal, run: Run) -> None:
    """Bring a deleted run back. Needs the developer role. Raises Conflict once it is being deleted for good, and while
    its experiment is in the bin."""
    _mark(principal, run, "run.restore", deleted=False)


@transaction.atomic
def _mark(principal: Principal, run: Run, action: str, *, deleted: bool) -> None:
    require_role(principal, run.experiment.project, Role.DEVELOPER)
    now = held(run, "experiment")
    if deleted and now.kind == RunKind.LAUNCHED and now.state not in SETTLED:
        raise Conflict("This run is under way.", hint="Cancel it first.")
    if not deleted:
        check_returns(now)
    put(run, deleted_at=timezone.now() if deleted else None, deleted_by=author(principal) if deleted else "")
    audit.record(principal=principal, action=action, obj=run, project=run.experiment.project)
    run_changed(run, BIN_TOPIC)

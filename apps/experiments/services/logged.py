"""Writes of logged models: MLflow 3 keeps a model as an object of its own, with artifacts of its own."""

from collections.abc import Mapping

from django.db import connection, transaction
from django.utils import timezone

from apps.core import audit
from apps.core.access import Principal, require_role
from apps.core.database.rows import held, merged, put
from apps.core.errors import Conflict, Invalid, Missing
from apps.core.hints import hint
from apps.core.states import Role
from apps.experiments.models import Experiment, LoggedModel, Run
from apps.experiments.purging.begun import check_returns
from apps.experiments.services.authors import author
from apps.experiments.services.experiments import BIN_TOPIC

READY = "LOGGED_MODEL_READY"
STATUSES = ("LOGGED_MODEL_PENDING", READY, "LOGGED_MODEL_UPLOAD_FAILED")


def create_logged_model(
    *,
    principal: Principal,
    experiment: Experiment,
    run: Run | None,
    name: str,
    model_type: str = "",
    params: dict[str, str] | None = None,
    tags: dict[str, str] | None = None,
) -> LoggedModel:
    """Open a logged model; its files are uploaded next, then it is finished. Needs the developer role."""
    require_role(principal, experiment.project, Role.DEVELOPER)
    if experiment.deleted_at is not None:
        raise Conflict(f"The experiment {experiment.pk} is deleted.", hint="Restore it first.")
    if not name or len(name) > 500 or any(letter in name for letter in "/:.%\"'"):
        raise Invalid(
            f"Invalid model name ({name[:100]!r}) provided. It is 1 to 500 letters without / : . % and quotes.",
            field="name",
        )
    return LoggedModel.objects.create(
        experiment=experiment, run=run, name=name, model_type=model_type[:500], params=params or {}, tags=tags or {}
    )


def finish_logged_model(*, principal: Principal, model: LoggedModel, status: str) -> LoggedModel:
    """Say whether the files were uploaded. Needs the developer role."""
    require_role(principal, model.experiment.project, Role.DEVELOPER)
    if status not in STATUSES:
        raise Invalid(f"{status!r} is not a logged model's status.", hint=f"One of {', '.join(STATUSES)}.")
    put(model, status=status)
    if model.run_id is not None:
        hint(f"run:{model.run_id}", model.experiment.project_id)
    return model


@transaction.atomic
def change_logged_model(
    *,
    principal: Principal,
    model: LoggedModel,
    params: dict[str, str] | None = None,
    tags: dict[str, str | None] | None = None,
) -> LoggedModel:
    """Add params, or add tags (None removes one). Needs the developer role.

    Clients that add different keys at once all succeed. Raises Missing for the removal of a tag that is not there.
    """
    require_role(principal, model.experiment.project, Role.DEVELOPER)
    now = held(model, "experiment__project", "run")
    for key, value in (tags or {}).items():
        if value is None and key not in now.tags:
            raise Missing(f"No tag with key {key[:100]!r} on model {model.uid}.")
    put(now, params={**now.params, **(params or {})}, tags=merged(now.tags, tags))
    return now


def note_model_steps(*, principal: Principal, run: Run, steps: Mapping[str, int]) -> None:
    """Note at which step the run put out each of its logged models, by their ids; one statement for all of them.

    Ids that the project has no model of are left out. Needs the developer role.
    """
    require_role(principal, run.experiment.project, Role.DEVELOPER)
    with connection.cursor() as cursor:
        cursor.execute(_STEPS, [run.pk, list(steps), list(steps.values()), run.experiment.project_id])


_STEPS = """
INSERT INTO experiments_modeloutput AS stored (run_id, model_id, step)
SELECT %s, model.id, given.step FROM unnest(%s::text[], %s::bigint[]) AS given(uid, step)
JOIN experiments_loggedmodel AS model ON model.uid = given.uid
JOIN experiments_experiment AS experiment ON experiment.id = model.experiment_id AND experiment.project_id = %s
ORDER BY model.id
ON CONFLICT (run_id, model_id) DO UPDATE SET step = EXCLUDED.step
"""


def delete_logged_model(*, principal: Principal, model: LoggedModel) -> None:
    """Mark a logged model as deleted; `restore_logged_model` brings it back. Needs the developer role."""
    _mark(principal, model, "model.logged.delete", deleted=True)


def restore_logged_model(*, principal: Principal, model: LoggedModel) -> None:
    """Bring a deleted logged model back. Needs the developer role. Raises Conflict while it is deleted for good, and
    while its experiment is in the bin."""
    _mark(principal, model, "model.logged.restore", deleted=False)


@transaction.atomic
def _mark(principal: Principal, model: LoggedModel, action: str, *, deleted: bool) -> None:
    require_role(principal, model.experiment.project, Role.DEVELOPER)
    now = held(model, "experiment", "run")
    if not deleted:
        check_returns(now, now.run)
    put(model, deleted_at=timezone.now() if deleted else None, deleted_by=author(principal) if deleted else "")
    audit.record(principal=principal, action=action, obj=now, project=model.experiment.project)
    for topic in (BIN_TOPIC, *([f"run:{now.run_id}"] if now.run_id is not None else [])):
        hint(topic, model.experiment.project_id)

"""Writes of logged models: MLflow 3 keeps a model as an object of its own, with artifacts of its own."""

from typing import Any

from apps.core.access import Principal, require_role
from apps.core.errors import Conflict, Invalid
from apps.core.hints import hint
from apps.core.states import Role
from apps.experiments.models import Experiment, LoggedModel, Run

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
    """Open a logged model; its files are uploaded next, then it is finished."""
    require_role(principal, experiment.project, Role.DEVELOPER)
    if experiment.deleted_at is not None:
        raise Conflict(f"The experiment {experiment.pk} is deleted.", hint="Restore it first.")
    if not name or len(name) > 500 or any(letter in name for letter in "/:.%\"'"):
        raise Invalid("A logged model's name is 1 to 500 letters without / : . % and quotes.", field="name")
    return LoggedModel.objects.create(
        experiment=experiment, run=run, name=name, model_type=model_type[:500], params=params or {}, tags=tags or {}
    )


def finish_logged_model(*, principal: Principal, model: LoggedModel, status: str) -> LoggedModel:
    """Say whether the files were uploaded."""
    require_role(principal, model.experiment.project, Role.DEVELOPER)
    if status not in STATUSES:
        raise Invalid(f"{status!r} is not a logged model's status.", hint=f"One of {', '.join(STATUSES)}.")
    model.status = status
    model.save(update_fields=["status", "updated_at"])
    if model.run_id is not None:
        hint(f"run:{model.run_id}", model.experiment.project_id)
    return model


def change_logged_model(
    *, principal: Principal, model: LoggedModel, tags: dict[str, str] | None = None, **fields: Any
) -> LoggedModel:
    """Add tags, or set `params`, `step` or `deleted_at`."""
    require_role(principal, model.experiment.project, Role.DEVELOPER)
    if tags:
        model.tags = {**model.tags, **tags}
    for name, value in fields.items():
        setattr(model, name, value)
    model.save()
    return model

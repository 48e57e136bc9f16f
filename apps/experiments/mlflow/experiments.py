"""`experiments/*` of MLflow's REST API."""

from typing import Any

from apps.core.access import visible_projects
from apps.core.errors import Conflict, Invalid, Missing
from apps.core.states import Role
from apps.experiments import services
from apps.experiments.mlflow import render
from apps.experiments.mlflow.lookup import default_experiment, experiment_of
from apps.experiments.mlflow.paging import page_of, size_of, token
from apps.experiments.mlflow.wire import Ask, Call, MlflowError, only
from apps.experiments.models import Experiment
from apps.experiments.search import experiments
from apps.experiments.services.experiments import DEFAULT_NAME
from apps.experiments.tracking.arguments import wrong
from apps.experiments.tracking.ingest import check_key, check_text

MAX_TAG_LENGTH = 20_000
# mlflow/environment_variables.py: MLFLOW_ARTIFACT_LOCATION_MAX_LENGTH.
MAX_LOCATION_LENGTH = 2048
VIEW_TYPES = {"ACTIVE_ONLY": True, "DELETED_ONLY": False, "ALL": None, "1": True, "2": False, "3": None}


def is_active(call: Ask, name: str) -> bool | None:
    """Whether a search is for what is active, or for what is deleted; None is for both. Raises Invalid."""
    value = call.body.get(name) or "ACTIVE_ONLY"
    if str(value) not in VIEW_TYPES:
        raise wrong(name, value, "It must be ACTIVE_ONLY, DELETED_ONLY or ALL.")
    return VIEW_TYPES[str(value)]


def get_by_name(call: Call) -> dict[str, Any]:
    """The experiment of a name, deleted ones included: `set_experiment` wants to know of those."""
    # Names are kept without blanks around them, so that is how they are found.
    name = call.text("experiment_name", required=True).strip()
    if name == DEFAULT_NAME:
        return {"experiment": render.experiment(default_experiment(call))}
    experiment = Experiment.objects.filter(project=call.project(), name=name).first()
    if experiment is None:
        raise Missing(f"Could not find experiment with name '{name[:500]}'")
    return {"experiment": render.experiment(experiment)}


def get(call: Call) -> dict[str, Any]:
    """The experiment of an id."""
    return {"experiment": render.experiment(experiment_of(call))}


def create(call: Call) -> dict[str, Any]:
    """Make an experiment. Its artifacts are kept by Flotilla, wherever the client would have them."""
    name, location = call.text("name", required=True), call.text("artifact_location", limit=MAX_LOCATION_LENGTH)
    if location.startswith("runs:"):
        raise Invalid(f"Artifact location cannot be a runs:/ URI. Given: '{location[:200]}'")
    try:
        experiment = services.create_experiment(
            principal=call.principal,
            project=call.project(Role.DEVELOPER),
            name=name,
            tags=call.pairs("tags", MAX_TAG_LENGTH),
        )
    except Conflict as error:
        raise MlflowError("RESOURCE_ALREADY_EXISTS", f"Experiment(name={name}) already exists.") from error
    return {"experiment_id": str(experiment.pk)}


def update(call: Call) -> dict[str, Any]:
    """Rename an experiment."""
    services.rename_experiment(
        principal=call.principal,
        experiment=experiment_of(call, Role.DEVELOPER),
        name=call.text("new_name", required=True),
    )
    return {}


def delete(call: Call) -> dict[str, Any]:
    """Mark an experiment as deleted."""
    experiment = experiment_of(call, Role.DEVELOPER)
    if experiment.deleted_at is not None:
        raise Missing(f"No active Experiment with id={experiment.pk} exists")
    services.delete_experiment(principal=call.principal, experiment=experiment)
    return {}


def restore(call: Call) -> dict[str, Any]:
    """Bring a deleted experiment back."""
    services.restore_experiment(principal=call.principal, experiment=experiment_of(call, Role.DEVELOPER))
    return {}


def set_tag(call: Call) -> dict[str, Any]:
    """Set one tag."""
    experiment = experiment_of(call, Role.DEVELOPER)
    services.set_experiment_tag(
        principal=call.principal,
        experiment=experiment,
        key=check_key(call.body.get("key"), "key"),
        value=check_text(call.body.get("value"), MAX_TAG_LENGTH, "value"),
    )
    return {}


def delete_tag(call: Call) -> dict[str, Any]:
    """Remove one tag. Raises Missing where it is not there."""
    experiment = experiment_of(call, Role.DEVELOPER)
    key = check_key(call.body.get("key"), "key")
    services.delete_experiment_tag(principal=call.principal, experiment=experiment, key=key)
    return {}


def search(call: Call) -> dict[str, Any]:
    """Experiments of the workspace, or of every visible project, newest first unless ordered otherwise."""
    visible = visible_projects(call.principal)
    rows = Experiment.objects.filter(project__in=visible)
    bound = call.principal.token.project if call.principal.token else None
    if call.workspace:
        bound = call.project()
        rows = rows.filter(project=bound)
    # Who sees several projects and names none is not told of experiments that nobody has asked for yet.
    for project in [bound] if bound else only(visible):
        services.default_experiment(project)
    active = is_active(call, "view_type")
    if active is not None:
        rows = rows.filter(deleted_at__isnull=active)
    part = experiments(rows, call.text("filter"), call.strings("order_by"))
    page = page_of(part, call, size_of(call, default=1000, most=50_000))
    return {"experiments": [render.experiment(row) for row in page.rows], **token(page)}

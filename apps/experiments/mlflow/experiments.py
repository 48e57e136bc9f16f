"""`experiments/*` of MLflow's REST API."""

from typing import Any

from apps.core.access import visible_projects
from apps.core.errors import Conflict, Invalid, Missing
from apps.core.states import Role
from apps.experiments import services
from apps.experiments.mlflow import render
from apps.experiments.mlflow.lookup import experiment_of
from apps.experiments.mlflow.paging import page_of, size_of, token
from apps.experiments.mlflow.wire import Call, MlflowError
from apps.experiments.models import Experiment
from apps.experiments.search import experiments
from apps.experiments.tracking.ingest import check_key, check_text

MAX_TAG_LENGTH = 20_000
VIEW_TYPES = {"ACTIVE_ONLY": True, "DELETED_ONLY": False, "ALL": None, "1": True, "2": False, "3": None}


def get_by_name(call: Call) -> dict[str, Any]:
    """The experiment of a name, deleted ones included: `set_experiment` wants to know of those."""
    # Names are kept without blanks around them, so that is how they are found.
    name = call.text("experiment_name", required=True).strip()
    experiment = Experiment.objects.filter(project=call.project(), name=name).first()
    if experiment is None:
        raise Missing(f"Could not find experiment with name '{name[:500]}'")
    return {"experiment": render.experiment(experiment)}


def get(call: Call) -> dict[str, Any]:
    """The experiment of an id."""
    return {"experiment": render.experiment(experiment_of(call))}


def create(call: Call) -> dict[str, Any]:
    """Make an experiment. A location for artifacts can't be chosen: they are kept by Flotilla."""
    if call.text("artifact_location"):
        raise Invalid("Flotilla keeps artifacts itself: leave artifact_location out.")
    name = call.text("name", required=True)
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
        value=check_text(call.text("value"), MAX_TAG_LENGTH, "value"),
    )
    return {}


def search(call: Call) -> dict[str, Any]:
    """Experiments of the workspace, or of every visible project, newest first unless ordered otherwise."""
    rows = Experiment.objects.filter(project__in=visible_projects(call.principal))
    workspace = call.request.headers.get("X-MLFLOW-WORKSPACE", "")
    if workspace:
        rows = rows.filter(project=call.project())
    active = VIEW_TYPES.get(call.text("view_type") or "ACTIVE_ONLY", True)
    if active is not None:
        rows = rows.filter(deleted_at__isnull=active)
    part = experiments(rows, call.text("filter"), call.strings("order_by"))
    page = page_of(part, call, size_of(call, default=1000, most=50_000))
    return {"experiments": [render.experiment(row) for row in page.rows], **token(page)}

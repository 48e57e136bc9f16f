"""`registered-models/*` and `model-versions/*` of MLflow's REST API."""

import re
from typing import Any

from django.db.models import Prefetch

from apps.core.errors import Conflict, Invalid, Missing
from apps.core.models import Project
from apps.core.states import Role
from apps.experiments import selectors, services
from apps.experiments.files import artifacts
from apps.experiments.mlflow import render
from apps.experiments.mlflow.lookup import check_own, logged_model_of, run_by_uid
from apps.experiments.mlflow.paging import page_of, size_of, token
from apps.experiments.mlflow.wire import Call, MlflowError
from apps.experiments.models import LoggedModel, ModelAlias, ModelVersion, RegisteredModel, Run
from apps.experiments.registry.files import uri_of
from apps.experiments.registry.uses import InUse
from apps.experiments.search import models, versions
from apps.experiments.tracking.ingest import check_key, check_text

MAX_TAG_LENGTH = 100_000
MOST_VERSIONS = 200_000
_URI = re.compile(
    r"models:/(?P<model>m-[0-9a-f]{32})(?P<model_path>/.*)?"
    r"|runs:/(?P<run>[0-9a-f]{32})/(?P<run_path>.+)"
    r"|mlflow-artifacts:/+\d+/models/(?P<store_model>m-[0-9a-f]{32})/artifacts/?(?P<store_model_path>.*)"
    r"|mlflow-artifacts:/+\d+/(?P<store_run>[0-9a-f]{32})/artifacts/?(?P<store_run_path>.*)"
)


def _model(call: Call, at_least: Role = Role.VIEWER) -> RegisteredModel:
    name = call.text("name", required=True)
    model = selectors.models(project=call.project(at_least)).filter(name=name).first()
    if model is None:
        raise Missing(f"Registered Model with name={name} not found")
    return model


def _version(call: Call, at_least: Role = Role.VIEWER) -> ModelVersion:
    name, number = call.text("name", required=True), call.text("version", required=True)
    if not re.fullmatch(r"[0-9]{1,9}", number):
        raise Invalid("Model version must be an integer.")
    try:
        return selectors.model_version(call.project(at_least), name, int(number))
    except Missing as error:
        raise Missing(f"Model Version (name={name}, version={number}) not found") from error


def _rendered(model: RegisteredModel) -> dict[str, Any]:
    latest = selectors.versions(model).first()
    return {"registered_model": render.registered_model(model, latest)}


def create_model(call: Call) -> dict[str, Any]:
    """Make an empty registered model; a run may, because logging with a registered name does."""
    name = call.text("name", required=True)
    project = call.project(Role.DEVELOPER)
    try:
        services.create_model(
            principal=call.principal,
            project=project,
            name=name,
            description=call.text("description"),
            tags=call.pairs("tags", MAX_TAG_LENGTH),
        )
    except Conflict as error:
        raise MlflowError("RESOURCE_ALREADY_EXISTS", f"Registered Model (name={name}) already exists.") from error
    return _rendered(_model(call))


def get_model(call: Call) -> dict[str, Any]:
    """One registered model with its newest version."""
    return _rendered(_model(call))


def rename_model(call: Call) -> dict[str, Any]:
    """Give a model another name."""
    model = _model(call, Role.DEVELOPER)
    new = call.text("new_name", required=True)
    try:
        services.update_model(principal=call.principal, model=model, name=new)
    except InUse:
        raise
    except Conflict as error:
        raise MlflowError("RESOURCE_ALREADY_EXISTS", f"Registered Model (name={new}) already exists.") from error
    return _rendered(_model(call.about(name=new)))


def update_model(call: Call) -> dict[str, Any]:
    """Describe a model."""
    model = _model(call, Role.DEVELOPER)
    services.update_model(principal=call.principal, model=model, description=call.text("description"))
    return _rendered(_model(call))


def delete_model(call: Call) -> dict[str, Any]:
    """Remove a model with its versions."""
    services.delete_model(principal=call.principal, model=_model(call, Role.DEVELOPER))
    return {}


def search_models(call: Call) -> dict[str, Any]:
    """Registered models by filter, ordered by name unless asked otherwise."""
    # For registered models alone MLflow takes 0, and finds none.
    none = call.integer("max_results") == 0
    size = 0 if none else size_of(call, default=100, most=1000)
    part = models(selectors.models(project=call.project()), call.text("filter"), call.strings("order_by"))
    page = page_of(part, call, size)
    newest = ModelVersion.objects.filter(model__in=[row.pk for row in page.rows]).order_by("model_id", "-version")
    latest = {row.model_id: row for row in _related(newest.distinct("model_id"))}
    return {"registered_models": [render.registered_model(row, latest.get(row.pk)) for row in page.rows], **token(page)}


def _related(rows: Any) -> Any:
    return rows.select_related("model", "run").prefetch_related(
        Prefetch("aliases", ModelAlias.objects.order_by("name"))
    )


def latest_versions(call: Call) -> dict[str, Any]:
    """The newest version: Flotilla has aliases, and every version is in stage None."""
    stages = {stage.lower() for stage in call.strings("stages")}
    model = _model(call)
    latest = selectors.versions(model).first() if not stages or "none" in stages else None
    return {"model_versions": [render.model_version(latest)] if latest else []}


def set_model_tag(call: Call) -> dict[str, Any]:
    """Set one tag of a model."""
    key = check_key(call.body.get("key"), "key")
    value = check_text(call.text("value"), MAX_TAG_LENGTH, "value")
    services.update_model(principal=call.principal, model=_model(call, Role.DEVELOPER), tags={key: value})
    return {}


def delete_model_tag(call: Call) -> dict[str, Any]:
    """Remove one tag of a model."""
    key = check_key(call.body.get("key"), "key")
    services.update_model(principal=call.principal, model=_model(call, Role.DEVELOPER), tags={key: None})
    return {}


def set_alias(call: Call) -> dict[str, Any]:
    """Point an alias at a version."""
    version = _version(call, Role.DEVELOPER)
    services.set_alias(principal=call.principal, version=version, alias=call.text("alias", required=True))
    return {}


def delete_alias(call: Call) -> dict[str, Any]:
    """Remove an alias."""
    model = _model(call, Role.DEVELOPER)
    services.delete_alias(principal=call.principal, model=model, alias=call.text("alias", required=True))
    return {}


def get_by_alias(call: Call) -> dict[str, Any]:
    """The version that an alias points at; `latest` is the newest one."""
    alias = call.text("alias", required=True)
    model = _model(call)
    newest = alias.lower() == selectors.LATEST
    rows = selectors.versions(model)
    version = (rows if newest else rows.filter(aliases__name=alias)).first()
    if version is None and newest:
        raise Missing(f"Latest version not found for model {model.name}.")
    if version is None:
        raise Invalid(f"Registered model alias {alias} not found.")
    return {"model_version": render.model_version(version)}


def create_version(call: Call) -> dict[str, Any]:
    """Make the next version from a source that Flotilla keeps; a run may, from what it logged itself."""
    project = call.project(Role.DEVELOPER)
    source = call.text("source", required=True, limit=1000)
    run, logged, path = resolve_source(call, project, source)
    check_own(call, run)
    version = services.create_version(
        principal=call.principal,
        project=project,
        model_name=call.text("name", required=True),
        run=run,
        logged_model=logged,
        artifact_path=path,
        source=source,
        description=call.text("description"),
        tags=call.pairs("tags", MAX_TAG_LENGTH),
    )
    return {"model_version": render.model_version(selectors.versions(version.model).get(pk=version.pk))}


def resolve_source(call: Call, project: Project, source: str) -> tuple[Run | None, LoggedModel | None, str]:
    """The artifacts at a source URI. Only those that Flotilla keeps for this project: no foreign URI is opened."""
    match = _URI.fullmatch(source)
    if match is None:
        raise Invalid(
            f"Invalid model version source: '{source[:200]}'.",
            hint="Register what a run logged: models:/m-…, runs:/<run>/<path> or an mlflow-artifacts: URI of Flotilla.",
        )
    parts = match.groupdict(default="")
    tails = ("model_path", "run_path", "store_model_path", "store_run_path")
    path = artifacts.clean_path(next((parts[tail] for tail in tails if parts[tail]), ""), allow_root=True)
    model_id, run_id = parts["model"] or parts["store_model"], parts["run"] or parts["store_run"]
    logged: LoggedModel | None = None
    run: Run | None = None
    if model_id:
        logged = logged_model_of(call, model_id, Role.DEVELOPER)
        run = logged.run
    else:
        run = run_by_uid(call, run_id, Role.DEVELOPER)
        # MLflow 3 keeps what `log_model(name=…)` wrote apart from the run's own files.
        if not artifacts.list_folder(run, path):
            logged = selectors.logged_model_of(run, path)
            path = "" if logged else path
    owner = logged.experiment.project_id if logged else run.experiment.project_id if run else None
    if owner != project.pk:
        raise Missing("The source belongs to another project.")
    return run, logged, path


def get_version(call: Call) -> dict[str, Any]:
    """One version."""
    return {"model_version": render.model_version(_version(call))}


def update_version(call: Call) -> dict[str, Any]:
    """Describe a version."""
    version = _version(call, Role.DEVELOPER)
    services.update_version(principal=call.principal, version=version, description=call.text("description"))
    return {"model_version": render.model_version(_version(call))}


def delete_version(call: Call) -> dict[str, Any]:
    """Remove a version."""
    services.delete_version(principal=call.principal, version=_version(call, Role.DEVELOPER))
    return {}


def search_versions(call: Call) -> dict[str, Any]:
    """Versions by filter, what changed last first unless asked otherwise."""
    rows = _related(ModelVersion.objects.filter(model__project=call.project()))
    part = versions(rows, call.text("filter"), call.strings("order_by"))
    page = page_of(part, call, size_of(call, default=MOST_VERSIONS, most=MOST_VERSIONS))
    return {"model_versions": [render.model_version(row) for row in page.rows], **token(page)}


def download_uri(call: Call) -> dict[str, Any]:
    """Where a version's files lie: an `mlflow-artifacts:` URI, whatever its source was."""
    return {"artifact_uri": uri_of(_version(call))}


def set_version_tag(call: Call) -> dict[str, Any]:
    """Set one tag of a version."""
    key = check_key(call.body.get("key"), "key")
    value = check_text(call.text("value"), MAX_TAG_LENGTH, "value")
    services.update_version(principal=call.principal, version=_version(call, Role.DEVELOPER), tags={key: value})
    return {}


def delete_version_tag(call: Call) -> dict[str, Any]:
    """Remove one tag of a version."""
    key = check_key(call.body.get("key"), "key")
    services.update_version(principal=call.principal, version=_version(call, Role.DEVELOPER), tags={key: None})
    return {}


def transition_stage(call: Call) -> dict[str, Any]:
    """Stages are deprecated in MLflow, and Flotilla has none."""
    raise Invalid("Flotilla has no stages, which MLflow deprecated.", hint="Use an alias such as 'champion'.")

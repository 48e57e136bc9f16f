"""`registered-models/*` and `model-versions/*` of MLflow's REST API."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from django.db.models import Prefetch
from django.http import HttpResponseBase

from apps.core.errors import Conflict, Invalid, Missing
from apps.core.models import Project
from apps.core.states import Role
from apps.experiments import selectors, services
from apps.experiments.files.downloads import file_response
from apps.experiments.mlflow import render
from apps.experiments.mlflow.artifacts import path_of
from apps.experiments.mlflow.lookup import check_own, logged_model_of
from apps.experiments.mlflow.paging import page_of, size_of, token
from apps.experiments.mlflow.sources import origin_of
from apps.experiments.mlflow.wire import Call, MlflowError
from apps.experiments.models import LoggedModel, ModelAlias, ModelVersion, RegisteredModel, Run
from apps.experiments.registry.files import file_of, uri_of
from apps.experiments.registry.origin import Origin
from apps.experiments.registry.stages import parse_stage
from apps.experiments.registry.uses import InUse
from apps.experiments.search import IS_PROMPT, models, versions
from apps.experiments.tracking.ingest import check_key, check_text

MAX_TAG_LENGTH = 100_000
MOST_VERSIONS = 200_000


def _model(call: Call, at_least: Role = Role.VIEWER) -> RegisteredModel:
    name = call.text("name", required=True)
    model = selectors.models(project=call.project(at_least)).filter(name=name).first()
    if model is None:
        raise Missing(f"Registered Model with name={name} not found")
    return model


def _version(call: Call, at_least: Role = Role.VIEWER) -> ModelVersion:
    name, number = call.text("name", required=True), call.text("version", required=True)
    if not re.fullmatch(r"[0-9]{1,9}", number):
        raise Invalid(f"Parameter 'version' must be an integer, got '{number[:100]}'.")
    try:
        return selectors.model_version(call.project(at_least), name, int(number))
    except Missing as error:
        raise Missing(f"Model Version (name={name}, version={number}) not found") from error


def _rendered(model: RegisteredModel) -> dict[str, Any]:
    return {"registered_model": render.registered_model(model, _latest([model]))}


def _latest(models: Iterable[RegisteredModel]) -> list[ModelVersion]:
    """The newest version of each stage of each model, in the order of models and versions: one query, and a few."""
    rows = ModelVersion.objects.filter(model__in=[model.pk for model in models])
    newest = _related(rows.order_by("model_id", "stage", "-version").distinct("model_id", "stage"))
    return sorted(newest, key=lambda row: (row.model_id, row.version))


def create_model(call: Call) -> dict[str, Any]:
    """Make an empty registered model; a run may, because logging with a registered name does."""
    name = call.text("name", required=True)
    project, tags = call.project(Role.DEVELOPER), call.pairs("tags", MAX_TAG_LENGTH)
    description = call.text("description")
    try:
        services.create_model(principal=call.principal, project=project, name=name, description=description, tags=tags)
    except Conflict as error:
        raise _taken(project, name, tags) from error
    return _rendered(_model(call))


def _taken(project: Project, name: str, tags: Mapping[str, str]) -> MlflowError:
    """A prompt is a model with a tag, and clients tell people of the two kinds by these words."""
    prompt = selectors.models(project=project).filter(name=name, tags__contains={IS_PROMPT: "true"}).exists()
    kinds = ("Registered Model", "Prompt")
    there, wanted = kinds[prompt], kinds[tags.get(IS_PROMPT) == "true"]
    said = f"{there} (name={name}) already exists."
    if there != wanted:
        said = (
            f"Tried to create a {wanted.lower()} with name {name!r}, but the name is already taken by a "
            f"{there.lower()}. The two share their names: choose another."
        )
    return MlflowError("RESOURCE_ALREADY_EXISTS", said)


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
    latest: dict[int, list[ModelVersion]] = {}
    for version in _latest(page.rows):
        latest.setdefault(version.model_id, []).append(version)
    return {
        "registered_models": [render.registered_model(row, latest.get(row.pk, ())) for row in page.rows],
        **token(page),
    }


def _related(rows: Any) -> Any:
    return rows.select_related("model", "run", "logged_model").prefetch_related(
        Prefetch("aliases", ModelAlias.objects.order_by("name"))
    )


def latest_versions(call: Call) -> dict[str, Any]:
    """The newest version of each stage that is asked for, or of all of them."""
    stages = {parse_stage(stage) for stage in call.strings("stages")}
    latest = _latest([_model(call)])
    return {"model_versions": [render.model_version(row) for row in latest if not stages or row.stage in stages]}


def _tag_set(call: Call) -> dict[str, Any]:
    value = check_text(call.body.get("value"), MAX_TAG_LENGTH, "value")
    return {check_key(call.body.get("key"), "key"): value}


def _tag_removed(call: Call) -> dict[str, Any]:
    return {check_key(call.body.get("key"), "key"): None}


def set_model_tag(call: Call) -> dict[str, Any]:
    """Set one tag of a model."""
    services.update_model(principal=call.principal, model=_model(call, Role.DEVELOPER), tags=_tag_set(call))
    return {}


def delete_model_tag(call: Call) -> dict[str, Any]:
    """Remove one tag of a model."""
    services.update_model(principal=call.principal, model=_model(call, Role.DEVELOPER), tags=_tag_removed(call))
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
    """Make the next version of the files at a source; a run may, from what it logged itself."""
    project = call.project(Role.DEVELOPER)
    source, model_id = call.text("source", required=True, limit=1000), call.text("model_id")
    # A prompt's text is in a tag, and its source says so.
    tags = call.pairs("tags", MAX_TAG_LENGTH)
    origin = Origin(location=source) if tags.get(IS_PROMPT) == "true" else origin_of(call, project, source)
    logged = _logged(call, project, model_id) if model_id else origin.logged
    run_id = call.text("run_id", limit=250)
    run = origin.run or (logged.run if logged else None) or _run_named(project, run_id)
    check_own(call, run)
    version = services.create_version(
        principal=call.principal,
        project=project,
        model_name=call.text("name", required=True),
        origin=replace(origin, run=run, logged=logged),
        source=source,
        source_run=run_id,
        description=call.text("description"),
        tags=tags,
    )
    return {"model_version": render.model_version(selectors.versions(version.model).get(pk=version.pk))}


def _logged(call: Call, project: Project, model_id: str) -> LoggedModel:
    logged = logged_model_of(call, model_id, Role.DEVELOPER)
    if logged.experiment.project_id != project.pk:
        raise Missing("The logged model belongs to another project.")
    return logged


def _run_named(project: Project, run_id: str) -> Run | None:
    """The run of the project with this id, if there is one: stock takes any id, of a run of another server too."""
    return selectors.runs(experiment__project=project).filter(uid=run_id).first() if run_id else None


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
    """Where a version's files lie: an `mlflow-artifacts:` URI, whatever its source was, unless they are elsewhere."""
    version = _version(call)
    return {"artifact_uri": version.location or uri_of(version)}


def get_artifact(call: Call) -> HttpResponseBase:
    """One of a version's files."""
    path = path_of(call, "path")
    return file_response(file_of(_version(call), path), call.request.headers)


def set_version_tag(call: Call) -> dict[str, Any]:
    """Set one tag of a version."""
    services.update_version(principal=call.principal, version=_version(call, Role.DEVELOPER), tags=_tag_set(call))
    return {}


def delete_version_tag(call: Call) -> dict[str, Any]:
    """Remove one tag of a version."""
    services.update_version(principal=call.principal, version=_version(call, Role.DEVELOPER), tags=_tag_removed(call))
    return {}


def transition_stage(call: Call) -> dict[str, Any]:
    """Bring a version to a stage, and the others that are in it to the archive where that is asked for."""
    services.set_stage(
        principal=call.principal,
        version=_version(call, Role.DEVELOPER),
        stage=parse_stage(call.text("stage", required=True)),
        archive_existing=str(call.body.get("archive_existing_versions", False)).lower() == "true",
    )
    return {"model_version": render.model_version(_version(call))}

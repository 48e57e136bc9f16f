"""Writes of the model registry."""

import contextlib
import json
import re

from django.db import IntegrityError, transaction
from django.utils import timezone

from apps.core import audit
from apps.core.access import Principal, require_role
from apps.core.database.rows import Expect, held, merged, put
from apps.core.errors import Conflict, Invalid, Missing
from apps.core.hints import hint
from apps.core.models import Project
from apps.core.states import Role
from apps.experiments import selectors
from apps.experiments.files import artifacts
from apps.experiments.models import TAG_LENGTH, LoggedModel, ModelAlias, ModelVersion, RegisteredModel, Run
from apps.experiments.purging.begun import check_stays
from apps.experiments.registry import moves, uses
from apps.experiments.registry.origin import Origin
from apps.experiments.registry.stages import Stage
from apps.experiments.services.authors import author

MAX_NAME = 250
_ALIAS = re.compile(r"(?!\.)[\w.-]{1,250}")
# MLflow keeps these for version numbers: "v3" and "latest" would be ambiguous in `models:/name@alias`.
_RESERVED_ALIAS = re.compile(r"^(v\d+|latest|\d+)$", re.IGNORECASE)
DEFAULT_ARTIFACT_PATH = "model"
# mlflow/utils/mlflow_tags.py: MLFLOW_MODEL_VERSIONS.
VERSIONS_TAG = "mlflow.modelVersions"


def create_model(
    *, principal: Principal, project: Project, name: str, description: str = "", tags: dict[str, str] | None = None
) -> RegisteredModel:
    """Make an empty registered model. Raises Conflict when the name is taken. Needs the developer role."""
    require_role(principal, project, Role.DEVELOPER)
    name = _checked_name(name)
    try:
        with transaction.atomic():
            model = RegisteredModel.objects.create(
                project=project, name=name, description=description, tags=tags or {}, created_by=author(principal)
            )
            audit.record(principal=principal, action="model.create", obj=model, project=project)
            hint("models", project.pk)
    except IntegrityError as error:
        raise Conflict(f"Model {name!r} exists already in project {project.name}.", field="name") from error
    return model


def _checked_name(name: str) -> str:
    if not name.strip() or len(name) > MAX_NAME or any(letter in "/:" or ord(letter) < 32 for letter in name):
        raise Invalid(f"A model's name has 1 to {MAX_NAME} letters, not only blanks, and no '/' or ':'.", field="name")
    if name in (".", ".."):
        raise Invalid("A model can't be called '.' or '..'.", field="name")
    return name


def register_version(
    *,
    principal: Principal,
    model_name: str,
    run: Run,
    artifact_path: str = "",
    description: str = "",
    tags: dict[str, str] | None = None,
) -> ModelVersion:
    """Make the next version of `model_name` (and the model, when it is new) from what a run kept.

    `artifact_path` names a model that the run logged, or a folder of its artifacts; by default the newest logged
    model, else the folder "model". Raises Missing when there are no such files. Needs the developer role.
    """
    logged = selectors.logged_model_of(run, artifact_path)
    path = "" if logged else artifacts.clean_path(artifact_path or DEFAULT_ARTIFACT_PATH)
    source = f"models:/{logged.uid}" if logged else f"runs:/{run.uid}/{path}"
    _require_files(run, logged, path)
    return create_version(
        principal=principal,
        project=run.experiment.project,
        model_name=model_name,
        origin=Origin(run, logged, path),
        source=source,
        description=description,
        tags=tags,
        create_missing=True,
    )


def create_version(
    *,
    principal: Principal,
    project: Project,
    model_name: str,
    origin: Origin,
    source: str = "",
    source_run: str = "",
    description: str = "",
    tags: dict[str, str] | None = None,
    create_missing: bool = False,
) -> ModelVersion:
    """Append a version. `source_run` is the id of a run that is none of Flotilla's. As in MLflow, nobody asks whether
    there are files yet. Needs the developer role.
    """
    run = origin.run
    require_role(principal, project, Role.DEVELOPER)
    if create_missing and not RegisteredModel.objects.filter(project=project, name=model_name).exists():
        # That somebody made it in between is as good.
        with contextlib.suppress(Conflict):
            create_model(principal=principal, project=project, name=model_name)
    with transaction.atomic():
        model = _next_number(project, model_name)
        check_stays(run, origin.logged, origin.logged.run if origin.logged is not None else None)
        version = ModelVersion.objects.create(
            model=model,
            version=model.last_version,
            run=run,
            logged_model=origin.logged,
            source=source[:1000],
            source_run=run.uid if run else source_run[:250],
            artifact_path=origin.path,
            location=origin.location,
            description=description,
            tags=tags or {},
            created_by=author(principal),
        )
        if origin.logged is not None:
            _note_version(origin.logged, version)
        audit.record(
            principal=principal,
            action="model.version",
            obj=version,
            project=project,
            after={"source": source, "run": run.uid if run else ""},
        )
        hint("models", project.pk)
        if run is not None:
            hint(f"run:{run.pk}", project.pk)
    return version


def _next_number(project: Project, name: str) -> RegisteredModel:
    """The model, locked, with the number of its next version. Raises Missing."""
    model = RegisteredModel.objects.select_for_update().filter(project=project, name=name).first()
    if model is None:
        raise Missing(f"There is no model {name!r} in project {project.name}.", field="name")
    put(model, last_version=model.last_version + 1)
    return model


def _note_version(logged: LoggedModel, version: ModelVersion) -> None:
    """Tell the logged model of its version, in the tag where MLflow's clients look for it: the last that fit there."""
    now = held(logged)
    try:
        told = json.loads(now.tags.get(VERSIONS_TAG, "[]"))
    except (ValueError, RecursionError):  # anybody may write the tag
        told = []
    versions = [*(told if isinstance(told, list) else []), {"name": version.model.name, "version": version.version}]
    while len(text := json.dumps(versions)) > TAG_LENGTH:
        versions = versions[1 + len(versions) // 10 :]
    put(now, tags={**now.tags, VERSIONS_TAG: text})


def _require_files(run: Run, logged_model: LoggedModel | None, path: str) -> None:
    rows = artifacts.artifacts_of(logged_model or run)
    if path:
        rows = rows.filter(path=path) | rows.filter(path__gte=f"{path}/", path__lt=f"{path}0")
    if not rows.exists():
        where = f"run {run.uid}" if logged_model is None else str(logged_model)
        raise Missing(
            f"{where} keeps no files{f' below {path!r}' if path else ''}, so there is nothing to register.",
            hint="Log the model first, or name the folder that it was logged to.",
            field="artifact_path",
        )


@transaction.atomic
def set_alias(*, principal: Principal, version: ModelVersion, alias: str) -> ModelAlias:
    """Point `alias` at a version, moving it from another one where it is set already. Needs the developer role."""
    project = version.model.project
    require_role(principal, project, Role.DEVELOPER)
    if not _ALIAS.fullmatch(alias) or _RESERVED_ALIAS.match(alias):
        raise Invalid(
            f"{alias!r} can't be an alias.",
            hint="Use letters, digits, '_', '-' and, further on, '.', but no number, 'v1' or 'latest'.",
            field="alias",
        )
    model = held(version.model)
    version = held(version)
    old = ModelAlias.objects.filter(model=model, name=alias).select_related("version").first()
    row, _ = ModelAlias.objects.update_or_create(model=model, name=alias, defaults={"version": version})
    _touched(model)
    if old is None or old.version_id != version.pk:
        moves.tell(principal, model, alias, version.version)
    audit.record(
        principal=principal,
        action="model.alias",
        obj=model,
        project=project,
        before={alias: old.version.version} if old else None,
        after={alias: version.version},
    )
    return row


@transaction.atomic
def delete_alias(*, principal: Principal, model: RegisteredModel, alias: str) -> bool:
    """Remove an alias; False when there was none. Needs the developer role."""
    require_role(principal, model.project, Role.DEVELOPER)
    model = held(model, "project")
    gone, _ = ModelAlias.objects.filter(model=model, name=alias).delete()
    if gone:
        _touched(model)
        moves.tell(principal, model, alias, None)
        audit.record(
            principal=principal, action="model.alias", obj=model, project=model.project, before={"alias": alias}
        )
    return bool(gone)


@transaction.atomic
def update_model(
    *,
    principal: Principal,
    model: RegisteredModel,
    name: str | None = None,
    description: str | None = None,
    tags: dict[str, str | None] | None = None,
    expect: Expect | None = None,
) -> RegisteredModel:
    """Rename, describe or tag a model; a tag whose value is None is removed. Needs the developer role.

    Returns the model as it is now: other people's changes since it was read stay. Raises InUse for another name while
    a version is served: replicas fetch it by its name.
    """
    require_role(principal, model.project, Role.DEVELOPER)
    now = held(model, "project", expect=expect)
    if name is not None and name != now.name:
        uses.check_unused(now.versions.all(), f"This renames {now.name}", may_force=False)
    before = {"name": now.name, "description": now.description}
    after = {
        "name": now.name if name is None or name == now.name else _checked_name(name),
        "description": now.description if description is None else description,
    }
    try:
        with transaction.atomic():
            put(now, **after, tags=merged(now.tags, tags))
    except IntegrityError as error:
        raise Conflict(f"Model {after['name']!r} exists already.", field="name") from error
    audit.record(principal=principal, action="model.update", obj=now, project=now.project, before=before, after=after)
    hint("models", now.project_id)
    return now


@transaction.atomic
def update_version(
    *,
    principal: Principal,
    version: ModelVersion,
    description: str | None = None,
    tags: dict[str, str | None] | None = None,
    expect: Expect | None = None,
) -> ModelVersion:
    """Describe or tag a version. Its run and files never change. Needs the developer role."""
    require_role(principal, version.model.project, Role.DEVELOPER)
    held(version.model)
    now = held(version, "model", expect=expect)
    before = {"description": now.description}
    after = {"description": now.description if description is None else description}
    put(now, **after, tags=merged(now.tags, tags))
    project = version.model.project
    hint("models", project.pk)
    audit.record(
        principal=principal, action="model.version.update", obj=now, project=project, before=before, after=after
    )
    return now


@transaction.atomic
def set_stage(
    *, principal: Principal, version: ModelVersion, stage: Stage, archive_existing: bool = False
) -> ModelVersion:
    """Bring a version to a stage; with `archive_existing`, the others that are in it are archived at the same moment.

    Needs the developer role. Raises Invalid where a stage is to be cleared in which versions are not used.
    """
    require_role(principal, version.model.project, Role.DEVELOPER)
    if archive_existing and not stage.serves:
        raise Invalid(
            f"Model version transition cannot archive existing model versions because '{stage}' is not an Active "
            f"stage. Valid stages are {', '.join(each for each in Stage if each.serves)}",
            field="archive_existing_versions",
        )
    model = held(version.model)
    now, moment = held(version, "model"), timezone.now()
    if archive_existing:
        others = model.versions.filter(stage=stage).exclude(pk=now.pk)
        others.update(stage=Stage.ARCHIVED, updated_at=moment)
    before = {"stage": now.stage}
    ModelVersion.objects.filter(pk=now.pk).update(stage=stage, updated_at=moment)
    _touched(model)
    audit.record(
        principal=principal,
        action="model.version.stage",
        obj=now,
        project=version.model.project,
        before=before,
        after={"stage": stage.value},
    )
    now.refresh_from_db(fields=["stage", "updated_at"])
    return now


@transaction.atomic
def delete_version(
    *, principal: Principal, version: ModelVersion, force: bool = False, expect: Expect | None = None
) -> None:
    """Remove a version and the aliases that point at it; its files stay with the run. Needs the developer role.

    Raises InUse while it is served, unless `force` says that the caller knows.
    """
    require_role(principal, version.model.project, Role.DEVELOPER)
    model = held(version.model)
    now = held(version, "model", expect=expect)
    if not force:
        uses.check_unused(ModelVersion.objects.filter(pk=now.pk), f"This deletes {now}", may_force=True)
    audit.record(principal=principal, action="model.version.delete", obj=now, project=version.model.project)
    _touched(model)
    moves.tell_gone(principal, model, version=now.version)
    now.delete()


@transaction.atomic
def delete_model(
    *, principal: Principal, model: RegisteredModel, force: bool = False, expect: Expect | None = None
) -> None:
    """Remove a model with all its versions and aliases; the runs and their files stay. Needs the developer role.

    Raises InUse while a version is served, unless `force` says that the caller knows.
    """
    require_role(principal, model.project, Role.DEVELOPER)
    now = held(model, expect=expect)
    if not force:
        uses.check_unused(now.versions.all(), f"This deletes {now}", may_force=True)
    audit.record(principal=principal, action="model.delete", obj=now, project=model.project)
    hint("models", model.project_id)
    moves.tell_gone(principal, now)
    now.delete()


def _touched(model: RegisteredModel) -> None:
    put(model)
    hint("models", model.project_id)

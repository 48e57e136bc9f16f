"""Registered models are brought, with their versions in their numbers, and with their aliases."""

import re
from typing import Any

from django.db import transaction
from django.utils import timezone

from apps.core import audit
from apps.core.errors import FlotillaError, Invalid
from apps.experiments import services
from apps.experiments.models import Imported, LoggedModel, ModelVersion, RegisteredModel
from apps.experiments.registry.foreign import check_foreign
from apps.experiments.registry.origin import Origin
from apps.experiments.registry.stages import Stage
from apps.experiments.services.authors import author
from apps.experiments.services.importing.logged import run_here
from apps.experiments.services.importing.mapping import LOGGED, MODEL, VERSION, keep
from apps.experiments.services.importing.reading import PROMPT_TAG, Row, pairs
from apps.experiments.services.importing.runs import Bringing
from apps.experiments.tracking.clock import moment

# Where the files of a version lie, whatever the store: below a logged model's folder, or below a run's.
_LOGGED = re.compile(r"models:/(m-[0-9a-f]{32})(?:/(.+))?|.*/models/(m-[0-9a-f]{32})/artifacts/?(.*)")
_RUN = re.compile(r"runs:/+([0-9a-f]{32})/(.+)|.*/([0-9a-f]{32})/artifacts/?(.*)")
_COPY = re.compile(r"models:/([^/@]+)/(\d+)")


def bring(to: Bringing, said: Row, versions: list[Row]) -> None:
    """Bring a registered model with all of its versions and aliases. One whose name was here before is left alone."""
    name = str(said["name"])
    row = to.known.find(MODEL, name)
    if row is None and RegisteredModel.objects.filter(project=to.known.project, name=name).exists():
        row = to.known.note(MODEL, name, "")
        row.notes = ["the project has a model of that name, which is not from this server; it was left as it is"]
        keep(row)
        return
    if row is not None and not row.target:
        return
    model = _opened(to, said, versions)
    row = to.known.note(MODEL, name, name)
    row.notes = []
    for version in versions:
        _bring_version(to, model, version)
    _point_aliases(to, model, said, row)
    keep(row)
    to.progress.add(models=1)


@transaction.atomic
def _opened(to: Bringing, said: Row, versions: list[Row]) -> RegisteredModel:
    """The model. Its row in the mapping comes with it, so that nobody takes it for somebody else's."""
    name, project = str(said["name"]), to.known.project
    columns = {"description": str(said.get("description") or ""), "tags": pairs(said.get("tags"))}
    made = {**columns, "created_by": str(said.get("user_id") or author(to.principal))[:200]}
    model, created = RegisteredModel.objects.update_or_create(
        project=project, name=name, defaults=columns, create_defaults=made
    )
    to.known.note(MODEL, name, name)
    last = max([model.last_version, *(int(version["version"]) for version in versions)])
    RegisteredModel.objects.filter(pk=model.pk).update(last_version=last, **_times(said))
    if created:
        audit.record(principal=to.principal, action="model.import", obj=model, project=project, after={"last": last})
    return model


def _times(said: Row) -> dict[str, Any]:
    made = moment(int(said.get("creation_timestamp") or 0)) or timezone.now()
    return {"created_at": made, "updated_at": moment(int(said.get("last_updated_timestamp") or 0)) or made}


def _bring_version(to: Bringing, model: RegisteredModel, said: Row) -> None:
    number = int(said["version"])
    row = to.known.note(VERSION, f"{model.name}/{number}", f"{model.name}/{number}")
    row.notes = []
    origin = _origin(to, said, row)
    stage = str(said.get("current_stage") or Stage.NONE)
    columns: dict[str, Any] = {
        "run": origin.run,
        "logged_model": origin.logged,
        "artifact_path": origin.path,
        "location": origin.location,
        "source": str(said.get("source") or "")[:1000],
        "source_run": origin.run.uid if origin.run else str(said.get("run_id") or "")[:250],
        "state": str(said.get("status") or "READY")[:32],
        "stage": stage if stage in list(Stage) else Stage.NONE,
        "description": str(said.get("description") or ""),
        "tags": pairs(said.get("tags")),
    }
    made = {**columns, "created_by": str(said.get("user_id") or author(to.principal))[:200]}
    with transaction.atomic():
        version, created = ModelVersion.objects.update_or_create(
            model=model, version=number, defaults=columns, create_defaults=made
        )
        ModelVersion.objects.filter(pk=version.pk).update(**_times(said))
        keep(row)
    if created:
        to.progress.add(versions=1)


def _origin(to: Bringing, said: Row, row: Imported) -> Origin:
    """The files that the version is made of: those that came with its run or its logged model, else what its source
    says, which clients open."""
    source, uid = str(said.get("source") or ""), str(said.get("model_id") or "")
    if match := _LOGGED.fullmatch(source):
        uid = uid or match[1] or match[3]
        known = to.known.find(LOGGED, uid)
        logged = LoggedModel.objects.filter(uid=known.target).select_related("run").first() if known else None
        if logged is not None:
            return Origin(logged.run, logged, (match[2] or match[4] or "").strip("/"))
    if match := _RUN.fullmatch(source):
        run = run_here(to, match[1] or match[3])
        if run is not None:
            return Origin(run, None, (match[2] or match[4] or "").strip("/"))
    if match := _COPY.fullmatch(source):
        copied = (
            ModelVersion.objects.filter(model__project=to.known.project, model__name=match[1], version=int(match[2]))
            .select_related("run", "logged_model")
            .first()
        )
        if copied is not None:
            return Origin(copied.run, copied.logged_model, copied.artifact_path, copied.location)
    run = run_here(to, str(said.get("run_id") or ""))
    try:
        check_foreign(source)
    except Invalid:
        # A prompt is its tags, and has no files.
        if PROMPT_TAG not in pairs(said.get("tags")):
            row.notes.append(f"its source {source[:200]!r} is nothing that was brought, nor a store's address")
        return Origin(run=run)
    return Origin(run=run, location=source[:1000])


def _point_aliases(to: Bringing, model: RegisteredModel, said: Row, row: Imported) -> None:
    """Aliases point where they point there. Who follows one hears of it, as when a person moves it."""
    here = dict(model.aliases.values_list("name", "version__version"))
    for alias, number in aliases_of(said).items():
        version = model.versions.filter(version=number).first()
        if here.get(alias) == number:
            continue
        if version is None:
            row.notes.append(f"alias {alias!r} points to version {number}, which is not there")
            continue
        try:
            services.set_alias(principal=to.principal, version=version, alias=alias)
        except FlotillaError as error:
            row.notes.append(f"alias {alias!r}: {error.message[:300]}")


def is_copy(said: Row) -> bool:
    """Whether a version was made from another one, which has to be here first."""
    return _COPY.fullmatch(str(said.get("source") or "")) is not None


def aliases_of(said: Row) -> dict[str, int]:
    """The aliases of a registered model, as its server tells them."""
    return {str(item["alias"]): int(item["version"]) for item in said.get("aliases") or []}

"""`/api/2.0/mlflow-artifacts/*`: files by the URIs that `artifacts.root_uri` gave out.

A URI's path is `<experiment>/<run>/artifacts/<path>` or `<experiment>/models/<model>/artifacts/<path>`: the first part
finds the owner, through the door; the rest is a name in Postgres. A trace has one file alone (`trace_files`).
"""

from typing import Any

from django.db import transaction
from django.http import HttpResponseBase

from apps.core.errors import Invalid, Missing
from apps.core.states import Role
from apps.experiments.files import artifacts
from apps.experiments.files.artifacts import Owner
from apps.experiments.files.downloads import file_response
from apps.experiments.mlflow import render, trace_files
from apps.experiments.mlflow.lookup import check_own, logged_model_of, run_by_uid
from apps.experiments.mlflow.wire import Call, MlflowError, raw_body
from apps.experiments.models import Run
from apps.experiments.registry.uses import check_files_unused
from apps.experiments.tracking import pulse


def path_of(call: Call, name: str, *, allow_root: bool = False) -> str:
    """A path below an owner's root, of an argument. Raises MlflowError: programs know the two words."""
    try:
        return artifacts.clean_path(call.text(name), allow_root=allow_root)
    except Invalid as error:
        raise MlflowError("INVALID_PARAMETER_VALUE", "Invalid path") from error


def owner_of(call: Call, path: str, at_least: Role = Role.VIEWER) -> tuple[Owner, str]:
    """The owner of a URI's path, and the path below the owner's root. Raises Missing or Invalid."""
    clean = artifacts.clean_path(path.strip("/"))
    parts = clean.split("/")
    if len(parts) >= 4 and parts[1] == "models" and parts[3] == "artifacts":
        # A deleted model keeps its files, and they can be read: a version of it may be served.
        model = logged_model_of(call, parts[2], at_least, deleted=at_least is Role.VIEWER)
        if str(model.experiment_id) == parts[0]:
            return model, "/".join(parts[4:])
    elif len(parts) >= 3 and parts[2] == "artifacts":
        run = run_by_uid(call, parts[1], at_least)
        if str(run.experiment_id) == parts[0]:
            if at_least is not Role.VIEWER:
                check_own(call, run)
            return run, "/".join(parts[3:])
    raise Missing(f"There are no artifacts at {clean[:200]!r}.")


@raw_body
def upload(call: Call, path: str) -> dict[str, Any]:
    """PUT: store one file."""
    if trace_files.is_of_trace(path):
        trace_files.upload(call, path)
        return {}
    owner, name = owner_of(call, path, Role.DEVELOPER)
    artifacts.write(owner, name, call.request)
    _announce(owner)
    return {}


def download(call: Call, path: str) -> HttpResponseBase:
    """GET: one file."""
    if trace_files.is_of_trace(path):
        return trace_files.download(call, path)
    owner, name = owner_of(call, path)
    return file_response(artifacts.get(owner, name), call.request.headers)


def delete(call: Call, path: str) -> dict[str, Any]:
    """DELETE: a file, or a folder with all below it."""
    owner, name = owner_of(call, path, Role.DEVELOPER)
    with transaction.atomic():
        check_files_unused(owner, name)
        gone = artifacts.delete(owner, name)
    if not gone:
        raise Missing(f"There is no artifact {name[:200]!r}.")
    _announce(owner)
    return {}


def listing(call: Call) -> dict[str, Any]:
    """GET ?path=: a folder, with paths relative to it."""
    owner, folder = owner_of(call, call.text("path", required=True))
    return {"files": render.files(artifacts.list_folder(owner, folder), prefix=folder)}


def _announce(owner: Owner) -> None:
    run = owner if isinstance(owner, Run) else owner.run
    if run is not None:
        pulse.run_logged(run.pk, run.experiment_id, owner.experiment.project_id)

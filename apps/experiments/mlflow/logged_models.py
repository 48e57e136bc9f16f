"""`logged-models/*` of MLflow's REST API: what `log_model` of MLflow 3 speaks."""

import json
import secrets
import zlib
from typing import Any

from django.http import HttpResponseBase

from apps.core.database.keyset import Page
from apps.core.errors import Invalid
from apps.core.states import Role
from apps.experiments import selectors, services
from apps.experiments.files import artifacts
from apps.experiments.files.downloads import file_response
from apps.experiments.mlflow import render
from apps.experiments.mlflow.artifacts import path_of
from apps.experiments.mlflow.lookup import check_own, experiment_of, experiment_pks, logged_model_of, run_by_uid
from apps.experiments.mlflow.paging import page_of, token
from apps.experiments.mlflow.wire import Call
from apps.experiments.models import PARAM_LENGTH, TAG_LENGTH, LoggedModel
from apps.experiments.search import logged_models
from apps.experiments.search.grammar import Ordering
from apps.experiments.services.logged import STATUSES
from apps.experiments.tracking.ingest import check_text

DEFAULT_PAGE, MOST_A_PAGE = 100, 1000
# protobuf's enum LoggedModelStatus by number (mlflow/protos/service.proto).
_STATUS_NUMBERS = {1: STATUSES[0], 2: STATUSES[1], 3: STATUSES[2]}


def create(call: Call) -> dict[str, Any]:
    """Open a logged model of a run, or of an experiment alone."""
    uid = call.text("source_run_id")
    run = run_by_uid(call, uid, Role.DEVELOPER) if uid else None
    check_own(call, run)
    experiment = run.experiment if run and not call.text("experiment_id") else experiment_of(call, Role.DEVELOPER)
    if run is not None and run.experiment_id != experiment.pk:
        raise Invalid("The source run belongs to another experiment.")
    model = services.create_logged_model(
        principal=call.principal,
        experiment=experiment,
        run=run,
        name=call.text("name", limit=500) or f"model-{secrets.token_hex(4)}",
        model_type=call.text("model_type"),
        params=call.pairs("params", PARAM_LENGTH, cut=True),
        tags=call.pairs("tags", TAG_LENGTH, cut=True),
    )
    return _told(model)


def _told(model: LoggedModel) -> dict[str, Any]:
    (row,) = selectors.with_metrics([model])
    return {"model": render.logged_model(row)}


def get(call: Call, model_id: str) -> dict[str, Any]:
    """One logged model."""
    deleted = call.text("allow_deleted").lower() == "true"
    return _told(logged_model_of(call, model_id, deleted=deleted))


def finalize(call: Call, model_id: str) -> dict[str, Any]:
    """Say whether its files were uploaded."""
    model = logged_model_of(call, model_id, Role.DEVELOPER)
    status = call.body.get("status")
    name = _STATUS_NUMBERS.get(status, "") if isinstance(status, int) else call.text("status", required=True)
    return _told(services.finish_logged_model(principal=call.principal, model=model, status=name))


def delete(call: Call, model_id: str) -> dict[str, Any]:
    """Mark a logged model as deleted."""
    model = logged_model_of(call, model_id, Role.DEVELOPER)
    services.delete_logged_model(principal=call.principal, model=model)
    return {}


def log_params(call: Call, model_id: str) -> dict[str, Any]:
    """Add params."""
    model = logged_model_of(call, model_id, Role.DEVELOPER)
    params = call.pairs("params", PARAM_LENGTH, cut=True)
    services.change_logged_model(principal=call.principal, model=model, params=params)
    return {}


def set_tags(call: Call, model_id: str) -> dict[str, Any]:
    """Add tags."""
    model = logged_model_of(call, model_id, Role.DEVELOPER)
    tags: dict[str, str | None] = {**call.pairs("tags", TAG_LENGTH, cut=True)}
    return _told(services.change_logged_model(principal=call.principal, model=model, tags=tags))


def delete_tag(call: Call, model_id: str, key: str) -> dict[str, Any]:
    """Remove one tag."""
    model = logged_model_of(call, model_id, Role.DEVELOPER)
    services.change_logged_model(principal=call.principal, model=model, tags={key: None})
    return {}


def search(call: Call) -> dict[str, Any]:
    """The logged models of some experiments by a filter, the newest first unless asked otherwise."""
    datasets = [_dataset(item, "datasets") for item in call.objects("datasets")]
    if not all(name for name, _ in datasets):
        raise Invalid("`dataset_name` in the `datasets` clause must be specified.", field="datasets")
    rows = LoggedModel.objects.filter(experiment_id__in=experiment_pks(call), deleted_at=None).select_related("run")
    orders = [_ordering(item) for item in call.objects("order_by")]
    part = logged_models(rows, call.text("filter"), orders, datasets)
    # MLflow takes 0 for no wish here, and any number; more than a page come in several.
    size = call.integer("max_results") or DEFAULT_PAGE
    if size < 0:
        raise Invalid("Invalid value for parameter 'max_results' supplied: it must not be negative.")
    page = page_of(part, _without_scope(call), min(size, MOST_A_PAGE))
    return {
        "models": [render.logged_model(row) for row in selectors.with_metrics(page.rows)],
        **_with_scope(call, page),
    }


# What a page token is bound to, as on MLflow's server, and what is said where it comes with something else.
_SCOPE = {
    "experiment_ids": "Experiment IDs in the page token do not match the requested ones.",
    "order_by": "Order by in the page token does not match the requested one.",
    "filter": "Filter string in the page token does not match the requested one.",
}
_MARK = 8


def _marks(call: Call) -> list[str]:
    """A short mark of each argument of the scope."""
    said = [json.dumps(call.body.get(name) or None, sort_keys=True) for name in _SCOPE]
    return [f"{zlib.crc32(text.encode()):0{_MARK}x}" for text in said]


def _with_scope(call: Call, page: Page) -> dict[str, str]:
    return {name: "".join(_marks(call)) + text for name, text in token(page).items()}


def _without_scope(call: Call) -> Call:
    """The call with the page's own token. Raises Invalid where that belongs to another search."""
    said = call.text("page_token")
    for number, (mark, why) in enumerate(zip(_marks(call), _SCOPE.values(), strict=True)):
        if said and said[number * _MARK :][:_MARK] != mark:
            raise Invalid(why, hint="Search from the first page on.", field="page_token")
    return call.about(page_token=said[len(_SCOPE) * _MARK :])


def _ordering(item: dict[str, Any]) -> Ordering:
    """One of `order_by`, which is no text here but an object. Raises Invalid."""
    name, ascending = item.get("field_name"), item.get("ascending", True)
    if not isinstance(name, str) or not isinstance(ascending, bool):
        raise Invalid("Invalid order_by: each has a 'field_name', and may have 'ascending' (true or false).")
    kind, dot, key = name.partition(".")
    if dot and kind != "metrics":
        raise Invalid(f"Invalid order_by: '{name[:100]}' is no attribute of a logged model, nor one of metrics.")
    dataset = _dataset(item, "order_by")
    return Ordering("metric" if dot else "attribute", key if dot else name, not ascending, dataset)


def _dataset(item: dict[str, Any], where: str) -> tuple[str, str]:
    """The name and the digest of a dataset, each "" where it does not matter. Raises Invalid."""
    name, digest = (check_text(item.get(part), 500, f"{where}.{part}") for part in ("dataset_name", "dataset_digest"))
    return name, digest


def list_artifacts(call: Call, model_id: str) -> dict[str, Any]:
    """The entries of a folder of the model's files."""
    model = logged_model_of(call, model_id)
    name = "artifact_directory_path" if call.text("artifact_directory_path") else "path"
    path = path_of(call, name, allow_root=True)
    return {"root_uri": artifacts.root_uri(model), "files": render.files(artifacts.list_folder(model, path))}


def get_artifact(call: Call, model_id: str) -> HttpResponseBase:
    """One of the model's files."""
    path = path_of(call, "artifact_file_path")
    return file_response(artifacts.get(logged_model_of(call, model_id, deleted=True), path), call.request.headers)

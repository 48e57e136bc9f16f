"""`runs/*` of MLflow's REST API."""

import io
import json
import uuid
from collections.abc import Callable
from typing import Any

from django.http import HttpResponseBase

from apps.core.access import Principal
from apps.core.database.prepared import FindOne
from apps.core.errors import Invalid, Missing
from apps.core.states import Role
from apps.experiments import services
from apps.experiments.files import artifacts
from apps.experiments.files.downloads import file_response
from apps.experiments.mlflow import render
from apps.experiments.mlflow.artifacts import path_of
from apps.experiments.mlflow.direct import Visit, direct
from apps.experiments.mlflow.experiments import is_active
from apps.experiments.mlflow.lookup import active_run, experiment_pks, run_of, writable_run
from apps.experiments.mlflow.paging import size_of, token
from apps.experiments.mlflow.wire import Call, query_of, raw_body
from apps.experiments.models import PARAM_LENGTH, TAG_LENGTH, Experiment, Run, Tag
from apps.experiments.search import RunSearch
from apps.experiments.tracking import ingest, pulse
from apps.experiments.tracking.clock import moment
from apps.experiments.tracking.permits import Permit
from apps.experiments.tracking.store import store
from apps.experiments.tracking.tags import RUN_NAME_TAG, USER_TAG
from apps.experiments.tracking.told import Values, runs_told, values_of
from apps.experiments.tracking.used import Used, used_by

_run = FindOne(Run, "id")
_STATUS_NAMES = {1: "RUNNING", 2: "SCHEDULED", 3: "FINISHED", 4: "FAILED", 5: "KILLED"}


@direct
def create(visit: Visit) -> dict[str, Any]:
    """Open an external run."""
    about = visit.arguments

    def work(permit: Permit | None, principal: Principal, experiment: Experiment) -> dict[str, Any] | None:
        tags = about.pairs("tags", TAG_LENGTH, cut=True)
        name = about.text("run_name")[:TAG_LENGTH] or tags.get(RUN_NAME_TAG, "") or f"run-{uuid.uuid4().hex[:8]}"
        run = services.create_external_run(
            principal=principal,
            experiment=experiment,
            name=name,
            started_at=moment(about.integer("start_time", 0) or 0),
            user=(about.text("user_id") or tags.get(USER_TAG, ""))[:200],
            tags=tags,
            permit=permit,
        )
        rows = {**tags, RUN_NAME_TAG: name}
        return None if run is None else {"run": render.run_of(run, Values(tags=dict(sorted(rows.items()))), Used())}

    return visit.on_experiment(work)


@direct
def get(visit: Visit) -> dict[str, Any]:
    """A run with its latest values."""
    return {"run": visit.on_run(_told)}


def _told(permit: Permit) -> dict[str, Any] | None:
    values = values_of(permit)
    run = _run(permit.run.pk) if values is not None and permit.run is not None else None
    if values is None or run is None:
        return None
    return render.run_of(run, values, used_by([run.pk])[run.pk] if values.has_more else Used())


def update(call: Call) -> dict[str, Any]:
    """Change the status, the end time or the name."""
    status = call.body.get("status")
    status = _STATUS_NAMES.get(status, str(status)) if isinstance(status, int) else call.text("status")
    run = services.update_run(
        principal=call.principal,
        run=writable_run(call),
        status=status,
        ended_at=moment(call.integer("end_time", 0) or 0),
        name=call.text("run_name")[:TAG_LENGTH],
    )
    return {"run_info": render.run_info(run)}


def delete(call: Call) -> dict[str, Any]:
    """Mark a run as deleted."""
    services.delete_run(principal=call.principal, run=run_of(call, Role.DEVELOPER))
    return {}


def restore(call: Call) -> dict[str, Any]:
    """Bring a deleted run back."""
    services.restore_run(principal=call.principal, run=run_of(call, Role.DEVELOPER))
    return {}


@direct
def log_batch(visit: Visit) -> dict[str, Any]:
    """Metrics, params and tags in one transaction."""
    size = len(visit.sent.body)

    def parse(body: dict[str, Any]) -> ingest.Batch:
        if size > ingest.MAX_BATCH_BYTES:
            raise Invalid(
                f"Batched logging API requests must be at most {ingest.MAX_BATCH_BYTES} bytes, got a request of size "
                f"{size}."
            )
        return ingest.parse_batch(body)

    return _log(visit, parse)


@direct
def log_metric(visit: Visit) -> dict[str, Any]:
    """One metric."""
    return _log(visit, ingest.one_metric)


@direct
def log_param(visit: Visit) -> dict[str, Any]:
    """One param."""
    return _log(visit, lambda body: ingest.Batch(params=dict([ingest.pair(body, PARAM_LENGTH)])))


@direct
def set_tag(visit: Visit) -> dict[str, Any]:
    """One tag."""
    return _log(visit, lambda body: ingest.Batch(tags=dict([ingest.pair(body, TAG_LENGTH)])))


def _log(visit: Visit, parse: Callable[[dict[str, Any]], ingest.Batch]) -> dict[str, Any]:
    def work(permit: Permit) -> Permit | None:
        return permit if store(permit, parse(visit.arguments.body)) else None

    permit = visit.on_run(work)
    if permit.run is not None:
        pulse.run_logged(permit.run.pk, permit.experiment.pk, permit.experiment.project_id)
    return {}


def delete_tag(call: Call) -> dict[str, Any]:
    """Remove one tag."""
    run = active_run(call)
    key = ingest.check_key(call.body.get("key"), "key")
    gone, _ = Tag.objects.filter(run=run, key=key).delete()
    if not gone:
        raise Missing(f"No tag with name: {key} in run with id {run.uid}")
    pulse.run_logged(run.pk, run.experiment_id, run.experiment.project_id)
    return {}


@direct
def search(visit: Visit) -> bytes:
    """Runs of some experiments by a filter, in an order."""
    ask = visit.asked()
    run_search = RunSearch(
        experiment_pks(ask),
        filter_text=ask.text("filter"),
        order_by=ask.strings("order_by"),
        active=is_active(ask, "run_view_type"),
    )
    page = run_search.page(size_of(ask, default=1000, most=50_000), ask.text("page_token"))
    used = used_by(page.rows)
    runs = ",".join(render.run_text(row, used[row.pk]) for row in runs_told(page.rows))
    # The names that an answer may have beside: all in one object.
    more = json.dumps(token(page))[1:]
    return f'{{"runs":[{runs}]{", " if page.next else ""}{more}'.encode()


def list_artifacts(call: Call) -> dict[str, Any]:
    """The entries of a folder of the run's artifacts. Paths are relative to the run's root."""
    run = run_of(call)
    entries = artifacts.list_folder(run, path_of(call, "path", allow_root=True))
    return {"root_uri": artifacts.root_uri(run), "files": render.files(entries)}


def get_artifact(call: Call) -> HttpResponseBase:
    """One of the run's files."""
    path = path_of(call, "path")
    return file_response(artifacts.get(run_of(call), path), call.request.headers)


@raw_body
def upload_artifact(call: Call) -> dict[str, Any]:
    """Store one small file, whose place the query names."""
    call = call.about(**{name: values[-1] for name, values in query_of(call.request).items()})
    for name in ("run_uuid", "path"):
        if not call.text(name):
            raise Invalid(f"Request must specify {name}.", field=name)
    path, run = path_of(call, "path"), active_run(call)
    if not call.request.body:
        raise Invalid("Request must specify data.", field="body")
    artifacts.write(run, path, io.BytesIO(call.request.body))
    pulse.run_logged(run.pk, run.experiment_id, run.experiment.project_id)
    return {}


def outputs(call: Call) -> dict[str, Any]:
    """Note at which step a run put out its logged models."""
    run = active_run(call)
    models = call.objects("models")
    steps = {str(item.get("model_id") or ""): ingest.int64(item.get("step") or 0, "step") for item in models}
    services.note_model_steps(principal=call.principal, run=run, steps=steps)
    return {}

"""Logged models are brought, with their params, tags, metrics and files."""

from typing import Any

from django.db import transaction
from django.utils import timezone

from apps.core.errors import Invalid
from apps.experiments.models import Experiment, Imported, LoggedModel, Run
from apps.experiments.services.importing import files
from apps.experiments.services.importing.mapping import RUN, keep, mark_of
from apps.experiments.services.importing.reading import Row, pairs
from apps.experiments.services.importing.runs import Bringing
from apps.experiments.services.logged import READY, STATUSES
from apps.experiments.tracking import ingest, measured
from apps.experiments.tracking.clock import moment


def bring(to: Bringing, experiment: Experiment, said: Row) -> None:
    """Bring one logged model whole, unless it was brought whole as it is told of now."""
    uid = str(said["info"]["model_id"])
    row = to.known.logged_model(uid)
    mark = mark_of(said)
    if row.mark == mark:
        return
    row.notes = []
    model = _opened(to, experiment, said, row)
    if model.deleted_at is None:
        _measure(to, model, said, row)
        files.bring(
            model, row, to.source.files_of_model(uid), lambda path: to.source.open_of_model(uid, path), to.progress
        )
    row.mark = mark if model.status == READY else ""
    keep(row)
    to.progress.add(logged_models=1)


@transaction.atomic
def _opened(to: Bringing, experiment: Experiment, said: Row, row: Imported) -> LoggedModel:
    info, data = said["info"], said.get("data") or {}
    run = run_here(to, str(info.get("source_run_id") or ""))
    status = str(info.get("status") or READY)
    made = moment(int(info.get("creation_timestamp_ms") or 0)) or timezone.now()
    columns: dict[str, Any] = {
        "run": run,
        "name": str(info.get("name") or row.target)[:500],
        "model_type": str(info.get("model_type") or "")[:500],
        "status": status if status in STATUSES else READY,
        "params": pairs(data.get("params")),
        "tags": pairs(info.get("tags")),
    }
    model, _ = LoggedModel.objects.update_or_create(
        uid=row.target, defaults=columns, create_defaults={**columns, "experiment": experiment}
    )
    LoggedModel.objects.filter(pk=model.pk).update(created_at=made)
    return model


def run_here(to: Bringing, source_id: str) -> Run | None:
    """The run that a run of the source was brought to."""
    row = to.known.find(RUN, source_id) if source_id else None
    return Run.objects.filter(uid=row.target).select_related("experiment__project").first() if row else None


def _measure(to: Bringing, model: LoggedModel, said: Row, row: Imported) -> None:
    """The metrics that runs logged of the model."""
    for metric in (said.get("data") or {}).get("metrics") or []:
        run = run_here(to, str(metric.get("run_id") or ""))
        if run is None:
            row.notes.append(f"metric {str(metric.get('key'))[:100]!r}: its run is not here")
            continue
        batch = ingest.Batch()
        try:
            batch.add_metric({**metric, "model_id": model.uid})
            columns = {name: getattr(batch, name) for name in ("keys", "values", "steps", "timestamps")}
            measured.store(run.pk, run.experiment_id, batch.of_models, columns)
        except Invalid as error:
            row.notes.append(f"metric {str(metric.get('key'))[:100]!r}: {error.message[:300]}")

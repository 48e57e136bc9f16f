"""Our rows in the words of MLflow's protobuf messages. 64-bit integers are JSON numbers; ids are strings."""

import json
import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from apps.experiments.files.artifacts import Entry, root_of_run, root_uri
from apps.experiments.models import (
    Experiment,
    LoggedModel,
    ModelVersion,
    RegisteredModel,
    Run,
)
from apps.experiments.states import MLFLOW_STATUS
from apps.experiments.tracking.clock import millis
from apps.experiments.tracking.told import RunTold, Values
from apps.experiments.tracking.used import Used


def number(value: float) -> float | str:
    """A double as protobuf's JSON writes it: NaN and the infinities are strings."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def pairs(values: Mapping[str, str]) -> list[dict[str, str]]:
    """A dict as a list of `{key, value}`."""
    return [{"key": key, "value": values[key]} for key in sorted(values)]


def stage(deleted_at: datetime | None) -> str:
    """MLflow's lifecycle stage."""
    return "deleted" if deleted_at else "active"


def experiment(row: Experiment) -> dict[str, Any]:
    """An Experiment."""
    return {
        "experiment_id": str(row.pk),
        "name": row.name,
        "artifact_location": f"mlflow-artifacts:/{row.pk}",
        "lifecycle_stage": stage(row.deleted_at),
        "creation_time": millis(row.created_at),
        "last_update_time": millis(row.updated_at),
        "tags": pairs(row.tags),
    }


def run_info(row: Run | RunTold) -> dict[str, Any]:
    """A RunInfo. Old clients read `run_uuid`, new ones `run_id`."""
    info = {
        "run_id": row.uid,
        "run_uuid": row.uid,
        "run_name": row.name,
        "experiment_id": str(row.experiment_id),
        "user_id": row.client_user,
        "status": MLFLOW_STATUS[row.state],
        "start_time": millis(row.started_at or row.created_at),
        "artifact_uri": root_of_run(row.experiment_id, row.uid),
        "lifecycle_stage": stage(row.deleted_at),
    }
    return {**info, "end_time": millis(row.ended_at)} if row.ended_at else info


def run_of(row: Run, values: Values, used: Used) -> dict[str, Any]:
    """A Run with these values, and what it was given and put out."""
    return {
        "info": run_info(row),
        "data": {
            "metrics": [metric(key, *point) for key, point in values.metrics.items()],
            "params": [{"key": key, "value": value} for key, value in values.params.items()],
            "tags": [{"key": key, "value": value} for key, value in values.tags.items()],
        },
        "inputs": inputs(used),
        "outputs": outputs(used),
    }


def run_text(row: RunTold, used: Used) -> str:
    """The JSON of the same, of a run whose values are JSON already."""
    info, given, put_out = (json.dumps(part) for part in (run_info(row), inputs(used), outputs(used)))
    data = f'{{"metrics":[{row.metrics}],"params":[{row.params}],"tags":[{row.tags}]}}'
    return f'{{"info":{info},"data":{data},"inputs":{given},"outputs":{put_out}}}'


def inputs(used: Used) -> dict[str, Any]:
    """RunInputs."""
    return {
        "dataset_inputs": [
            {"dataset": {name: said for name, said in described.items() if said}, "tags": pairs(tags)}
            for described, tags in used.datasets
        ],
        "model_inputs": [{"model_id": uid} for uid in used.models],
    }


def outputs(used: Used) -> dict[str, Any]:
    """RunOutputs."""
    return {"model_outputs": [{"model_id": uid, "step": step} for uid, step in used.outputs]}


def metric(key: str, value: float, step: int, timestamp: int) -> dict[str, Any]:
    """A Metric."""
    return {"key": key, "value": number(value), "timestamp": timestamp, "step": step}


def files(entries: Iterable[Entry], prefix: str = "") -> list[dict[str, Any]]:
    """FileInfos; `prefix` is cut off their paths, for endpoints that list relative to the folder asked for."""
    cut = len(prefix) + 1 if prefix else 0
    listed = []
    for entry in entries:
        info: dict[str, Any] = {"path": entry.path[cut:], "is_dir": entry.is_dir}
        listed.append(info if entry.size is None else {**info, "file_size": entry.size})
    return listed


def model_metric(model_id: str, row: Any) -> dict[str, Any]:
    """A Metric of a logged model; `row` is a ModelMetric of `selectors.with_metrics`."""
    of = {"model_id": model_id, "run_id": row.run_uid}
    if row.dataset_name:
        of |= {"dataset_name": row.dataset_name, "dataset_digest": row.dataset_digest}
    return {**metric(row.key, row.value, row.step, row.timestamp), **of}


def logged_model(row: LoggedModel) -> dict[str, Any]:
    """A LoggedModel; `row` has its metrics at hand, by `selectors.with_metrics`."""
    return {
        "info": {
            "model_id": row.uid,
            "experiment_id": str(row.experiment_id),
            "name": row.name,
            "creation_timestamp_ms": millis(row.created_at),
            "last_updated_timestamp_ms": millis(row.updated_at),
            "artifact_uri": root_uri(row),
            "status": row.status,
            "model_type": row.model_type,
            **({"source_run_id": row.run.uid} if row.run else {}),
            "tags": pairs(row.tags),
        },
        "data": {"params": pairs(row.params), "metrics": [model_metric(row.uid, each) for each in row.metrics.all()]},
    }


def model_version(row: ModelVersion) -> dict[str, Any]:
    """A ModelVersion; `row` has its model, run and aliases at hand."""
    return {
        "name": row.model.name,
        "version": str(row.version),
        "creation_timestamp": millis(row.created_at),
        "last_updated_timestamp": millis(row.updated_at),
        "user_id": row.created_by,
        "current_stage": row.stage,
        "description": row.description,
        "source": row.source,
        "run_id": row.source_run,
        "model_id": row.logged_model.uid if row.logged_model else "",
        "status": row.state,
        "tags": pairs(row.tags),
        "aliases": sorted(alias.name for alias in row.aliases.all()),
    }


def registered_model(row: RegisteredModel, latest: Iterable[ModelVersion] = ()) -> dict[str, Any]:
    """A RegisteredModel with the latest version of each stage; `row` has its aliases prefetched."""
    return {
        "name": row.name,
        "creation_timestamp": millis(row.created_at),
        "last_updated_timestamp": millis(row.updated_at),
        "user_id": row.created_by,
        "description": row.description,
        "latest_versions": [model_version(version) for version in latest],
        "tags": pairs(row.tags),
        "aliases": [{"alias": alias.name, "version": str(alias.version.version)} for alias in row.aliases.all()],
    }

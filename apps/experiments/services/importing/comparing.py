"""What was brought is held against what the source has: read back from both, value by value."""

import math
from collections.abc import Mapping
from typing import Any

from django.db.models import Count, Sum

from apps.experiments.models import (
    PARAM_LENGTH,
    TAG_LENGTH,
    Artifact,
    DatasetInput,
    Imported,
    LatestMetric,
    Param,
    Run,
    Tag,
)
from apps.experiments.services.importing.reading import Row
from apps.experiments.services.importing.runs import ID_TAG, points_here
from apps.experiments.states import MLFLOW_STATUS
from apps.experiments.tracking.clock import millis
from apps.experiments.tracking.tags import PARENT_TAG
from apps.experiments.tracking.told import Values

# The largest number of a double, which stock's SQL keeps instead of an infinity.
_ALMOST_INFINITE = 1.79e308


def of_runs(said: list[Row], rows: Mapping[str, Imported]) -> dict[str, list[str]]:
    """What differs of a page of the source's runs, by their ids there. A number of queries that does not grow."""
    uids = {row.target: source_id for source_id, row in rows.items()}
    runs = {uids[run.uid]: run for run in Run.objects.filter(uid__in=uids)}
    pks = [run.pk for run in runs.values()]
    values, points = _values(pks), points_here(pks)
    files, datasets = files_of(pks), _datasets(pks)
    found: dict[str, list[str]] = {}
    for each in said:
        uid = str(each["info"]["run_id"])
        run, row = runs.get(uid), rows.get(uid)
        if run is None or row is None:
            found[uid] = ["it is not here"]
            continue
        counts = {
            "points": (row.points, points.get(run.pk, 0)),
            "files": (row.files, files.get(run.pk, (0, 0))[0]),
            "bytes of files": (row.file_bytes, files.get(run.pk, (0, 0))[1]),
            "datasets": (len((each.get("inputs") or {}).get("dataset_inputs") or []), datasets.get(run.pk, 0)),
        }
        found[uid] = [
            *row.notes,
            *(_of_info(each["info"], run)),
            *(_of_values(each.get("data") or {}, values[run.pk])),
            *(f"{there:,} {name} there, {here:,} here" for name, (there, here) in counts.items() if there > here),
        ]
    return {uid: notes for uid, notes in found.items() if notes}


def _of_info(info: Row, run: Run) -> list[str]:
    pairs: dict[str, tuple[Any, Any]] = {
        "status": (info.get("status"), MLFLOW_STATUS[run.state]),
        "start_time": (int(info.get("start_time") or 0), millis(run.started_at)),
        "user_id": (str(info.get("user_id") or ""), run.client_user),
    }
    if info.get("run_name"):
        pairs["run_name"] = (info["run_name"], run.name)
    if info.get("end_time"):
        pairs["end_time"] = (int(info["end_time"]), millis(run.ended_at))
    return [f"{name} is {there!r} there, {here!r} here" for name, (there, here) in pairs.items() if there != here]


def _of_values(data: Row, here: Values) -> list[str]:
    found = []
    for kind, kept, limit in (("param", here.params, PARAM_LENGTH), ("tag", here.tags, TAG_LENGTH)):
        for item in data.get(f"{kind}s") or []:
            key, value = str(item["key"]), str(item.get("value") or "")[:limit]
            # These say ids of the source, and here those of here.
            if kept.get(key) != value and not (kind == "tag" and key in (PARENT_TAG, ID_TAG)):
                found.append(f"{kind} {key!r} is {_short(value)} there, {_short(kept.get(key))} here")
    for metric in data.get("metrics") or []:
        key, there = str(metric["key"]), _point(metric)
        if not same(there, here.metrics.get(key)):
            found.append(f"metric {key!r} is {there} there, {here.metrics.get(key)} here")
    return found


def _short(value: str | None) -> str:
    return "missing" if value is None else repr(value[:60])


def _point(metric: Row) -> tuple[float, int, int]:
    return float(metric.get("value") or 0), int(metric.get("step") or 0), int(metric.get("timestamp") or 0)


def same(one: tuple[float, int, int], other: tuple[float, int, int] | None) -> bool:
    """Whether two points are the same: NaN is itself, and an infinity what stock's SQL makes of it."""
    return other is not None and one[1:] == other[1:] and _plain(one[0]) == _plain(other[0])


def _plain(value: float) -> float | str:
    if math.isnan(value):
        return "NaN"
    return math.copysign(math.inf, value) if abs(value) >= _ALMOST_INFINITE else value


def files_of(pks: list[int]) -> dict[int, tuple[int, int]]:
    """How many files each of these runs has here, and of how many bytes together."""
    rows = Artifact.objects.filter(run__in=pks).order_by().values_list("run").annotate(Count("pk"), Sum("size"))
    return {pk: (files, together) for pk, files, together in rows}


def _values(pks: list[int]) -> dict[int, Values]:
    told = {pk: Values() for pk in pks}
    for pk, key, value in Param.objects.filter(run__in=pks).values_list("run", "key", "value"):
        told[pk].params[key] = value
    for pk, key, value in Tag.objects.filter(run__in=pks).values_list("run", "key", "value"):
        told[pk].tags[key] = value
    metrics = LatestMetric.objects.filter(run__in=pks).values_list("run", "key", "value", "step", "timestamp")
    for pk, key, number, step, timestamp in metrics:
        told[pk].metrics[key] = (number, step, timestamp)
    return told


def _datasets(pks: list[int]) -> dict[int, int]:
    return dict(DatasetInput.objects.filter(run__in=pks).order_by().values_list("run").annotate(Count("pk")))

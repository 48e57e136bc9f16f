"""`metrics/*` of MLflow's REST API: every point of a metric, by time, step and value, in bounded memory.

Points lie in the order of their steps, which nearly always is that of their times, too. Where it is not, pages cost
more, and the token says which of the two ways they are read in.

A client that asks for pages (`max_results`) gets them by keyset, so that the last costs what the first does. One that
asks for none gets everything, as from MLflow's own server, written while it is read.
"""

import base64
import binascii
import json
from collections.abc import Iterable, Iterator
from typing import Any

from django.http import HttpResponseBase, StreamingHttpResponse

from apps.core.errors import Invalid
from apps.experiments.mlflow import render
from apps.experiments.mlflow.lookup import readable_runs, run_of
from apps.experiments.mlflow.wire import Call
from apps.experiments.tracking.arguments import missing
from apps.experiments.tracking.curves import (
    FIRST_STEP,
    LAST_STEP,
    Point,
    is_out_of_time,
    points_after,
    points_later,
    points_of_runs,
    sampled_points,
)

# The stock client's page size (mlflow/store/tracking: GET_METRIC_HISTORY_MAX_RESULTS); longer histories come in pages.
PAGE = 25_000
# How many points are read at a time for a client that asks for no pages.
CHUNK = 2_000
CHUNK_OUT_OF_TIME = 20_000
# mlflow/server/handlers.py: of runs that are asked for together, and of sampled steps.
MOST_RUNS = 100
MOST_SAMPLED = 2500


def history(call: Call) -> dict[str, Any] | HttpResponseBase:
    """The points of one metric of a run: a page of them, or all."""
    run = run_of(call)
    key = call.text("metric_key", required=True)
    size = call.integer("max_results")
    text = call.text("page_token")
    if size is None and not text:
        return StreamingHttpResponse(_everything(run.pk, key), content_type="application/json")
    if size is not None and size < 1:
        raise Invalid(f"Invalid value {size} for parameter 'max_results' supplied. It must be a positive integer.")
    size = min(size or PAGE, PAGE)
    by_time, after = _position(text) if text else (is_out_of_time(run.pk, key), None)
    points = (points_later if by_time else points_after)(run.pk, key, after, size + 1)
    token = {"next_page_token": _token(by_time, points[size - 1])} if len(points) > size else {}
    return {"metrics": [_rendered(key, point) for point in points[:size]], **token}


def history_of_runs(call: Call) -> dict[str, Any]:
    """The points of one metric of several runs: by run, time, step and value, the first of them all."""
    uids, key = call.strings("run_id"), call.text("metric_key")
    what = "GetMetricHistoryBulk request"
    if not uids:
        raise Invalid(f"{what} must specify at least one run_id.", field="run_id")
    if len(uids) > MOST_RUNS:
        raise Invalid(f"{what} cannot specify more than {MOST_RUNS} run_ids. Received {len(uids)} run_ids.")
    if not key:
        raise Invalid(f"{what} must specify a metric_key.", field="metric_key")
    size = call.integer("max_results", PAGE) or 0
    return _of_runs(key, points_of_runs(readable_runs(call, uids), key, max(0, min(size, PAGE))))


def sampled_history(call: Call) -> dict[str, Any]:
    """The points of one metric of several runs, at steps that lie evenly."""
    uids = call.strings("run_ids")
    if not uids:
        raise missing("run_ids")
    if len(uids) > MOST_RUNS:
        raise Invalid(
            f"GetMetricHistoryBulkInterval request must specify at most {MOST_RUNS} run_ids. Received {len(uids)} "
            "run_ids."
        )
    key = call.text("metric_key", required=True)
    size = call.integer("max_results", MOST_SAMPLED) or 0
    if not 1 <= size <= MOST_SAMPLED:
        raise Invalid(f"max_results must be between 1 and {MOST_SAMPLED}.", field="max_results")
    first, last = call.integer("start_step"), call.integer("end_step")
    if (first is None) != (last is None):
        raise Invalid("If either start step or end step are specified, both must be specified.")
    steps = (FIRST_STEP, LAST_STEP) if first is None or last is None else (first, last)
    if steps[0] > steps[1]:
        raise Invalid(f"end_step must be greater than start_step. Found start_step={steps[0]} and end_step={steps[1]}.")
    points = sampled_points(readable_runs(call, uids), key, steps, most=size, limit=MOST_SAMPLED)
    return _of_runs(key, points)


def _of_runs(key: str, points: Iterable[tuple[str, Point]]) -> dict[str, Any]:
    return {"metrics": [{**_rendered(key, point), "run_id": uid} for uid, point in points]}


def _rendered(key: str, point: Point) -> dict[str, Any]:
    step, timestamp, value = point
    return render.metric(key, value, step, timestamp)


def _everything(run_pk: int, key: str) -> Iterator[str]:
    yield '{"metrics": ['
    after: Point | None = None
    by_time = is_out_of_time(run_pk, key)
    read, size = (points_later, CHUNK_OUT_OF_TIME) if by_time else (points_after, CHUNK)
    while points := read(run_pk, key, after, size):
        text = json.dumps([_rendered(key, point) for point in points])[1:-1]
        yield text if after is None else f", {text}"
        if len(points) < size:
            break
        after = points[-1]
    yield "]}"


def _token(by_time: bool, point: Point) -> str:
    return base64.urlsafe_b64encode(json.dumps([by_time, *point]).encode()).decode()


def _position(token: str) -> tuple[bool, Point]:
    try:
        by_time, step, timestamp, value = json.loads(base64.urlsafe_b64decode(token.encode()))
        return bool(by_time), (int(step), int(timestamp), float(value))
    except (ValueError, TypeError, OverflowError, binascii.Error) as error:
        raise Invalid("Invalid page token: pass on what the last page said.") from error

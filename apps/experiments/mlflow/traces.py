"""`traces/*` of MLflow's REST API, of its third version: what `@mlflow.trace` and `search_traces` speak."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from apps.core.access import get_scoped, visible_projects
from apps.core.database.rows import held, merged, put
from apps.core.errors import Invalid, Missing
from apps.core.states import Role
from apps.experiments import services
from apps.experiments.mlflow.lookup import active_run, experiment_of, experiment_pks, run_by_uid
from apps.experiments.mlflow.paging import page_of, size_of, token
from apps.experiments.mlflow.wire import Ask, Call, MlflowError
from apps.experiments.models import Run, Trace, TraceRun
from apps.experiments.models.traces import TRACE_ID_LENGTH
from apps.experiments.search import traces
from apps.experiments.search.traces import PROMPTS
from apps.experiments.tracking.arguments import missing, mistyped, wrong
from apps.experiments.tracking.clock import EPOCH
from apps.experiments.tracking.ingest import check_key, check_text, cut_text, int64
from apps.experiments.tracking.tags import SOURCE_RUN
from apps.experiments.tracking.traces import otlp, store
from apps.experiments.tracking.traces.spans import STATES, Span, as_proto, loaded
from apps.experiments.tracking.traces.summary import PREVIEW_LENGTH
from apps.experiments.tracking.traces.told import traces_logged

MOST_A_PAGE, DEFAULT_PAGE = 500, 100
MOST_AT_ONCE = 100
MOST_PAIRS = 1000
_SIZE_STATS = "mlflow.trace.sizeStats"
# mlflow/server/handlers.py: what only the server itself may say of a trace.
_IMMUTABLE = frozenset({store.LOCATION_TAG, "mlflow.trace.archiveLocation", "mlflow.trace.archivalFailure"})
_DURATION = re.compile(r"(-?\d{1,12})(?:\.(\d{1,9}))?s")


def start(call: Call) -> dict[str, Any]:
    """Note a trace that has ended, as its client says it was. (Its name is MLflow's: clients once called earlier.)"""
    info = _object(_object(call.body, "trace"), "trace_info")
    place = _object(_object(info, "trace_location"), "mlflow_experiment")
    experiment = experiment_of(replace(call, body=place), Role.DEVELOPER)
    own = own_run(call, experiment.pk)
    run_uid = _texts(info, "trace_metadata").get(SOURCE_RUN)
    if own is not None and run_uid not in (None, own.uid):
        raise MlflowError("PERMISSION_DENIED", "A run's token may only write to its own run.")
    trace = store.start(experiment, _info(replace(call, body=info)), only_of=own)
    traces_logged(experiment)
    return {"trace": {"trace_info": rendered(trace)}}


def own_run(call: Ask, experiment_pk: int | None = None) -> Run | None:
    """The run whose token asks; None where a person's does. Raises MlflowError for another experiment than its."""
    if not call.run_token:
        return None
    run = active_run(Ask({"run_id": call.run_token}, call.principal, call.workspace))
    if experiment_pk not in (None, run.experiment_id):
        raise MlflowError("PERMISSION_DENIED", "A run's token may only write to its own run and its experiment.")
    return run


def body_of_spans(call: Call) -> bytes:
    """The body as it comes, of which more is taken than of other requests. Raises Invalid."""
    body = call.request.read(otlp.MAX_BODY_BYTES + 1)
    if len(body) > otlp.MAX_BODY_BYTES:
        raise otlp.too_large()
    return body


def _info(said: Call) -> store.Info:
    uid = said.text("trace_id", required=True, limit=TRACE_ID_LENGTH)
    state = said.body.get("state", STATES[0])
    if type(state) is int and 0 <= state < len(STATES):
        state = STATES[state]
    if state not in STATES:
        raise wrong("state", state, f"It must be one of {', '.join(STATES)}.")
    lasted = said.body.get("execution_duration")
    return store.Info(
        uid=check_text(uid, TRACE_ID_LENGTH, "trace_id"),
        state=str(state),
        began=_moment(said.text("request_time", required=True)),
        lasted=None if lasted is None else _duration(lasted),
        client_request_id=_optional(said, "client_request_id", 250),
        request_preview=_optional(said, "request_preview", PREVIEW_LENGTH),
        response_preview=_optional(said, "response_preview", PREVIEW_LENGTH),
        tags=_texts(said.body, "tags"),
        metadata=_texts(said.body, "trace_metadata"),
    )


def _object(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = body.get(name)
    if value is None:
        raise missing(name)
    if not isinstance(value, dict):
        raise mistyped(name, value, "an object")
    return value


def _optional(said: Call, name: str, limit: int) -> str | None:
    value = said.body.get(name)
    return None if value is None else cut_text(value, limit, name)


def _texts(body: Mapping[str, Any], name: str) -> dict[str, str]:
    """A map of texts, such as tags. Raises Invalid."""
    value = body.get(name) or {}
    if not isinstance(value, dict):
        raise mistyped(name, value, "an object")
    if len(value) > MOST_PAIRS:
        raise Invalid(f"'{name}' can have at most {MOST_PAIRS} entries; this one has {len(value)}.")
    return {
        check_text(key, store.KEY_LENGTH, f"a key of {name}"): cut_text(text, store.TAG_LENGTH, f"{name}.{key[:50]}")
        for key, text in value.items()
    }


def _moment(text: str) -> int:
    """Milliseconds since the epoch, of protobuf's Timestamp in JSON. Raises Invalid."""
    try:
        moment = datetime.fromisoformat(text)
        return (moment - EPOCH) // timedelta(milliseconds=1)
    except (ValueError, TypeError, OverflowError) as error:
        raise wrong("request_time", text, "It must be a time such as 2026-11-30T12:00:00.5Z.") from error


def _duration(text: Any) -> int:
    """Milliseconds, of protobuf's Duration in JSON. Raises Invalid."""
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise wrong("execution_duration", text, "It must be a duration such as 1.5s.")
    part = int((match[2] or "").ljust(3, "0")[:3])
    return int(match[1]) * 1000 + (-part if match[1].startswith("-") else part)


def rendered(trace: Trace) -> dict[str, Any]:
    """`TraceInfoV3` in JSON."""
    optional = {
        "client_request_id": trace.client_request_id,
        "request_preview": trace.request_preview,
        "response_preview": trace.response_preview,
        "execution_duration": None if trace.lasted is None else _seconds(trace.lasted),
    }
    return {
        "trace_id": trace.uid,
        "trace_location": {
            "type": "MLFLOW_EXPERIMENT",
            "mlflow_experiment": {"experiment_id": str(trace.experiment_id)},
        },
        "request_time": _time(trace.began),
        "state": trace.state,
        "trace_metadata": trace.metadata,
        "tags": trace.tags,
        **{name: value for name, value in optional.items() if value is not None},
    }


def _time(milliseconds: int) -> str:
    moment = EPOCH + timedelta(milliseconds=milliseconds)
    fraction = f".{milliseconds % 1000:03}" if milliseconds % 1000 else ""
    return f"{moment:%Y-%m-%dT%H:%M:%S}{fraction}Z".rjust(len("2026-11-30T12:00:00Z") + len(fraction), "0")


def _seconds(milliseconds: int) -> str:
    whole, part = divmod(abs(milliseconds), 1000)
    sign = "-" if milliseconds < 0 else ""
    return f"{sign}{whole}{f'.{part:03}' if part else ''}s"


def trace_of(call: Ask, uid: str, at_least: Role = Role.VIEWER) -> Trace:
    """The trace with this id. Raises Missing, or MlflowError for a run's token and another run's trace."""
    rows = Trace.objects.select_related("experiment")
    if call.workspace:
        rows = rows.filter(project=call.project())
    try:
        trace = get_scoped(rows, call.principal, at_least, uid=uid)
    except Missing as error:
        raise Missing(f"Trace with ID '{uid[:TRACE_ID_LENGTH]}' not found.") from error
    writes = at_least is not Role.VIEWER
    if writes and call.run_token and not TraceRun.objects.filter(trace=trace, run__uid=call.run_token).exists():
        raise MlflowError("PERMISSION_DENIED", "A run's token may only write to its own run.")
    return trace


def info(call: Call, trace_id: str) -> dict[str, Any]:
    """A trace without its spans."""
    return {"trace": {"trace_info": rendered(trace_of(call, trace_id))}}


def get(call: Call) -> dict[str, Any]:
    """A trace with its spans. Raises Missing while some are on their way, unless `allow_partial`."""
    trace = trace_of(call, call.text("trace_id", required=True))
    spans = store.spans_of([trace])[trace.pk]
    if not _is_whole(trace, spans) and str(call.body.get("allow_partial", "")).lower() != "true":
        raise Missing(f"Trace with ID {trace.uid} is not fully exported yet, please try again later.")
    return {"trace": _whole(trace, spans)}


def _is_whole(trace: Trace, spans: Sequence[Span]) -> bool:
    stats = loaded(trace.metadata.get(_SIZE_STATS))
    count = stats.get("num_spans") if isinstance(stats, dict) else None
    return bool(spans) and not (isinstance(count, int) and len(spans) < count)


def _whole(trace: Trace, spans: Sequence[Span]) -> dict[str, Any]:
    return {"trace_info": rendered(trace), "spans": [as_proto(trace.uid, span) for span in spans]}


def batch_get(call: Call) -> dict[str, Any]:
    """Several traces with their spans, those that are whole, in the order asked for."""
    rows = _several(call)
    spans = store.spans_of(rows)
    return {"traces": [_whole(row, spans[row.pk]) for row in rows if _is_whole(row, spans[row.pk])]}


def batch_get_infos(call: Call) -> dict[str, Any]:
    """Several traces without their spans."""
    return {"trace_infos": [rendered(row) for row in _several(call)]}


def _several(call: Call) -> list[Trace]:
    uids = list(dict.fromkeys(call.strings("trace_ids")))
    if not uids:
        raise missing("trace_ids")
    if len(uids) > MOST_AT_ONCE:
        raise Invalid(f"At most {MOST_AT_ONCE} traces can be asked for together; these are {len(uids)}.")
    rows = Trace.objects.filter(uid__in=uids, project__in=visible_projects(call.principal))
    if call.workspace:
        rows = rows.filter(project=call.project())
    if call.body.get("experiment_ids"):
        rows = rows.filter(experiment_id__in=experiment_pks(call))
    found = {row.uid: row for row in rows}
    return [found[uid] for uid in uids if uid in found]


def search(call: Call) -> dict[str, Any]:
    """The traces of some experiments by a filter, the newest first unless ordered otherwise."""
    places = [each.get("mlflow_experiment") for each in call.objects("locations")]
    ids = [each.get("experiment_id") for each in places if isinstance(each, dict)]
    if not ids:
        raise missing("locations", "Name experiments: those are where traces are.")
    rows = Trace.objects.filter(experiment_id__in=experiment_pks(call.about(experiment_ids=ids)))
    part = traces(rows, call.text("filter"), call.strings("order_by"))
    page = page_of(part, call, size_of(call, default=DEFAULT_PAGE, most=MOST_A_PAGE))
    return {"traces": [rendered(row) for row in page.rows], **token(page)}


def delete(call: Call) -> dict[str, Any]:
    """Delete traces of an experiment for good: by their ids, or the oldest."""
    experiment = experiment_of(call, Role.DEVELOPER)
    uids = call.strings("request_ids")
    until, most = call.integer("max_timestamp_millis"), call.integer("max_traces")
    if until is None and not uids:
        raise Invalid("Either `max_timestamp_millis` or `trace_ids` must be specified.")
    if until is not None and uids:
        raise Invalid("Only one of `max_timestamp_millis` and `trace_ids` can be specified.")
    if uids and most is not None:
        raise Invalid("`max_traces` can't be specified if `trace_ids` is specified.")
    if most is not None and most <= 0:
        raise Invalid(f"`max_traces` must be a positive integer, received {most}.")
    gone = services.delete_traces(principal=call.principal, experiment=experiment, uids=uids, until=until, most=most)
    traces_logged(experiment)
    return {"traces_deleted": gone}


def set_tag(call: Call, trace_id: str) -> dict[str, Any]:
    """Set one tag."""
    key = _mutable(call, "set")
    value = cut_text(call.body.get("value"), store.TAG_LENGTH, "value")
    _change_tags(call, trace_id, {key: value})
    return {}


def delete_tag(call: Call, trace_id: str) -> dict[str, Any]:
    """Remove one tag."""
    _change_tags(call, trace_id, {_mutable(call, "deleted"): None})
    return {}


def _mutable(call: Call, what: str) -> str:
    key = check_key(call.body.get("key"), "key")
    if key in _IMMUTABLE:
        raise Invalid(f"Tag '{key}' is immutable and cannot be {what} on a trace.")
    return key


@transaction.atomic
def _change_tags(call: Call, trace_id: str, changes: dict[str, str | None]) -> None:
    trace = held(trace_of(call, trace_id, Role.DEVELOPER))
    gone = [key for key, value in changes.items() if value is None and key not in trace.tags]
    if gone:
        raise Missing(f"No trace tag with key '{gone[0]}' for trace with ID '{trace.uid}'")
    put(trace, tags=merged(trace.tags, changes))


def link_to_run(call: Call) -> dict[str, Any]:
    """Let traces belong to a run."""
    uids = call.strings("trace_ids")
    if not uids:
        raise missing("trace_ids")
    if len(uids) > MOST_AT_ONCE:
        raise Invalid(
            f"Cannot link more than {MOST_AT_ONCE} traces to a run in a single request. Provided {len(uids)} traces."
        )
    run = run_by_uid(call, call.text("run_id", required=True), Role.DEVELOPER)
    rows = Trace.objects.filter(uid__in=uids, project=run.experiment.project_id)
    if call.run_token:
        own_run(call, run.experiment_id)
        rows = rows.filter(run_links__run__uid=call.run_token) if run.uid == call.run_token else rows.none()
    pks = list(rows.values_list("pk", flat=True))
    if call.run_token and len(pks) < len(set(uids)):
        raise MlflowError("PERMISSION_DENIED", "A run's token may only link its own run's traces to that run.")
    store.link([run.pk], pks)
    return {}


@transaction.atomic
def link_prompts(call: Call) -> dict[str, Any]:
    """Note which versions of prompts a trace used."""
    versions = [
        {"name": check_text(each.get("name"), 500, "name"), "version": str(int64(each.get("version"), "version"))}
        for each in call.objects("prompt_versions")
    ]
    if not versions:
        raise missing("prompt_versions")
    trace = held(trace_of(call, call.text("trace_id", required=True), Role.DEVELOPER))
    known = loaded(trace.tags.get(PROMPTS))
    linked = known if isinstance(known, list) else []
    linked += [each for each in versions if each not in linked]
    put(trace, tags={**trace.tags, PROMPTS: json.dumps(linked)[: store.TAG_LENGTH]})
    return {}

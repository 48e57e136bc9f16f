"""Traces are written: spans as they come, and what a client says of its trace when it has ended.

Both may come first, and again. Whoever writes holds the rows of the traces in the order of their ids, so that two
requests never wait for each other in a circle.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.db.models import JSONField, TextField, Value
from django.db.models.functions import Cast

from apps.core.database.rows import held
from apps.core.errors import Invalid, Missing, NotAllowed
from apps.experiments.models import Experiment, Run, Trace, TraceRun, TraceSpans
from apps.experiments.models.traces import NAME_LENGTH
from apps.experiments.tracking.tags import OF_PROGRAMS, SOURCE_RUN
from apps.experiments.tracking.traces import summary
from apps.experiments.tracking.traces.otlp import Sent
from apps.experiments.tracking.traces.spans import Span, clean, in_order

# Of one trace: whoever sends more has forgotten to end it.
MAX_SPANS = 10_000
MAX_SPAN_BYTES = 32 * 1024 * 1024
# Traces of one request.
MAX_TRACES = 1000
# Rows of spans of one trace, from which on they become one.
MOST_ROWS = 100
TAG_LENGTH, KEY_LENGTH = 8000, 250
# mlflow/tracing/constant.py, mlflow/utils/mlflow_tags.py.
LOCATION_TAG, ARTIFACTS_TAG, IN_STORE = "mlflow.trace.spansLocation", "mlflow.artifactLocation", "TRACKING_STORE"
FINALIZED = "mlflow.trace.infoFinalized"
_SDK = ("telemetry.sdk.", OF_PROGRAMS)


@dataclass(frozen=True)
class Info:
    """What a client says of a trace that has ended; times as in `Trace`."""

    uid: str
    state: str
    began: int
    lasted: int | None
    client_request_id: str | None = None
    request_preview: str | None = None
    response_preview: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)


def folder_of(experiment_pk: int, uid: str) -> str:
    """Where a client puts and finds the file of a trace's spans."""
    return f"mlflow-artifacts:/{experiment_pk}/traces/{uid}/artifacts"


def spans_of(traces: Iterable[Trace]) -> dict[int, list[Span]]:
    """The spans of each of the traces by its key, in their order: one query."""
    found: dict[int, dict[str, Span]] = {trace.pk: {} for trace in traces}
    for row in TraceSpans.objects.filter(trace__in=found).order_by("trace_id", "part"):
        found[row.trace_id].update((kept["id"], Span.from_json(kept)) for kept in row.spans)
    return {pk: in_order(spans.values()) for pk, spans in found.items()}


@transaction.atomic
def start(experiment: Experiment, info: Info, *, only_of: Run | None = None) -> Trace:
    """Note what a client says of its trace. `only_of` is the run whose token asks: other traces are not its business.

    Raises NotAllowed for such, and Invalid for a deleted experiment.
    """
    check_active(experiment)
    trace = _held(experiment, {info.uid: info.began}, only_of)[info.uid]
    trace.experiment = experiment
    trace.began, trace.lasted, trace.state = info.began, info.lasted, info.state
    trace.client_request_id = info.client_request_id
    trace.request_preview = info.request_preview if info.request_preview is not None else trace.request_preview
    trace.response_preview = info.response_preview if info.response_preview is not None else trace.response_preview
    trace.tags = {**trace.tags, **info.tags, ARTIFACTS_TAG: folder_of(experiment.pk, info.uid)}
    trace.metadata = {**trace.metadata, **info.metadata, FINALIZED: "true"}
    trace.name = trace.tags.get(summary.NAME_TAG, trace.name)[:NAME_LENGTH]
    _write([trace])
    runs = Run.objects.filter(uid=info.metadata.get(SOURCE_RUN, ""), experiment__project=experiment.project_id)
    link({run.pk for run in [*runs, *([only_of] if only_of else [])]}, [trace.pk])
    return trace


@transaction.atomic
def append(experiment: Experiment, sent: Sent, *, run: Run | None = None, only_of: Run | None = None) -> list[Trace]:
    """Keep the spans of a request; those beyond a trace's limits are rejected in `sent`. The traces are of `run`, too.

    Raises as `start` does, and Invalid for too many traces.
    """
    check_active(experiment)
    if len(sent.spans) > MAX_TRACES:
        raise Invalid(f"A request can have spans of at most {MAX_TRACES} traces; this one has {len(sent.spans)}.")
    told = {uid: summary.summary(spans) for uid, spans in sent.spans.items()}
    traces = _held(experiment, {uid: each.began for uid, each in told.items()}, only_of)
    ids = _ids_of(traces.values())
    rows: list[TraceSpans] = []
    written: list[Trace] = []
    for uid, trace in traces.items():
        spans = _fitting(trace, ids[trace.pk], sent, sent.spans[uid])
        if spans:
            rows.append(_row(trace, spans))
            written.append(trace)
    TraceSpans.objects.bulk_create(rows)
    _join([trace for trace in written if len(ids[trace.pk]) >= MOST_ROWS])
    counting = [trace for trace in written if told[trace.uid].tokens and not _is_told(trace, summary.TOKEN_USAGE)]
    whole = spans_of(counting)
    for trace in written:
        _take_in(trace, told[trace.uid], sent.resources.get(trace.uid, {}))
        if trace.pk in whole:
            usage = json.dumps(summary.tokens(whole[trace.pk]))
            trace.metadata = {**trace.metadata, summary.TOKEN_USAGE: usage}
    _write(written)
    link({each.pk for each in (run, only_of) if each}, [trace.pk for trace in written])
    return written


@transaction.atomic
def put_file(trace: Trace, spans: Sequence[Span]) -> None:
    """Keep the spans of a file that a client uploads, as far as they are not there. Raises Invalid for too many."""
    trace = held(trace)
    known = {span_id for part in _ids_of([trace])[trace.pk] for span_id in part}
    sent = Sent()
    new = _fitting(trace, [list(known)], sent, [span for span in spans if span.id not in known])
    if sent.rejected:
        raise Invalid(sent.why)
    if new:
        _row(trace, new).save(force_insert=True)
        _write([trace])


def delete(pks: Sequence[int]) -> int:
    """Delete traces with all that hangs on them. Returns how many were there still. Inside a transaction."""
    # Who writes to a trace holds its row first.
    rows = Trace.objects.select_for_update().filter(pk__in=pks).order_by("uid")
    there = list(rows.values_list("pk", flat=True))
    for table in (TraceSpans, TraceRun):
        table._default_manager.filter(trace__in=there).delete()
    Trace.objects.filter(pk__in=there).delete()
    return len(there)


def check_active(experiment: Experiment) -> None:
    """Raise Invalid for a deleted experiment: nothing is logged there."""
    if experiment.deleted_at is not None:
        raise Invalid(
            f"The experiment {experiment.pk} must be in the 'active' state. Current state is deleted.",
            hint="Restore it, or log to another.",
        )


def link(run_pks: Iterable[int], trace_pks: Sequence[int]) -> None:
    """Let traces belong to runs; those that do so already stay."""
    links = [TraceRun(run_id=run, trace_id=trace) for run in sorted(run_pks) for trace in sorted(trace_pks)]
    TraceRun.objects.bulk_create(links, ignore_conflicts=True)


def _held(experiment: Experiment, began: Mapping[str, int], only_of: Run | None) -> dict[str, Trace]:
    """The traces with these ids, made where they are not there, and locked."""
    project = experiment.project_id
    new = [
        Trace(
            project_id=project, experiment=experiment, uid=uid, began=began[uid], state="IN_PROGRESS",
            tags={ARTIFACTS_TAG: folder_of(experiment.pk, uid)},
        )
        for uid in sorted(began)
    ]  # fmt: skip
    Trace.objects.bulk_create(new, ignore_conflicts=True)
    rows = Trace.objects.select_for_update(no_key=True).filter(project=project, uid__in=list(began)).order_by("uid")
    traces = {trace.uid: trace for trace in rows}
    if only_of is not None:
        old = {trace.pk for trace in traces.values() if trace.parts or trace.metadata}
        own = TraceRun.objects.filter(run=only_of, trace__in=old).values_list("trace_id", flat=True)
        if old - set(own):
            raise NotAllowed("A run's token may only write to traces of its own run.")
    if len(traces) < len(began):
        raise Missing("One of these traces has just been deleted.")
    return traces


def _ids_of(traces: Iterable[Trace]) -> dict[int, list[list[str]]]:
    """The ids of the spans of each row of each trace: one query."""
    found: dict[int, list[list[str]]] = {trace.pk: [] for trace in traces}
    for pk, ids in TraceSpans.objects.filter(trace__in=found).values_list("trace_id", "ids"):
        found[pk].append(ids)
    return found


@dataclass(frozen=True)
class _Dumped:
    """A span as it is kept: dumped once, for its size and for its row."""

    id: str
    text: str

    @classmethod
    def of(cls, span: Span) -> "_Dumped":
        return cls(span.id, json.dumps(span.to_json()))


def _fitting(trace: Trace, known: list[list[str]], sent: Sent, spans: Sequence[Span]) -> list[_Dumped]:
    """Those of the spans that the trace has room for; it counts them."""
    there = {span_id for part in known for span_id in part}
    fitting: list[_Dumped] = []
    for span in spans:
        dumped = _Dumped.of(span)
        size = len(dumped.text)
        is_new = span.id not in there
        if trace.span_count + is_new > MAX_SPANS or trace.span_bytes + size > MAX_SPAN_BYTES:
            sent.reject(1, f"A trace has at most {MAX_SPANS} spans and {MAX_SPAN_BYTES} bytes: {trace.uid} is full.")
            continue
        there.add(span.id)
        trace.span_count += is_new
        trace.span_bytes += size
        fitting.append(dumped)
    return fitting


def _row(trace: Trace, spans: Sequence[_Dumped]) -> TraceSpans:
    trace.parts += 1
    text = f"[{','.join(span.text for span in spans)}]"
    # As an expression, which Django sends as it is: a list it would dump again.
    kept: Any = Cast(Value(text, TextField()), JSONField())
    return TraceSpans(trace=trace, part=trace.parts, ids=[span.id for span in spans], spans=kept)


def _join(traces: Sequence[Trace]) -> None:
    """Make one row of each trace's many."""
    if not traces:
        return
    whole = {pk: [_Dumped.of(span) for span in spans] for pk, spans in spans_of(traces).items()}
    TraceSpans.objects.filter(trace__in=traces).delete()
    TraceSpans.objects.bulk_create([_row(trace, whole[trace.pk]) for trace in traces])
    for trace in traces:
        trace.span_bytes = sum(len(span.text) for span in whole[trace.pk])


def _is_told(trace: Trace, key: str) -> bool:
    """Whether the client itself has said this, when its trace had ended."""
    return FINALIZED in trace.metadata and key in trace.metadata


def _take_in(trace: Trace, told: summary.Summary, resource: Mapping[str, Any]) -> None:
    """What the spans tell of their trace, as far as its client has not said it."""
    if FINALIZED not in trace.metadata:
        began = min(trace.began, told.began)
        ended = max(trace.began + (trace.lasted or 0), told.ended or 0)
        trace.lasted = ended - began if trace.lasted is not None or told.ended is not None else None
        trace.began = began
    if trace.state in ("IN_PROGRESS", "STATE_UNSPECIFIED") and told.root is not None:
        trace.state = told.state
    tags = {clean(key, KEY_LENGTH): _tag(value) for key, value in resource.items() if not key.startswith(_SDK)}
    tags |= {clean(key, KEY_LENGTH): _tag(value) for key, value in told.tags.items()}
    trace.tags = {**trace.tags, **tags, LOCATION_TAG: IN_STORE}
    if told.root is not None:
        asked, answered = summary.inputs_of(told.root), summary.outputs_of(told.root)
        trace.request_preview = trace.request_preview or summary.preview(asked, "user")
        trace.response_preview = trace.response_preview or summary.preview(answered, "assistant")
        trace.name = trace.tags.get(summary.NAME_TAG, told.root.name)[:NAME_LENGTH]
    metadata = {summary.SESSION: told.session, summary.USER: told.user}
    trace.metadata = {**{key: value for key, value in metadata.items() if value}, **trace.metadata}


def _tag(value: Any) -> str:
    return clean(value if isinstance(value, str) else json.dumps(value), TAG_LENGTH)


_COLUMNS = (
    "experiment", "name", "state", "began", "lasted", "client_request_id", "request_preview", "response_preview",
    "tags", "metadata", "span_count", "span_bytes", "parts",
)  # fmt: skip


def _write(traces: Sequence[Trace]) -> None:
    if traces:
        Trace.objects.bulk_update(traces, _COLUMNS, batch_size=200)

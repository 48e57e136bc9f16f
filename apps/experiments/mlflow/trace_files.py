"""The file `traces.json` of a trace: where clients put its spans that don't send them, and where they look for them.

It is read when it comes, and made when it is asked for: the spans are kept as all others are.
"""

import json
import re

from django.http import HttpResponse

from apps.core.errors import Missing
from apps.core.states import Role
from apps.experiments.mlflow.traces import body_of_spans, trace_of
from apps.experiments.mlflow.wire import Call
from apps.experiments.tracking.traces import spans, store
from apps.experiments.tracking.traces.told import traces_logged

_PATH = re.compile(r"/*(\d{1,18})/traces/([^/]+)/artifacts/(.+)", re.DOTALL)
FILE = "traces.json"


def is_of_trace(path: str) -> bool:
    """Whether a path below the root of all files is one of a trace's."""
    return _PATH.fullmatch(path) is not None


def upload(call: Call, path: str) -> None:
    """Keep the spans of the file. Raises Missing for another file, Invalid for what is none or too large."""
    trace = trace_of(call, _trace_id(path), Role.DEVELOPER)
    store.check_active(trace.experiment)
    store.put_file(trace, spans.of_file(body_of_spans(call)))
    traces_logged(trace.experiment)


def download(call: Call, path: str) -> HttpResponse:
    """The file of the spans that are there."""
    trace = trace_of(call, _trace_id(path))
    found = [spans.as_file(trace.uid, span) for span in store.spans_of([trace])[trace.pk]]
    if not found:
        raise Missing(f"The trace {trace.uid} has no spans yet.")
    headers = {"Content-Disposition": f'attachment; filename="{FILE}"'}
    return HttpResponse(json.dumps({"spans": found}), content_type="application/json", headers=headers)


def _trace_id(path: str) -> str:
    match = _PATH.fullmatch(path)
    if match is None or match[3] != FILE:
        raise Missing(f"Of a trace Flotilla keeps {FILE} alone, and no attachments.")
    return match[2]

"""`/v1/traces`: spans by OpenTelemetry's protocol, from MLflow's client and from any other exporter over HTTP."""

from django.http import HttpResponse

from apps.core.errors import Invalid
from apps.core.states import Role
from apps.experiments.mlflow.lookup import active_run, experiment_of
from apps.experiments.mlflow.traces import body_of_spans, own_run
from apps.experiments.mlflow.wire import Call, query_of, raw_body
from apps.experiments.models import Experiment, Run
from apps.experiments.tracking.traces import otlp, store
from apps.experiments.tracking.traces.told import traces_logged

EXPERIMENT_HEADER, RUN_HEADER = "x-mlflow-experiment-id", "x-mlflow-run-id"


@raw_body
def export(call: Call) -> HttpResponse:
    """Keep the spans of a request in the experiment, and of the run, that its headers name, or its query."""
    headers = call.request.headers
    own = own_run(call)
    run = _run_named(call, headers.get(RUN_HEADER, "").strip()) or own
    experiment = _experiment(call, run)
    own_run(call, experiment.pk)
    media_type = headers.get("Content-Type", "")
    sent = otlp.parsed(otlp.unpacked(body_of_spans(call), headers.get("Content-Encoding", "")), media_type)
    store.append(experiment, sent, run=run, only_of=own)
    traces_logged(experiment)
    content, kind = otlp.answer(sent, media_type)
    return HttpResponse(content, content_type=kind)


def _run_named(call: Call, uid: str) -> Run | None:
    return active_run(call.about(run_id=uid)) if uid else None


def _experiment(call: Call, run: Run | None) -> Experiment:
    asked = query_of(call.request).get("experiment_id", [""])
    named = call.request.headers.get(EXPERIMENT_HEADER, "").strip() or asked[-1]
    if named:
        return experiment_of(call.about(experiment_id=named), Role.DEVELOPER)
    if run is not None:
        return run.experiment
    raise Invalid(
        f"Which experiment? Send its id in the header {EXPERIMENT_HEADER}, or as ?experiment_id= in the address.",
        hint="OTEL_EXPORTER_OTLP_HEADERS takes it beside Authorization, with a comma between.",
    )

"""The part of the program of MLflow's users (`stock_program`) that traces: what a client reads of what it has sent."""

from typing import Any

SEARCHES = (
    "name = 'answer'", "name != 'answer'", "name ILIKE 'ANS%'", "trace.name LIKE '%l'",
    "status = 'OK'", "attributes.status = 'ERROR'", "trace.status != 'OK'", "status IN ('OK', 'ERROR')",
    "tags.team = 'vision'", "tags.team != 'vision'", "tags.team ILIKE 'V%'", "tags.`odd key` = 'x y'",
    "tags.team IS NULL", "tags.team IS NOT NULL", "metadata.kind = 'question'", "request_metadata.kind LIKE 'q%'",
    "metadata.kind IS NULL", "metadata.`mlflow.trace.session` = 's1'", "client_request_id = 'r-1'",
    "timestamp_ms > 0", "attributes.timestamp < 0", "execution_time_ms >= 0", "trace.execution_time < 0",
    "end_time > 5", "status = 'OK' AND tags.team = 'vision'",
    "span.name = 'look up'", "span.type = 'RETRIEVER'", "span.status = 'ERROR'", "span.name LIKE 'l%'",
    "span.type IN ('LLM', 'TOOL')", "span.name = 'look up' AND span.type = 'LLM'", "trace.text ILIKE '%flotilla%'",
    "span.attributes.model LIKE '%tiny%'",
)  # fmt: skip
ORDERS = (
    ["name"], ["name DESC"], ["status", "name"], ["tags.team"], ["tags.team DESC"], ["metadata.kind DESC"],
)  # fmt: skip


def traces(program: Any) -> Any:
    """Functions that are traced, within a run and not; failed ones; read, searched, tagged, linked and deleted."""
    mlflow, api = program.mlflow, program.api
    experiment = mlflow.set_experiment("traces").experiment_id
    uids = _made(program)
    for uid, name in zip(uids, ("answer", "fail", "in run", "plain"), strict=True):
        program._call(uid, f"<{name}>")
        program._call(uid.removeprefix("tr-"), f"<otel {name}>")
    told: dict[str, Any] = {name: _told(api.get_trace(uid)) for name, uid in zip("abcd", uids, strict=True)}

    def found(**query: Any) -> list[str]:
        rows = mlflow.search_traces(locations=[experiment], return_type="list", include_spans=False, **query)
        return [program._known[row.info.trace_id] for row in rows]

    told["searches"] = {text: sorted(found(filter_string=text)) for text in SEARCHES}
    told["orders"] = {" ".join(order): found(order_by=order) for order in ORDERS}
    [run_id] = [run.info.run_id for run in api.search_runs([experiment])]
    program._call(run_id, "<traced run>")
    told["of run"] = found(run_id=run_id)
    told["frame"] = sorted(mlflow.search_traces(locations=[experiment])["state"])
    page = api.search_traces(locations=[experiment], max_results=3, order_by=["name"])
    told["pages"] = [
        len(page),
        len(api.search_traces(locations=[experiment], order_by=["name"], page_token=page.token)),
    ]
    api.set_trace_tag(uids[0], "color", "blue")
    api.set_trace_tag(uids[0], "gone", "soon")
    api.delete_trace_tag(uids[0], "gone")
    told["tags"] = _told(api.get_trace(uids[0]))["tags"]
    told["deleted"] = [
        api.delete_traces(experiment, trace_ids=[uids[1], "tr-none"]),
        api.delete_traces(experiment, max_timestamp_millis=2**50, max_traces=2),
        len(found()),
    ]
    told["refused"] = [
        program._refusal(call)
        for call in (
            lambda: api.get_trace(uids[1]),
            lambda: api.set_trace_tag("tr-none", "a", "b"),
            lambda: api.delete_traces(experiment),
            lambda: api.delete_traces("987654321", trace_ids=["x"]) or api.get_experiment("987654321"),
            lambda: found(filter_string="nothing = 'x'"),
            lambda: found(filter_string="span.nothing = 'x'"),
            lambda: found(order_by=["nothing"]),
        )
    ]
    return told


def _made(program: Any) -> list[str]:
    mlflow = program.mlflow
    uids = []

    @mlflow.trace(name="look up", span_type="RETRIEVER", attributes={"k": 3, "rate": 0.5, "many": [1, "a", None]})
    def look_up(text: str) -> list[dict[str, Any]]:
        mlflow.get_current_active_span().add_event(
            mlflow.entities.SpanEvent("cache", timestamp=1_000_000, attributes={"hit": False, "keys": ["a", "b"]})
        )
        return [{"page_content": f"{text} flotilla"}]

    @mlflow.trace(span_type="LLM")
    def generate(text: str) -> dict[str, Any]:
        span = mlflow.get_current_active_span()
        span.set_attribute("model", "tiny-1")
        span.set_attribute("mlflow.chat.tokenUsage", {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7})
        return {"choices": [{"message": {"role": "assistant", "content": f"About {text}: ü"}}]}

    @mlflow.trace
    def answer(question: str) -> Any:
        mlflow.update_current_trace(
            tags={"team": "vision", "odd key": "x y"}, client_request_id="r-1",
            metadata={"kind": "question", "mlflow.trace.session": "s1", "mlflow.trace.user": "ada"},
        )  # fmt: skip
        return [look_up(question), generate(question)]

    @mlflow.trace
    def fail() -> None:
        mlflow.update_current_trace(tags={"team": "speech"}, metadata={"kind": "a test"})
        raise ValueError("Nö")

    def sent() -> None:
        mlflow.flush_trace_async_logging()
        uids.append(mlflow.get_last_active_trace_id())

    answer("ships")
    sent()
    try:
        fail()
    except ValueError:
        sent()
    with mlflow.start_run():
        look_up("in a run")
        sent()
    with mlflow.start_span("plain") as span:
        span.set_inputs({"x": 1, "messages": [{"role": "user", "content": "What is it?"}]})
    sent()
    return uids


def _told(trace: Any) -> dict[str, Any]:
    info = trace.info
    metadata = {key: value for key, value in info.trace_metadata.items() if not key.startswith("mlflow.source.")}
    for key in ("mlflow.user", "mlflow.trace.sizeStats", "mlflow.trace.sizeBytes"):
        metadata.pop(key, None)
    spans = {span.span_id: span for span in trace.data.spans}
    return {
        "id": info.trace_id,
        "state": str(info.state),
        "took": info.execution_duration is not None and info.execution_duration >= 0,
        "began": info.request_time > 0,
        "client id": info.client_request_id,
        "asked": info.request_preview,
        "answered": info.response_preview,
        "tags": {key: value for key, value in info.tags.items() if key != "mlflow.artifactLocation"},
        "metadata": metadata,
        "tokens": info.token_usage,
        "spans": [
            {
                "name": span.name,
                "parent": spans[span.parent_id].name if span.parent_id else None,
                "type": span.span_type,
                "status": [str(span.status.status_code), span.status.description],
                "inputs": span.inputs,
                "outputs": span.outputs,
                "attributes": span.attributes,
                "events": [
                    [event.name, {key: value for key, value in event.attributes.items() if "stack" not in key}]
                    for event in span.events
                ],
                "long": span.end_time_ns >= span.start_time_ns > 0,
            }
            for span in trace.data.spans
        ],
    }

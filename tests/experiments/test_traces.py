"""Traces over the wire: what may be sent, by whom, what becomes of it, and where the limits are."""

import functools
import gzip
import json
import secrets
import zlib
from typing import Any

import pytest
from django.test import Client
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from apps.core.access import Principal
from apps.core.models import Membership, Project, User
from apps.core.secrets.tokens import issue_token
from apps.core.states import Role
from apps.experiments import holdings, services
from apps.experiments.models import Experiment, Run, Trace, TraceRun, TraceSpans
from apps.experiments.tracking.traces import otlp, store, summary
from apps.experiments.tracking.traces.spans import Span
from tests import factories
from tests.concurrent import at_once

pytestmark = pytest.mark.django_db
V3, OTLP = "/api/3.0/mlflow/traces", "/v1/traces"


class Tracer:
    """Sends traces with one token."""

    def __init__(self, token: str) -> None:
        self.client = Client(headers={"authorization": f"Bearer {token}"})

    def export(self, body: bytes, *, kind: str = otlp.PROTOBUF, **headers: str) -> Any:
        return self.client.generic("POST", OTLP, body, content_type=kind, headers=headers)

    def send(self, experiment: Experiment, message: ExportTraceServiceRequest, **headers: str) -> Any:
        headers["x-mlflow-experiment-id"] = str(experiment.pk)
        return self.export(message.SerializeToString(), **headers)

    def ask(self, method: str, path: str, **body: Any) -> Any:
        return self.client.generic(method, path, json.dumps(body), content_type="application/json")

    def start(self, experiment: Experiment, uid: str, **said: Any) -> Any:
        place = {"mlflow_experiment": {"experiment_id": str(experiment.pk)}}
        info = {"trace_id": uid, "trace_location": place, "request_time": "2026-11-30T12:00:00.5Z", "state": "OK"}
        return self.ask("POST", V3, trace={"trace_info": info | said})

    def search(self, experiment: Experiment, **query: Any) -> Any:
        places = [{"mlflow_experiment": {"experiment_id": str(experiment.pk)}}]
        return self.ask("POST", f"{V3}/search", locations=places, **query).json()


def message(
    *names: str, trace_id: bytes = b"", start: int = 1_796_062_832_000_000_000, **attributes: str
) -> ExportTraceServiceRequest:
    """Spans of one trace: the first is the root of all others; each takes a second."""
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    group.resource.attributes.add(key="service.name").value.string_value = "digits"
    group.resource.attributes.add(key="telemetry.sdk.name").value.string_value = "opentelemetry"
    trace_id, root = trace_id or secrets.token_bytes(16), b""
    scope = group.scope_spans.add()
    for number, name in enumerate(names):
        span = scope.spans.add(trace_id=trace_id, span_id=secrets.token_bytes(8), parent_span_id=root, name=name)
        span.start_time_unix_nano, span.end_time_unix_nano = start + number * 10**9, start + (number + 1) * 10**9
        root = root or span.span_id
        for key, value in attributes.items():
            span.attributes.add(key=key.replace("_", ".")).value.string_value = value
    return request


def ids(*messages: ExportTraceServiceRequest) -> list[str]:
    return [f"tr-{each.resource_spans[0].scope_spans[0].spans[0].trace_id.hex()}" for each in messages]


@pytest.fixture
def tracer(token: str) -> Tracer:
    return Tracer(token)


@pytest.fixture
def run(principal: Principal, experiment: Experiment) -> Run:
    return services.create_external_run(principal=principal, experiment=experiment, name="mine")


def test_spans_of_any_exporter_become_a_trace(tracer: Tracer, experiment: Experiment, run: Run) -> None:
    spans = message("GET /predict", "load", "predict", input_value='{"x": 1}', session_id="s1", user_id="ada")
    root = spans.resource_spans[0].scope_spans[0].spans[0]
    root.attributes.add(key="mlflow.traceTag.color").value.string_value = "blue"
    answer = tracer.send(experiment, spans, **{"x-mlflow-run-id": run.uid})
    assert (answer.status_code, answer["Content-Type"], answer.content) == (200, otlp.PROTOBUF, b"")
    [told] = tracer.search(experiment)["traces"]
    assert told["trace_id"] == ids(spans)[0] and told["state"] == "OK"
    assert (told["request_time"], told["execution_duration"]) == ("2026-11-30T18:20:32Z", "3s")
    assert told["tags"] | {"mlflow.artifactLocation": ""} == {
        "service.name": "digits", "color": "blue", "mlflow.trace.spansLocation": "TRACKING_STORE",
        "mlflow.artifactLocation": "",
    }  # fmt: skip
    assert told["trace_metadata"] == {"mlflow.trace.session": "s1", "mlflow.trace.user": "ada"}
    assert Trace.objects.get().name == "GET /predict"
    for text in (f"run_id = '{run.uid}'", f"metadata.`mlflow.sourceRun` = '{run.uid}'", "name = 'GET /predict'"):
        assert len(tracer.search(experiment, filter=text)["traces"]) == 1, text
    assert not tracer.search(experiment, filter=f"run_id != '{run.uid}'").get("traces")
    for text, count in (
        ("span.attributes.`session.id` = 's1'", 1), ("span.attributes.session.id ILIKE 'S%'", 1),
        ("span.attributes.`session.id` = 's2'", 0), ("run_id = 'nowhere'", 0),
    ):  # fmt: skip
        assert len(tracer.search(experiment, filter=text).get("traces", [])) == count, text
    assert "RLIKE is not supported" in tracer.search(experiment, filter="name RLIKE '^a'")["message"]
    tracer.start(experiment, "tr-1", trace_metadata={"mlflow.sourceRun": "nowhere"})
    assert len(tracer.search(experiment, filter="run_id = 'nowhere'")["traces"]) == 1


def test_spans_that_come_one_by_one_are_one_trace(tracer: Tracer, experiment: Experiment) -> None:
    whole = message("root", "a", "b", mlflow_chat="x")
    spans = list(whole.resource_spans[0].scope_spans[0].spans)
    for part in (spans[2:], spans[1:2], spans[1:2], spans[:1]):
        one = ExportTraceServiceRequest()
        one.resource_spans.add().scope_spans.add().spans.extend(part)
        assert tracer.send(experiment, one).status_code == 200
        state = Trace.objects.get().state
        assert state == ("IN_PROGRESS" if part[0].parent_span_id else "OK")
    trace = Trace.objects.get()
    assert (trace.span_count, trace.lasted, trace.name) == (3, 3000, "root")
    got = tracer.client.get(f"{V3}/get?trace_id={trace.uid}").json()["trace"]["spans"]
    assert [span["name"] for span in got] == ["root", "a", "b"]


def test_many_rows_of_spans_become_one(experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MOST_ROWS", 4)
    for number in range(11):
        span = Span(f"{number:016x}", "" if number == 0 else f"{0:016x}", f"s{number}", number, number + 1, "OK")
        [trace] = store.append(experiment, otlp.Sent({"tr-1": [span]}))
    assert TraceSpans.objects.count() < 5
    [spans] = store.spans_of([trace]).values()
    assert [span.name for span in spans] == [f"s{number}" for number in range(11)]
    assert trace.span_count == 11


def test_all_forms_of_the_protocol(tracer: Tracer, experiment: Experiment) -> None:
    about = {"x-mlflow-experiment-id": str(experiment.pk)}
    raw = [message("one").SerializeToString() for _ in range(4)]
    json_body = json.dumps(
        {"resourceSpans": [{"scopeSpans": [{"spans": [
            {"traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": "EEE19B7EC3C1B174", "name": "in JSON",
             "kind": 2, "startTimeUnixNano": "1544712660000000000", "endTimeUnixNano": "1544712661000000000",
             "attributes": [{"key": "n", "value": {"intValue": "7"}}], "unknown": 1,
             "links": [{"traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b175"}],
             "status": {"code": 2, "message": "no"}}]}]}]}
    ).encode()  # fmt: skip
    sent = [
        tracer.export(gzip.compress(raw[0]), **about, **{"content-encoding": "gzip"}),
        tracer.export(zlib.compress(raw[1]), **about, **{"content-encoding": "deflate"}),
        tracer.export(raw[2], **about, **{"content-encoding": "identity"}),
        tracer.export(json_body, kind="application/json; charset=utf-8", **about),
    ]
    assert [answer.status_code for answer in sent] == [200] * 4
    assert (sent[3]["Content-Type"], sent[3].json()) == (otlp.JSON, {})
    got = tracer.client.get(f"{V3}/get?trace_id=tr-5b8efff798038103d269b633813fc60c").json()["trace"]
    assert got["trace_info"]["state"] == "ERROR" and got["spans"][0]["status"]["message"] == "no"
    assert {"key": "n", "value": {"int_value": 7}} in got["spans"][0]["attributes"]
    assert got["spans"][0]["links"][0]["span_id"] == "7uGbfsPBsXU="


@pytest.mark.parametrize(
    ("body", "kind", "encoding", "why"),
    [
        (b"\xff\xff", otlp.PROTOBUF, "", "no ExportTraceServiceRequest"),
        (b"\x12\x00", otlp.PROTOBUF, "", "no spans"),
        (b"{}", otlp.JSON, "", "no spans"),
        (b"[]", otlp.JSON, "", "no ExportTraceServiceRequest"),
        (b'{"resourceSpans": 5}', otlp.JSON, "", "no ExportTraceServiceRequest"),
        (b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "zz"}]}]}]}', otlp.JSON, "", "no Export"),
        (b'{"resourceSpans": [{"scopeSpans": [{"spans": [5]}]}]}', otlp.JSON, "", "no ExportTraceServiceRequest"),
        (b'{"a":' * 100_000, otlp.JSON, "", "no ExportTraceServiceRequest"),
        (b"x", "text/plain", "", "Content-Type"),
        (b"x", otlp.PROTOBUF, "br", "Content-Encoding"),
        (b"xxxx", otlp.PROTOBUF, "gzip", "not gzip"),
        (gzip.compress(b"x" * 100)[:-9], otlp.PROTOBUF, "gzip", "ends too soon"),
        (gzip.compress(bytes(otlp.MAX_BODY_BYTES + 1)), otlp.PROTOBUF, "gzip", "larger"),
        (bytes(otlp.MAX_BODY_BYTES + 1), otlp.PROTOBUF, "", "larger"),
    ],
)
def test_bodies_that_are_none(
    tracer: Tracer, experiment: Experiment, body: bytes, kind: str, encoding: str, why: str
) -> None:
    headers = {"x-mlflow-experiment-id": str(experiment.pk), "content-encoding": encoding}
    answer = tracer.export(body, kind=kind, **headers)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert why in answer.json()["message"]
    assert not Trace.objects.exists()


def test_which_experiment(tracer: Tracer, experiment: Experiment, run: Run, principal: Principal) -> None:
    body = message("x").SerializeToString()
    assert "Which experiment?" in tracer.export(body).json()["message"]
    assert tracer.export(body, **{"x-mlflow-experiment-id": "987654"}).status_code == 404
    assert tracer.export(body, **{"x-mlflow-experiment-id": "\xb2"}).status_code == 400
    assert tracer.export(body, **{"x-mlflow-run-id": run.uid}).status_code == 200
    assert Trace.objects.get().experiment == experiment and TraceRun.objects.get().run == run
    services.delete_experiment(principal=principal, experiment=experiment)
    assert "active" in tracer.send(experiment, message("y")).json()["message"]


def test_single_spans_that_make_no_sense_are_told_apart(tracer: Tracer, experiment: Experiment) -> None:
    body = message("good", "bad", "worse", "late", "worst")
    spans = body.resource_spans[0].scope_spans[0].spans
    spans[1].trace_id, spans[2].span_id, spans[4].parent_span_id = b"short", bytes(8), b"xx"
    spans[3].end_time_unix_nano = 2**64 - 1
    answer = ExportTraceServiceResponse.FromString(tracer.send(experiment, body).content)
    assert answer.partial_success.rejected_spans == 4 and "trace_id" in answer.partial_success.error_message
    assert Trace.objects.get().span_count == 1


def test_a_trace_has_room_for_so_many_spans(
    tracer: Tracer, experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MAX_SPANS", 2)
    first = message("a", "b", "c")
    answer = ExportTraceServiceResponse.FromString(tracer.send(experiment, first).content)
    assert answer.partial_success.rejected_spans == 1 and "is full" in answer.partial_success.error_message
    again = ExportTraceServiceResponse.FromString(tracer.send(experiment, first).content)
    assert again.partial_success.rejected_spans == 1, "those that are there may come again"
    monkeypatch.setattr(store, "MAX_TRACES", 1)
    both = message("x")
    both.MergeFrom(message("y"))
    assert "at most 1 traces" in tracer.send(experiment, both).json()["message"]


def test_the_file_of_a_trace_is_its_spans(tracer: Tracer, experiment: Experiment) -> None:
    uid = "tr-" + "a" * 32
    assert tracer.start(experiment, uid).status_code == 200
    path = f"/api/2.0/mlflow-artifacts/artifacts/{experiment.pk}/traces/{uid}/artifacts"
    assert tracer.client.get(f"{path}/traces.json").status_code == 404
    span = {
        "trace_id": "qqqqqqqqqqqqqqqqqqqqqg==", "span_id": "d6ffQcRkfn0=", "parent_span_id": None, "name": "old way",
        "start_time_unix_nano": 5, "end_time_unix_nano": 9, "events": [{"name": "e", "time_unix_nano": 6}],
        "status": {"code": "STATUS_CODE_OK", "message": ""}, "attributes": {"mlflow.spanInputs": '{"x": 1}'},
    }  # fmt: skip
    assert tracer.ask("PUT", f"{path}/traces.json", spans=[span]).status_code == 200
    assert tracer.ask("PUT", f"{path}/traces.json", spans=[span]).status_code == 200
    [back] = tracer.client.get(f"{path}/traces.json").json()["spans"]
    assert {**back, "attributes": {}, "links": [], "events": []} == {
        **span,
        "attributes": {},
        "links": [],
        "events": [],
    }
    assert back["attributes"]["mlflow.spanInputs"] == '{"x": 1}'
    assert TraceSpans.objects.count() == 1, "what is there already is not kept twice"
    for body in (b"x", b"[]", b'{"spans": [{}]}', b'{"spans": 5}', b"[" * 50_000):
        answer = tracer.client.generic("PUT", f"{path}/traces.json", body, content_type="application/json")
        assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    attached: Any = tracer.ask("PUT", f"{path}/attachments/x", a=1)
    assert attached.status_code == 404 and "attachments" in attached.json()["message"]


def test_a_trace_that_is_on_its_way_is_told_so(tracer: Tracer, experiment: Experiment) -> None:
    spans = message("root", "a")
    [uid] = ids(spans)
    stats = {"mlflow.trace.sizeStats": '{"num_spans": 3}'}
    assert tracer.start(experiment, uid, trace_metadata=stats).status_code == 200
    tracer.send(experiment, spans)
    answer = tracer.client.get(f"{V3}/get?trace_id={uid}")
    assert answer.status_code == 404 and "not fully exported yet" in answer.json()["message"]
    assert len(tracer.client.get(f"{V3}/get?trace_id={uid}&allow_partial=true").json()["trace"]["spans"]) == 2
    assert tracer.client.get(f"{V3}/batchGet?trace_ids={uid}").json() == {"traces": []}


def test_pages_of_a_search_have_every_trace_once(tracer: Tracer, experiment: Experiment) -> None:
    for number in range(7):
        tracer.start(
            experiment, f"tr-{number}", request_time=f"2026-11-30T12:00:0{number // 3}Z", tags={"n": str(number)}
        )
    for order_by in ([], ["tags.n DESC"], ["execution_time"], ["client_request_id"], ["status", "timestamp ASC"]):
        seen: list[str] = []
        token = ""
        while True:
            page = tracer.search(experiment, max_results=2, order_by=order_by, page_token=token)
            seen += [trace["trace_id"] for trace in page["traces"]]
            token = page.get("next_page_token", "")
            if not token:
                break
        assert len(seen) == 7 and set(seen) == {f"tr-{number}" for number in range(7)}, order_by
    assert tracer.search(experiment, max_results=1)["traces"][0]["trace_id"] == "tr-6"
    assert "500" in tracer.search(experiment, max_results=501)["message"]


def test_another_projects_traces_are_not_there(tracer: Tracer, experiment: Experiment, run: Run) -> None:
    mine = factories.trace(run)
    foreign_project = Project.objects.create(name="stranger")
    foreign = Tracer(issue_token(name="s", project=foreign_project)[1])
    path = f"/api/2.0/mlflow-artifacts/artifacts/{experiment.pk}/traces/{mine.uid}/artifacts/traces.json"
    place = [{"mlflow_experiment": {"experiment_id": str(experiment.pk)}}]
    answers = [
        foreign.client.get(f"{V3}/{mine.uid}"),
        foreign.client.get(f"{V3}/get?trace_id={mine.uid}"),
        foreign.ask("POST", f"{V3}/search", locations=place),
        foreign.ask("POST", f"{V3}/delete-traces", experiment_id=str(experiment.pk), request_ids=[mine.uid]),
        foreign.ask("PATCH", f"{V3}/{mine.uid}/tags", key="k", value="v"),
        foreign.ask("POST", f"{V3}/link-to-run", trace_ids=[mine.uid], run_id=run.uid),
        foreign.ask("POST", f"{V3}/link-prompts", trace_id=mine.uid, prompt_versions=[{"name": "a", "version": "1"}]),
        foreign.send(experiment, message("x")),
        foreign.start(experiment, "tr-1"),
        foreign.client.get(path),
        foreign.ask("PUT", path, spans=[]),
    ]
    assert [answer.json()["error_code"] for answer in answers] == ["RESOURCE_DOES_NOT_EXIST"] * len(answers)
    assert foreign.client.get(f"{V3}/batchGet?trace_ids={mine.uid}").json() == {"traces": []}
    # The same id there is another trace: nobody can take one away from another project.
    theirs = Experiment.objects.create(project=foreign_project, name="theirs")
    assert foreign.start(theirs, mine.uid).status_code == 200
    assert Trace.objects.filter(uid=mine.uid).count() == 2
    assert tracer.client.get(f"{V3}/{mine.uid}").json()["trace"]["trace_info"]["tags"]["team"] == "vision"


def test_a_runs_token_writes_to_traces_of_its_run(experiment: Experiment, run: Run, principal: Principal) -> None:
    other = services.create_external_run(principal=principal, experiment=experiment, name="other")
    elsewhere = Experiment.objects.create(project=experiment.project, name="elsewhere")
    theirs = factories.trace(other)
    own = Tracer(issue_token(name="run", project=experiment.project, run_uid=run.uid)[1])
    spans = message("mine")
    [uid] = ids(spans)
    assert own.export(spans.SerializeToString()).status_code == 200, "its experiment is meant"
    assert own.start(experiment, uid, trace_metadata={"mlflow.sourceRun": run.uid}).status_code == 200
    assert own.ask("PATCH", f"{V3}/{uid}/tags", key="k", value="v").status_code == 200
    assert own.ask("POST", f"{V3}/link-to-run", trace_ids=[uid], run_id=run.uid).status_code == 200
    assert TraceRun.objects.get(trace__uid=uid).run == run
    foreign = message("theirs", trace_id=bytes.fromhex(theirs.uid.removeprefix("tr-")))
    refused = [
        own.start(experiment, "tr-2", trace_metadata={"mlflow.sourceRun": other.uid}),
        own.start(elsewhere, "tr-2"),
        own.send(elsewhere, message("x")),
        own.send(experiment, message("x"), **{"x-mlflow-run-id": other.uid}),
        own.ask("PATCH", f"{V3}/{theirs.uid}/tags", key="k", value="v"),
        own.ask("POST", f"{V3}/link-to-run", trace_ids=[theirs.uid], run_id=run.uid),
        own.ask("POST", f"{V3}/link-to-run", trace_ids=[uid], run_id=other.uid),
        own.ask("POST", f"{V3}/delete-traces", experiment_id=str(experiment.pk), request_ids=[uid]),
        own.send(experiment, foreign),
        own.start(experiment, theirs.uid),
    ]
    assert [answer.json()["error_code"] for answer in refused] == ["PERMISSION_DENIED"] * len(refused)
    assert Trace.objects.count() == 2 and Trace.objects.get(pk=theirs.pk).span_count == theirs.span_count


def test_viewers_read_and_write_no_traces(experiment: Experiment, run: Run) -> None:
    trace = factories.trace(run)
    viewer = User.objects.create_user("eve")
    Membership.objects.create(project=experiment.project, user=viewer, role=Role.VIEWER)
    reader = Tracer(issue_token(name="v", user=viewer)[1])
    assert reader.client.get(f"{V3}/get?trace_id={trace.uid}").status_code == 200
    refused = [
        reader.send(experiment, message("x")),
        reader.start(experiment, "tr-1"),
        reader.ask("DELETE", f"{V3}/{trace.uid}/tags", key="team"),
        reader.ask("POST", f"{V3}/delete-traces", experiment_id=str(experiment.pk), request_ids=[trace.uid]),
    ]
    assert [answer.json()["error_code"] for answer in refused] == ["PERMISSION_DENIED"] * len(refused)


def test_traces_go_with_their_project(experiment: Experiment, run: Run, principal: Principal) -> None:
    kept = factories.trace(run)
    services.delete_traces(principal=principal, experiment=experiment, until=0)
    assert Trace.objects.get() == kept
    holdings.forget_project(experiment.project_id)
    assert not Trace.objects.exists() and not TraceSpans.objects.exists() and not TraceRun.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_writers_of_the_same_traces_do_not_wait_in_a_circle(experiment: Experiment) -> None:
    uids = [f"tr-{number}" for number in range(6)]

    def append(writer: int) -> None:
        order = uids if writer % 2 else uids[::-1]
        for number in range(5):
            spans = {uid: [Span(f"{writer:08x}{number:08x}", "", "s", 1, 2, "OK")] for uid in order}
            store.append(experiment, otlp.Sent(spans))

    assert at_once([functools.partial(append, writer) for writer in range(4)]) == [None] * 4
    traces = list(Trace.objects.all())
    assert [trace.span_count for trace in traces] == [20] * 6
    assert {len(spans) for spans in store.spans_of(traces).values()} == {20}


def _span(span_id: str, parent: str = "", **attributes: Any) -> Span:
    texts = {key.replace("__", "."): json.dumps(value) for key, value in attributes.items()}
    return Span(span_id, parent, "s", 1, 2, "OK", attributes=texts)


_LLM: dict[str, Any] = {"mlflow__chat__tokenUsage": {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}}


@pytest.mark.parametrize(
    ("spans", "total"),
    [
        ([_span("a")], {}),
        ([_span("a", **_LLM), _span("b", "a", **_LLM)], {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}),
        (
            [_span("a"), _span("b", "a", **_LLM), _span("c", "a", **_LLM)],
            {"input_tokens": 2, "output_tokens": 4, "total_tokens": 6},
        ),
        ([_span("a", "b", **_LLM), _span("b", "a")], {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}),
        ([_span("a", gen_ai__usage__input_tokens=5)], {"input_tokens": 5, "total_tokens": 5}),
        ([_span("a", llm__token_count__completion=2)], {"output_tokens": 2, "total_tokens": 2}),
        ([_span("a", mlflow__chat__tokenUsage="x")], {}),
        ([_span("a", mlflow__chat__tokenUsage={"input_tokens": -1, "total_tokens": True})], {}),
    ],
)  # fmt: skip
def test_tokens_count_once(spans: list[Span], total: dict[str, int]) -> None:
    assert summary.tokens(spans) == total


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, None),
        ("done", '"done"'),
        ({"x": 1}, '{"x": 1}'),
        ("y" * 2000, '"' + "y" * 996 + "..."),
        ({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}]}, "Hi"),
        ({"request": {"input": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]}}, "Hi"),
        ({"choices": [{"message": {"role": "assistant", "content": "A"}}]}, "A"),
        ({"choices": [5], "messages": [5], "request": []}, '{"choices": [5], "messages": [5], "request": []}'),
    ],
)  # fmt: skip
def test_what_is_shown_of_inputs(value: Any, shown: str | None) -> None:
    assert summary.preview(value, "user") == shown

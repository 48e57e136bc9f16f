"""OpenTelemetry's protocol for traces, over HTTP: a request's body to spans, and the answer. Pure.

https://opentelemetry.io/docs/specs/otlp/#otlphttp
"""

import base64
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Message
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from apps.core.errors import Invalid
from apps.experiments.tracking.traces.spans import (
    ERROR,
    LONGEST_NAME,
    OK,
    UNSET,
    Event,
    Link,
    Span,
    clean,
    dumped,
    trace_id_of,
)

PROTOBUF, JSON = "application/x-protobuf", "application/json"
# Of a request's body, as it comes and when it is unpacked.
MAX_BODY_BYTES = 16 * 1024 * 1024
_IDS = ("traceId", "spanId", "parentSpanId")
_TRACE_BYTES, _SPAN_BYTES = 16, 8
_INT64 = 2**63


@dataclass
class Sent:
    """The spans of one request: by trace, with what their programs say of themselves; how many are none, and why."""

    spans: dict[str, list[Span]] = field(default_factory=dict)
    resources: dict[str, dict[str, Any]] = field(default_factory=dict)
    rejected: int = 0
    why: str = ""

    def reject(self, count: int, why: str) -> None:
        """Note spans that are not kept."""
        self.rejected, self.why = self.rejected + count, self.why or why


def unpacked(body: bytes, encoding: str) -> bytes:
    """The body without its Content-Encoding. Raises Invalid."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "deflate"):
        raise Invalid(f"Content-Encoding {encoding[:50]!r} is not supported. Send gzip, deflate or none.")
    # 47: a header of gzip or of zlib, whichever is there.
    unpack = zlib.decompressobj(47)
    try:
        content = unpack.decompress(body, MAX_BODY_BYTES + 1)
    except zlib.error as error:
        raise Invalid(f"The body is not {encoding}: {error}.") from error
    if len(content) > MAX_BODY_BYTES:
        raise too_large()
    if not unpack.eof:
        raise Invalid(f"The body's {encoding} ends too soon.")
    return content


def too_large() -> Invalid:
    """A body of more bytes than are taken."""
    return Invalid(f"The body is larger than {MAX_BODY_BYTES} bytes. Send fewer spans in one request.")


def parsed(body: bytes, media_type: str) -> Sent:
    """The spans of a body. Raises Invalid where it can't be read; single spans that make no sense are rejected."""
    kind = media_type.partition(";")[0].strip().lower()
    message = ExportTraceServiceRequest()
    try:
        if kind == JSON:
            json_format.ParseDict(_with_ids(json.loads(body)), message, ignore_unknown_fields=True)
        elif kind == PROTOBUF:
            message.ParseFromString(body)
        else:
            raise Invalid(f"Invalid Content-Type {kind[:100]!r}. Send {PROTOBUF} or {JSON}.")
    except (DecodeError, json_format.Error, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise Invalid("Invalid OpenTelemetry format: the body is no ExportTraceServiceRequest.") from error
    if not message.resource_spans:
        raise Invalid("Invalid OpenTelemetry format: no spans found.")
    sent = Sent()
    for group in message.resource_spans:
        about = {clean(each.key): _plain(each.value) for each in group.resource.attributes}
        for each in (span for scope in group.scope_spans for span in scope.spans):
            problem = _problem(each)
            if problem:
                sent.reject(1, problem)
                continue
            trace = trace_id_of(each.trace_id.hex())
            sent.spans.setdefault(trace, []).append(_span(each))
            sent.resources.setdefault(trace, {}).update(about)
    return sent


def answer(sent: Sent, media_type: str) -> tuple[bytes, str]:
    """What a client is told when its spans are taken, in the form that it speaks, and that form."""
    message = ExportTraceServiceResponse()
    if sent.rejected:
        part = ExportTracePartialSuccess(rejected_spans=sent.rejected, error_message=sent.why)
        message.partial_success.CopyFrom(part)
    if media_type.partition(";")[0].strip().lower() == JSON:
        return json_format.MessageToJson(message, indent=None).encode(), JSON
    return message.SerializeToString(), PROTOBUF


def _with_ids(said: Any) -> Any:
    """OTLP's JSON has ids in hexadecimal digits, protobuf's in base64. Raises ValueError, TypeError, AttributeError."""
    for span in _spans_in(said):
        for name in _IDS:
            if span.get(name):
                span[name] = base64.b64encode(bytes.fromhex(span[name])).decode()
        for link in span.get("links") or ():
            for name in _IDS[:2]:
                if link.get(name):
                    link[name] = base64.b64encode(bytes.fromhex(link[name])).decode()
    return said


def _spans_in(said: Any) -> Iterator[dict[str, Any]]:
    for group in said.get("resourceSpans") or ():
        for scope in group.get("scopeSpans") or ():
            yield from scope.get("spans") or ()


def _problem(span: Message) -> str:
    if len(span.trace_id) != _TRACE_BYTES or not any(span.trace_id):
        return "A span's trace_id must have 16 bytes, and not only zeros."
    if len(span.span_id) != _SPAN_BYTES or not any(span.span_id):
        return "A span's span_id must have 8 bytes, and not only zeros."
    if len(span.parent_span_id) not in (0, _SPAN_BYTES):
        return "A span's parent_span_id must have 8 bytes or none."
    times = (span.start_time_unix_nano, span.end_time_unix_nano, *(event.time_unix_nano for event in span.events))
    if max(times) >= _INT64:
        return "A span's times are nanoseconds since the epoch, and must fit 63 bits."
    return ""


def _span(span: Message) -> Span:
    codes = {Status.STATUS_CODE_OK: OK, Status.STATUS_CODE_ERROR: ERROR}
    return Span(
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex() if any(span.parent_span_id) else "",
        name=clean(span.name, LONGEST_NAME),
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        code=codes.get(span.status.code, UNSET),
        message=clean(span.status.message),
        attributes=_attributes(span.attributes),
        events=tuple(
            Event(clean(each.name, LONGEST_NAME), each.time_unix_nano, _attributes(each.attributes))
            for each in span.events
        ),
        links=tuple(
            Link(each.trace_id.hex(), each.span_id.hex(), _attributes(each.attributes))
            for each in span.links
            if len(each.trace_id) == _TRACE_BYTES and len(each.span_id) == _SPAN_BYTES
        ),
    )


def _attributes(pairs: Iterable[KeyValue]) -> Mapping[str, str]:
    return {clean(each.key): dumped(_plain(each.value)) for each in pairs}


def _plain(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [_plain(each) for each in value.array_value.values]
    if kind == "kvlist_value":
        return {each.key: _plain(each.value) for each in value.kvlist_value.values}
    if kind == "bytes_value":
        return base64.b64encode(value.bytes_value).decode()
    return getattr(value, kind)

"""A span: one step of a request, with the times, attributes and events that its program gave it. Pure.

Attributes are kept as MLflow keeps them, each as a JSON text, so that a number stays the number that it was.
"""

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from apps.core.errors import Invalid

STATES = ("STATE_UNSPECIFIED", "OK", "ERROR", "IN_PROGRESS")
OK, ERROR, UNSET = "OK", "ERROR", "UNSET"
# mlflow/tracing/constant.py: SpanAttributeKey.
INPUTS, OUTPUTS, TYPE = "mlflow.spanInputs", "mlflow.spanOutputs", "mlflow.spanType"
REQUEST_ID = "mlflow.traceRequestId"
ID_PREFIX = "tr-"
LONGEST_NAME = 1000
_TRACE_BYTES, _SPAN_BYTES = 16, 8
_INT64 = 2**63


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened at a moment (nanoseconds since the epoch) of a span."""

    name: str
    time: int
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Link:
    """A reference to a span of this or of another trace; ids are hexadecimal."""

    trace: str
    span: str
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Span:
    """One step. Ids are hexadecimal, `parent` "" for none; times are nanoseconds since the epoch, `end` 0 for none."""

    id: str
    parent: str
    name: str
    start: int
    end: int
    code: str
    message: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    links: tuple[Link, ...] = ()

    def value(self, key: str) -> Any:
        """An attribute's value; None where there is none."""
        return loaded(self.attributes.get(key))

    def to_json(self) -> dict[str, Any]:
        """As it is kept. What is empty is left out."""
        kept = {
            "id": self.id,
            "parent": self.parent,
            "name": self.name,
            "start": self.start,
            "end": self.end,
            "code": self.code,
            "message": self.message,
            "attributes": dict(self.attributes),
            "events": [[each.name, each.time, dict(each.attributes)] for each in self.events],
            "links": [[each.trace, each.span, dict(each.attributes)] for each in self.links],
        }
        return {name: value for name, value in kept.items() if value or name in ("id", "name", "start")}

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> "Span":
        """The inverse."""
        return cls(
            id=kept["id"],
            parent=kept.get("parent", ""),
            name=kept["name"],
            start=kept["start"],
            end=kept.get("end", 0),
            code=kept.get("code", UNSET),
            message=kept.get("message", ""),
            attributes=kept.get("attributes", {}),
            events=tuple(Event(*each) for each in kept.get("events", ())),
            links=tuple(Link(*each) for each in kept.get("links", ())),
        )


def clean(text: str, most: int | None = None) -> str:
    """The text as Postgres and UTF-8 can keep it, cut to `most` letters."""
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()
    return text.replace("\x00", "")[:most]


def dumped(value: Any) -> str:
    """A value as its JSON text."""
    return clean(json.dumps(value, ensure_ascii=False, default=str))


def loaded(text: str | None) -> Any:
    """The value of a JSON text; the text itself where it is none; None for None."""
    if text is None:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def in_order(spans: Iterable[Span]) -> list[Span]:
    """Roots first, then by start, as MLflow's server orders them."""
    return sorted(spans, key=lambda span: (span.parent != "", span.start, span.id))


def trace_id_of(hexadecimal: str) -> str:
    """MLflow's id of the trace with OpenTelemetry's id."""
    return f"{ID_PREFIX}{hexadecimal}"


def _trace_bytes(trace_id: str) -> bytes:
    try:
        return bytes.fromhex(trace_id.removeprefix(ID_PREFIX))
    except ValueError:
        return bytes(_TRACE_BYTES)


def _base64(hexadecimal: str) -> str:
    return base64.b64encode(bytes.fromhex(hexadecimal)).decode()


def as_proto(trace_id: str, span: Span) -> dict[str, Any]:
    """OpenTelemetry's message in JSON, as MLflow's server writes it: what is empty is left out, times are numbers."""
    told: dict[str, Any] = {
        "trace_id": base64.b64encode(_trace_bytes(trace_id)).decode(),
        "span_id": _base64(span.id),
        "name": span.name,
        "start_time_unix_nano": span.start,
        "end_time_unix_nano": span.end,
        "attributes": _pairs({REQUEST_ID: dumped(trace_id), **span.attributes}),
        "status": {"code": f"STATUS_CODE_{span.code}", "message": span.message},
    }
    if span.parent:
        told["parent_span_id"] = _base64(span.parent)
    if span.events:
        told["events"] = [
            {"time_unix_nano": each.time, "name": each.name, "attributes": _pairs(each.attributes)}
            for each in span.events
        ]
    if span.links:
        told["links"] = [
            {
                "trace_id": base64.b64encode(_trace_bytes(each.trace)).decode(),
                "span_id": _base64(each.span),
                "attributes": _pairs(each.attributes),
            }
            for each in span.links
        ]
    return told


def _pairs(attributes: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _any_value(loaded(text))} for key, text in attributes.items()]


def _any_value(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if isinstance(value, bool):
        return {"bool_value": value}
    if isinstance(value, int) and -_INT64 <= value < _INT64:
        return {"int_value": value}
    if isinstance(value, float):
        # protobuf's JSON has no other way to say NaN and Infinity.
        plain = value == value and abs(value) != float("inf")
        return {"double_value": value if plain else json.dumps(value)}
    if isinstance(value, list):
        return {"array_value": {"values": [_any_value(each) for each in value]}}
    if isinstance(value, dict):
        return {"kvlist_value": {"values": [{"key": key, "value": _any_value(each)} for key, each in value.items()]}}
    return {"string_value": str(value)}


def as_file(trace_id: str, span: Span) -> dict[str, Any]:
    """A span of MLflow's `traces.json`."""
    return {
        "trace_id": base64.b64encode(_trace_bytes(trace_id)).decode(),
        "span_id": _base64(span.id),
        "parent_span_id": _base64(span.parent) if span.parent else None,
        "name": span.name,
        "start_time_unix_nano": span.start,
        "end_time_unix_nano": span.end or None,
        "status": {"code": f"STATUS_CODE_{span.code}", "message": span.message},
        "attributes": {REQUEST_ID: dumped(trace_id), **span.attributes},
        "events": [
            {
                "name": each.name,
                "time_unix_nano": each.time,
                "attributes": {key: loaded(text) for key, text in each.attributes.items()},
            }
            for each in span.events
        ],
        "links": [
            {
                "trace_id": trace_id_of(each.trace),
                "span_id": each.span,
                "attributes": {key: loaded(text) for key, text in each.attributes.items()},
            }
            for each in span.links
        ],
    }


def of_file(content: bytes) -> list[Span]:
    """The spans of a `traces.json`. Raises Invalid."""
    try:
        said = json.loads(content)
        return [_of_file(each) for each in said["spans"]]
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError, binascii.Error) as error:
        raise Invalid("This is no traces.json of MLflow 3: {'spans': [...]}.") from error


def _of_file(said: Mapping[str, Any]) -> Span:
    status = said.get("status") or {}
    texts = {
        clean(key): clean(text) if isinstance(text, str) else dumped(text) for key, text in said["attributes"].items()
    }
    return Span(
        id=_hexadecimal(said["span_id"]),
        parent=_hexadecimal(said["parent_span_id"]) if said.get("parent_span_id") else "",
        name=clean(str(said["name"]), LONGEST_NAME),
        start=_nanoseconds(said["start_time_unix_nano"]),
        end=_nanoseconds(said.get("end_time_unix_nano") or 0),
        code=code_of(str(status.get("code") or "")),
        message=clean(str(status.get("message") or "")),
        attributes=texts,
        events=tuple(
            Event(
                clean(str(each["name"]), LONGEST_NAME),
                _nanoseconds(each["time_unix_nano"]),
                {clean(key): dumped(value) for key, value in (each.get("attributes") or {}).items()},
            )
            for each in said.get("events") or ()
        ),
    )


def code_of(name: str) -> str:
    """OK, ERROR or UNSET, of the name in a file or in a message."""
    code = name.removeprefix("STATUS_CODE_")
    return code if code in (OK, ERROR) else UNSET


def _hexadecimal(said: str) -> str:
    """A span's id, which releases of MLflow write in either way. Raises ValueError."""
    raw = bytes.fromhex(said) if len(said) == 2 * _SPAN_BYTES else base64.b64decode(said, validate=True)
    if len(raw) != _SPAN_BYTES:
        raise ValueError(said)
    return raw.hex()


def _nanoseconds(said: Any) -> int:
    number = int(said)
    if not 0 <= number < _INT64:
        raise ValueError(said)
    return number

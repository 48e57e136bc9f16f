"""What a trace is by its spans: when, for how long, with which outcome, what was asked and answered, how many tokens.

Pure. A client of MLflow says all of this itself when its trace has ended; of others it is known by this alone.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apps.experiments.tracking.traces.spans import ERROR, INPUTS, OUTPUTS, TYPE, Span, loaded

PREVIEW_LENGTH = 1000
# mlflow/tracing/constant.py: TraceMetadataKey, TraceTagKey, SpanAttributeKey.
TOKEN_USAGE, SESSION, USER = "mlflow.trace.tokenUsage", "mlflow.trace.session", "mlflow.trace.user"
NAME_TAG, TAG_PREFIX = "mlflow.traceName", "mlflow.traceTag."
_USAGE = "mlflow.chat.tokenUsage"
_COUNTS = ("input_tokens", "output_tokens", "total_tokens")
# Those who do not speak MLflow's dialect: OpenTelemetry's conventions for generative AI, and OpenInference's.
_USAGE_ELSEWHERE = (
    ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"),
    ("llm.token_count.prompt", "llm.token_count.completion"),
)
_INPUTS = (INPUTS, "gen_ai.input.messages", "gen_ai.prompt", "input.value")
_OUTPUTS = (OUTPUTS, "gen_ai.output.messages", "gen_ai.completion", "output.value")
_TYPES = (TYPE, "openinference.span.kind", "gen_ai.operation.name")
_SESSIONS = ("session.id", "gen_ai.conversation.id")
_NANOSECONDS = 1_000_000


@dataclass(frozen=True)
class Summary:
    """Of some spans of one trace; times are milliseconds since the epoch. What they do not tell is None or empty."""

    began: int
    ended: int | None
    root: Span | None
    state: str
    tokens: Mapping[str, int]
    session: str
    user: str
    tags: Mapping[str, str]


def summary(spans: Sequence[Span]) -> Summary:
    """What these spans tell of their trace."""
    root = next((span for span in spans if not span.parent), None)
    ends = [span.end for span in spans if span.end]
    tags = {
        key.removeprefix(TAG_PREFIX): _text(loaded(value))
        for key, value in (root.attributes.items() if root else ())
        if key.startswith(TAG_PREFIX)
    }
    return Summary(
        began=min(span.start for span in spans) // _NANOSECONDS,
        ended=max(ends) // _NANOSECONDS if ends else None,
        root=root,
        state="IN_PROGRESS" if root is None else "ERROR" if root.code == ERROR else "OK",
        tokens=tokens(spans),
        session=_first_of(spans, _SESSIONS),
        user=_first_of(spans, ("user.id",)),
        tags=tags,
    )


def tokens(spans: Iterable[Span]) -> dict[str, int]:
    """Input, output and total tokens. Where a span tells its own it tells those below it, too: they count once."""
    by_id = {span.id: span for span in spans}
    counted = {span_id: usage for span_id, span in by_id.items() if (usage := usage_of(span))}
    total: dict[str, int] = {}
    for span_id, usage in counted.items():
        if not _is_below(by_id, span_id, counted):
            for name, count in usage.items():
                total[name] = total.get(name, 0) + count
    return total


def _is_below(by_id: Mapping[str, Span], span_id: str, counted: Mapping[str, Any]) -> bool:
    seen = {span_id}
    parent = by_id[span_id].parent
    while parent in by_id and parent not in seen:
        if parent in counted:
            return True
        seen.add(parent)
        parent = by_id[parent].parent
    return False


def usage_of(span: Span) -> dict[str, int]:
    """The tokens that one span tells; empty where it tells none."""
    said = span.value(_USAGE)
    if not isinstance(said, dict):
        names = next((pair for pair in _USAGE_ELSEWHERE if any(name in span.attributes for name in pair)), ())
        said = dict(zip(_COUNTS, map(span.value, names), strict=False))
    usage = {name: said[name] for name in _COUNTS if _is_count(said.get(name))}
    if usage and "total_tokens" not in usage:
        usage["total_tokens"] = sum(usage.values())
    return usage


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**53


def usage_in(metadata: Mapping[str, str]) -> dict[str, int]:
    """The tokens that a trace's metadata tell; empty where they tell none."""
    said = loaded(metadata.get(TOKEN_USAGE))
    return {name: said[name] for name in _COUNTS if _is_count(said.get(name))} if isinstance(said, dict) else {}


def type_of(span: Span) -> str:
    """LLM, TOOL, CHAIN, …; "" where it does not say so."""
    kind = _first_of([span], _TYPES)
    return "" if kind == "UNKNOWN" else kind


def inputs_of(span: Span) -> Any:
    """What the step was given; None where it does not say so."""
    return _value_of(span, _INPUTS)


def outputs_of(span: Span) -> Any:
    """What the step gave; None where it does not say so."""
    return _value_of(span, _OUTPUTS)


def is_shown_apart(key: str) -> bool:
    """Whether an attribute is told elsewhere than in the list of attributes."""
    return key in (*_INPUTS, *_OUTPUTS, *_TYPES) or key in ("mlflow.traceRequestId", "mlflow.experimentId")


def _value_of(span: Span, names: Iterable[str]) -> Any:
    return next((span.value(name) for name in names if name in span.attributes), None)


def _first_of(spans: Iterable[Span], names: Sequence[str]) -> str:
    values = (span.value(name) for span in spans for name in names if name in span.attributes)
    return next((_text(value)[:250] for value in values if value), "")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def preview(value: Any, role: str) -> str | None:
    """The first letters of what was asked ("user") or answered ("assistant"): of a chat the last message in that role.

    None for None.
    """
    if value is None:
        return None
    messages = _messages(value)
    said = [each for each in messages if each["role"] == role] or messages
    text = _content(said[-1]["content"]) if said else ""
    text = text or json.dumps(value, ensure_ascii=False)
    return text if len(text) <= PREVIEW_LENGTH else f"{text[: PREVIEW_LENGTH - 3]}..."


def _messages(value: Any) -> list[dict[str, Any]]:
    """The messages of a chat in the forms of OpenAI's APIs; none where it is no chat."""
    if not isinstance(value, dict):
        return []
    choices = value.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    found = [first.get("message")] if isinstance(first, dict) else None
    for name in ("messages", "input", "output"):
        found = found or value.get(name)
    if isinstance(found, list):
        return [each for each in found if isinstance(each, dict) and "role" in each and "content" in each]
    return _messages(value.get("request"))


def _content(content: Any) -> str:
    if isinstance(content, str):
        return content
    for part in content if isinstance(content, list) else ():
        if isinstance(part, str):
            return part
        if isinstance(part, dict) and part.get("type") in ("text", "output_text"):
            return str(part.get("text") or "")
    return ""

"""Traces by what their clients and their spans say: MLflow's `filter` and `order_by` of `traces/search`.

What is asked of spans must hold for one and the same span. Postgres looks at the spans of one trace after the other, in
the order of the page, and stops when the page is full.
"""

import json
from collections.abc import Sequence
from typing import Any

from django.db.models import BigIntegerField, BooleanField, Exists, Expression, F, Func, OuterRef, Q, QuerySet
from django.db.models.functions import Coalesce, Collate

from apps.core.database.keyset import Key, Part
from apps.core.errors import Invalid
from apps.experiments.models import Trace, TraceRun, TraceSpans
from apps.experiments.search import conditions
from apps.experiments.search.conditions import TextIn
from apps.experiments.search.grammar import TRACE_KINDS, Comparison, Ordering, parse_filter, parse_orderings
from apps.experiments.tracking.tags import SOURCE_RUN

# mlflow/tracing/constant.py: TraceMetadataKey, TraceTagKey.
PROMPTS = "mlflow.linkedPrompts"
_PLAIN = "C"
_TEXTS = {
    "request_id": "uid",
    "trace_id": "uid",
    "status": "state",
    "state": "state",
    "name": "name",
    "client_request_id": "client_request_id",
}
_NUMBERS = {
    "timestamp": "began",
    "timestamp_ms": "began",
    "execution_time": "lasted",
    "execution_time_ms": "lasted",
    "end_time": "ended",
    "end_time_ms": "ended",
}
_OPTIONAL = frozenset({"lasted", "client_request_id"})
_OBJECTS = {"tag": "tags", "metadata": "metadata"}
# Of one element of the JSON array; what is an attribute is kept as a JSON text, a string in quotes.
_SPAN = {
    "name": "span ->> 'name'",
    "status": "coalesce(span ->> 'code', 'UNSET')",
    "type": "btrim(span -> 'attributes' ->> 'mlflow.spanType', '\"')",
    "content": "span::text",
}
_ATTRIBUTE = "btrim(span -> 'attributes' ->> %s, '\"')"
_OF_ATTRIBUTES = "attributes."
_OPS = {
    "=": "= %s",
    "!=": "<> %s",
    "LIKE": "LIKE %s ESCAPE ''",
    "ILIKE": "ILIKE %s ESCAPE ''",
    "IN": "= ANY(%s)",
    "NOT IN": "<> ALL(%s)",
}


class _AnySpan(Func):
    """Whether some span of a JSON array fulfils all of the conditions."""

    output_field = BooleanField()

    def __init__(self, column: str, asked: Sequence[tuple[str, list[Any]]]) -> None:
        super().__init__(F(column))
        self._asked = asked

    def as_sql(self, compiler: Any, connection: Any, **_: Any) -> tuple[str, tuple[Any, ...]]:  # type: ignore[override]
        """`EXISTS (SELECT FROM jsonb_array_elements(column) …)`."""
        column, params = compiler.compile(self.get_source_expressions()[0])
        holds = " AND ".join(text for text, _ in self._asked)
        said = [value for _, values in self._asked for value in values]
        return f"EXISTS (SELECT FROM jsonb_array_elements({column}) AS span WHERE {holds})", (*params, *said)


def traces(rows: QuerySet[Trace], filter_text: str, order_by: Sequence[str]) -> Part:
    """The traces of `rows` that match, the newest first unless ordered otherwise. Raises Invalid."""
    rows = rows.annotate(ended=F("began") + Coalesce(F("lasted"), 0, output_field=BigIntegerField()))
    rows = rows.alias(prompts=TextIn("tags", PROMPTS), source_run=TextIn("metadata", SOURCE_RUN))
    of_spans = []
    for number, each in enumerate(parse_filter(filter_text, TRACE_KINDS)):
        if each.kind == "span" or (each.kind == "attribute" and each.key.lower() == "text"):
            of_spans.append(_span(each))
        elif each.kind in _OBJECTS and not _is_run(each):
            rows = rows.alias(**{f"said{number}": TextIn(_OBJECTS[each.kind], each.key)})
            rows = rows.filter(conditions.optional_text(f"said{number}", each))
        else:
            rows = rows.filter(_attribute(each))
    if of_spans:
        kept = TraceSpans.objects.filter(trace=OuterRef("pk"))
        rows = rows.filter(Exists(kept.filter(_AnySpan("spans", of_spans))))
    keys = []
    for number, order in enumerate(parse_orderings(order_by, TRACE_KINDS)):
        column, key = _order(order, f"order{number}")
        rows = rows.annotate(**{key.name: column})
        keys.append(key)
    return Part(rows, [*keys, Key("began", int, descending=True), Key("uid")])


def _is_run(comparison: Comparison) -> bool:
    named = (comparison.kind, comparison.key.lower())
    return comparison.op == "=" and named in (("attribute", "run_id"), ("metadata", SOURCE_RUN.lower()))


def _attribute(comparison: Comparison) -> Q:
    key = comparison.key.lower()
    if _is_run(comparison) and isinstance(comparison.value, str):
        # A client may name a run that is nowhere.
        linked = TraceRun.objects.filter(run__uid=comparison.value).values("trace")
        return Q(pk__in=linked) | Q(source_run=comparison.value)
    if key == "run_id":
        links = TraceRun.objects.filter(conditions.text("run__uid", comparison), trace=OuterRef("pk"))
        return Q(Exists(links))
    if key == "prompt" and comparison.op == "=" and isinstance(comparison.value, str):
        return _prompt(comparison.value)
    if key in _TEXTS:
        return conditions.text(_TEXTS[key], comparison)
    if key in _NUMBERS and isinstance(comparison.value, float):
        return conditions.number(_NUMBERS[key], comparison.value, comparison)
    raise conditions.refused(
        comparison, ", ".join([*_TEXTS, *_NUMBERS, "run_id", "text", "tags.…", "metadata.…", "span.…"])
    )


def _prompt(said: str) -> Q:
    name, slash, version = said.partition("/")
    if not slash or "/" in version:
        raise Invalid(f"Invalid prompts filter value '{said[:100]}'. Expected format: prompt = \"name/version\".")
    return Q(prompts__contains=json.dumps({"name": name, "version": version}))


def _span(comparison: Comparison) -> tuple[str, list[Any]]:
    """A condition on one span, and its values. Raises Invalid."""
    key = comparison.key if comparison.kind == "span" else "content"
    several = comparison.op in ("IN", "NOT IN")
    fits = isinstance(comparison.value, tuple if several else str) and comparison.op in _OPS
    if not fits or (key == "content" and comparison.op not in ("LIKE", "ILIKE")):
        raise conditions.refused(comparison, "LIKE or ILIKE" if key == "content" else "")
    value = list(comparison.value) if isinstance(comparison.value, tuple) else comparison.value
    name = key.removeprefix(_OF_ATTRIBUTES).strip("`")
    if key in _SPAN:
        return f"{_SPAN[key]} {_OPS[comparison.op]}", [value]
    if key == name or not name:
        raise Invalid(
            f"Invalid span attribute '{key[:100]}'. Supported attributes: name, status, type, attributes.<name>."
        )
    return f"{_ATTRIBUTE} {_OPS[comparison.op]}", [name, value]


def _order(order: Ordering, alias: str) -> tuple[Expression | F, Key]:
    key = order.key.lower()
    if order.kind in _OBJECTS:
        return Collate(TextIn(_OBJECTS[order.kind], order.key), _PLAIN), Key(
            alias, str, order.descending, optional=True
        )
    if order.kind == "attribute" and key in _NUMBERS:
        column = _NUMBERS[key]
        return F(column), Key(alias, int, order.descending, optional=column in _OPTIONAL)
    if order.kind == "attribute" and key in _TEXTS:
        column = _TEXTS[key]
        return Collate(column, _PLAIN), Key(alias, str, order.descending, optional=column in _OPTIONAL)
    if order.kind == "attribute" and key == "experiment_id":
        return F("experiment_id"), Key(alias, int, order.descending)
    if order.kind == "attribute" and key == "run_id":
        return Collate(TextIn("metadata", SOURCE_RUN), _PLAIN), Key(alias, str, order.descending, optional=True)
    known = ", ".join([*_TEXTS, *_NUMBERS])
    raise Invalid(f"Invalid order by key '{order.key[:100]}' specified: it is none of {known}.")

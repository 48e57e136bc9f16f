"""Searches of tables with tags in a JSON column: experiments, registered models, versions and logged models."""

import functools
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from django.db.models import F, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Collate, NullIf

from apps.core.database.keyset import Key, Part
from apps.core.errors import Invalid
from apps.core.text.numbers import BIGINT_DIGITS, whole
from apps.experiments.models import Experiment, LoggedModel, ModelMetric, ModelVersion, RegisteredModel
from apps.experiments.search import conditions
from apps.experiments.search.conditions import TextIn
from apps.experiments.search.grammar import Comparison, Ordering, parse_filter, parse_orderings

# MLflow keeps prompts as registered models with this tag, which models don't have. Searches are for models.
IS_PROMPT = "mlflow.prompt.is_prompt"
_PLAIN = "C"
_KINDS: Mapping[str, type] = {"pk": int, "version": int, "created_at": datetime, "updated_at": datetime}


@dataclass(frozen=True)
class Table:
    """The searchable columns of one table, by MLflow's names: columns of text, numbers and times, JSON objects."""

    texts: Mapping[str, str]
    orders: Mapping[str, str]
    """Columns to sort by."""
    ids: Mapping[str, str] = field(default_factory=dict)
    """Numbers that MLflow writes as strings: the same or another, but neither greater nor less."""
    numbers: Mapping[str, str] = field(default_factory=dict)
    times: Mapping[str, str] = field(default_factory=dict)
    objects: Mapping[str, str] = field(default_factory=lambda: {"tag": "tags"})


_EXPERIMENTS = Table(
    texts={"name": "name"},
    ids={"experiment_id": "pk"},
    times={"creation_time": "created_at", "last_update_time": "updated_at"},
    orders={"name": "name", "experiment_id": "pk", "creation_time": "created_at", "last_update_time": "updated_at"},
)
_MODELS = Table(
    texts={"name": "name"},
    # The older name says when it was changed, too.
    orders={"name": "name", "timestamp": "updated_at", "last_updated_timestamp": "updated_at"},
)
_VERSIONS = Table(
    texts={"name": "model__name", "run_id": "of_run", "source_path": "source"},
    numbers={"version_number": "version"},
    orders={
        "name": "model__name",
        "version_number": "version",
        "creation_timestamp": "created_at",
        "last_updated_timestamp": "updated_at",
    },
)
_LOGGED_TIMES = {
    "creation_timestamp": "created_at",
    "creation_time": "created_at",
    "last_updated_timestamp": "updated_at",
    "last_updated_time": "updated_at",
}
_LOGGED_TEXTS = {
    "name": "name",
    "model_id": "uid",
    "source_run_id": "run__uid",
    "model_type": "model_type",
    "status": "status",
}
_LOGGED = Table(
    texts=_LOGGED_TEXTS,
    times=_LOGGED_TIMES,
    objects={"tag": "tags", "param": "params"},
    orders=_LOGGED_TEXTS | _LOGGED_TIMES,
)


def experiments(rows: QuerySet[Experiment], filter_text: str, order_by: Sequence[str]) -> Part:
    """Experiments by name, id, times and tags; the newest first unless ordered otherwise. Raises Invalid."""
    orders = parse_orderings(order_by)
    usual = [] if orders else [Key("created_at", datetime, descending=True), Key("pk", int)]
    return _part(_matching(rows, parse_filter(filter_text), _EXPERIMENTS), _EXPERIMENTS, orders, usual)


def models(rows: QuerySet[RegisteredModel], filter_text: str, order_by: Sequence[str]) -> Part:
    """Registered models by name and tags, in the order of their names unless ordered otherwise. Raises Invalid."""
    comparisons = parse_filter(filter_text)
    if not _asks_for_prompts(comparisons):
        rows, comparisons = rows.exclude(tags__contains={IS_PROMPT: "true"}), _without_prompts(comparisons)
    rows = rows.annotate(plain_name=Collate("name", _PLAIN))
    return _part(_matching(rows, comparisons, _MODELS), _MODELS, parse_orderings(order_by), [Key("plain_name")])


def versions(rows: QuerySet[ModelVersion], filter_text: str, order_by: Sequence[str]) -> Part:
    """Model versions by the model's name, the run, the source and tags; the last changed comes first unless ordered
    otherwise. Raises Invalid."""
    comparisons, orders = parse_filter(filter_text), parse_orderings(order_by)
    if not _asks_for_prompts(comparisons):
        prompts = ModelVersion.objects.filter(tags__contains={IS_PROMPT: "true"}).values("model")
        rows, comparisons = rows.exclude(model__in=prompts), _without_prompts(comparisons)
    usual = [] if orders else [Key("updated_at", datetime, descending=True)]
    ends = [*usual, Key("plain_name"), Key("version", int, descending=True)]
    rows = rows.annotate(plain_name=Collate("model__name", _PLAIN), of_run=NullIf("source_run", Value("")))
    return _part(_matching(rows, comparisons, _VERSIONS), _VERSIONS, orders, ends)


def logged_models(
    rows: QuerySet[LoggedModel], filter_text: str, orders: Sequence[Ordering], datasets: Sequence[tuple[str, str]] = ()
) -> Part:
    """Logged models by name, id, source run, type, status, times, tags, params and metrics, which are those on the
    `datasets` (name, and digest or "") where there are any; then the newest first. Raises Invalid.
    """
    ends = [Key("created_at", datetime, descending=True), Key("uid")]
    values = ModelMetric.objects.all()
    if datasets:
        values = values.filter(functools.reduce(operator.or_, (_on(*dataset) for dataset in datasets)))
    others = []
    measured = False
    for each in parse_filter(filter_text):
        if each.kind == "metric" and isinstance(each.value, float):
            measured = True
            holding = values.filter(conditions.reading("value", each.value, each), key=each.key)
            rows = rows.filter(pk__in=holding.values("model"))
        else:
            others.append(each)
    if datasets and not measured:
        rows = rows.filter(pk__in=values.values("model"))
    return _part(_matching(rows, others, _LOGGED), _LOGGED, orders, ends)


def _on(name: str, digest: str) -> Q:
    """Metrics on a dataset; "" for any."""
    return Q(**({"dataset_name": name} if name else {}), **({"dataset_digest": digest} if digest else {}))


def _latest(order: Ordering) -> Combinable:
    """The latest value of a logged model's metric, so that the least comes first in the order: NaN after all numbers,
    in either direction."""
    values = ModelMetric.objects.filter(_on(*order.dataset), model=OuterRef("pk"), key=order.key)
    latest = Subquery(values.order_by("-timestamp", "-step", "-value").values("value")[:1])
    return -latest if order.descending else latest


def _asks_for_prompts(comparisons: Iterable[Comparison]) -> bool:
    first = next((each for each in comparisons if (each.kind, each.key) == ("tag", IS_PROMPT)), None)
    return first is not None and (first.op, str(first.value).lower()) in (("=", "true"), ("!=", "false"))


def _without_prompts(comparisons: Iterable[Comparison]) -> list[Comparison]:
    return [each for each in comparisons if (each.kind, each.key) != ("tag", IS_PROMPT)]


def _matching(rows: QuerySet[Any], comparisons: Iterable[Comparison], table: Table) -> QuerySet[Any]:
    for number, each in enumerate(comparisons):
        if each.kind in table.objects:
            alias = f"text{number}"
            rows = rows.alias(**{alias: TextIn(table.objects[each.kind], each.key)})
            rows = rows.filter(conditions.optional_text(alias, each))
        elif each.kind == "attribute":
            rows = rows.filter(_attribute(each, table))
        else:
            raise conditions.refused(each)
    return rows


def _attribute(comparison: Comparison, table: Table) -> Q:
    key = comparison.key.lower()
    if key in table.texts:
        return conditions.text(table.texts[key], comparison)
    if key in table.times:
        return conditions.time(table.times[key], comparison)
    if key in table.numbers:
        return conditions.number(table.numbers[key], _whole(comparison), comparison)
    if key in table.ids and comparison.op in ("=", "!=", "IN", "NOT IN"):
        values = comparison.value if isinstance(comparison.value, tuple) else (comparison.value,)
        among = Q(**{f"{table.ids[key]}__in": [_whole(replace(comparison, value=value)) for value in values]})
        return among if comparison.op in ("=", "IN") else ~among
    raise conditions.refused(comparison, ", ".join([*table.texts, *table.times, *table.numbers, *table.ids]))


def _whole(comparison: Comparison) -> int:
    """A whole number, which may be written in quotes. Raises Invalid."""
    value = comparison.value
    if isinstance(value, str) and (number := whole(value, BIGINT_DIGITS)) is not None:
        return number
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    raise Invalid(f"Invalid filter: {comparison.key[:100]} is compared with a whole number.")


def _part(rows: QuerySet[Any], table: Table, orders: Sequence[Ordering], ends: Sequence[Key]) -> Part:
    """The rows in the order asked for, then in that of `ends`, then by their keys."""
    keys: list[Key] = []
    for number, order in enumerate(orders):
        alias = f"order{number}"
        if order.kind == "metric" and table is _LOGGED:
            rows = rows.annotate(**{alias: _latest(order)})
            keys.append(Key(alias, float, optional=True))
            continue
        column = table.orders.get(order.key.lower())
        if order.kind != "attribute" or column is None:
            known = ", ".join(table.orders)
            raise Invalid(f"Invalid order by key '{order.key[:100]}' specified: it is none of {known}.")
        if column in _KINDS:
            rows = rows.annotate(**{alias: F(column)})
            keys.append(Key(alias, _KINDS[column], order.descending))
        else:
            rows = rows.annotate(**{alias: Collate(column, _PLAIN)})
            keys.append(Key(alias, str, order.descending, optional=column == "run__uid"))
    return Part(rows, [*keys, *ends, Key("pk", int, descending=True)])

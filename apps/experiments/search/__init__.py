"""Searches: MLflow's filters and orders as queries that use the indexes."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from django.db.models import CharField, F, FilteredRelation, Lookup, Q, QuerySet
from django.db.models.functions import Left

from apps.core.errors import Invalid
from apps.experiments.models import (
    INDEXED_CHARS,
    Experiment,
    LatestMetric,
    LoggedModel,
    Param,
    RegisteredModel,
    Run,
    Tag,
)
from apps.experiments.search.filters import Comparison, Ordering, matcher, parse_filter, parse_ordering
from apps.experiments.states import MLFLOW_STATUS
from apps.experiments.tracking.clock import moment

if TYPE_CHECKING:
    _Lookup = Lookup[bool]
else:
    _Lookup = Lookup  # not generic at run time

_LOOKUPS = {"=": "exact", "<": "lt", "<=": "lte", ">": "gt", ">=": "gte", "LIKE": "like", "ILIKE": "ilike", "IN": "in"}
_NAN = float("nan")
# The run's column for an attribute of MLflow; times are compared in milliseconds.
_TEXT_ATTRIBUTES = {
    "run_id": "uid",
    "run_name": "name",
    "run name": "name",
    "name": "name",
    "user_id": "created_by",
    "user": "created_by",
}
_TIME_ATTRIBUTES = {
    "start_time": "started_at",
    "created": "started_at",
    "created_at": "started_at",
    "end_time": "ended_at",
}
_MAX_ORDERS = 10


class _Like(_Lookup):
    """SQL's LIKE, whose pattern MLflow's users write themselves (Django's `contains` would escape it)."""

    lookup_name = "like"
    operator = "LIKE"

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        """`lhs LIKE rhs`."""
        left, left_params = self.process_lhs(compiler, connection)
        right, right_params = self.process_rhs(compiler, connection)
        return f"{left} {self.operator} {right}", (*left_params, *right_params)


class _ILike(_Like):
    lookup_name = "ilike"
    operator = "ILIKE"


CharField.register_lookup(_Like)
CharField.register_lookup(_ILike)


def _compare(column: str, found: Comparison) -> Q:
    """`column op value` as a condition, for a column that is never null."""
    if found.op in ("!=", "NOT IN"):
        return ~Q(**{f"{column}__{'exact' if found.op == '!=' else 'in'}": found.value})
    if found.op in ("IS NULL", "IS NOT NULL"):
        return Q(**{f"{column}__isnull": found.op == "IS NULL"})
    return Q(**{f"{column}__{_LOOKUPS[found.op]}": found.value})


class RunSearch:
    """The runs of some experiments that match a filter, in an order."""

    def __init__(
        self, experiment_pks: Sequence[int], *, filter_text: str, order_by: Sequence[str], active: bool | None
    ) -> None:
        self._experiments = list(experiment_pks)
        rows = Run.objects.filter(experiment_id__in=self._experiments)
        if active is not None:
            rows = rows.filter(deleted_at__isnull=active)
        for found in parse_filter(filter_text):
            rows = rows.filter(self._condition(found))
        self.rows = rows
        if len(order_by) > _MAX_ORDERS:
            raise Invalid(f"At most {_MAX_ORDERS} order_by clauses are supported.")
        self._orders = [parse_ordering(text) for text in order_by]

    def page(self, offset: int, count: int) -> list[int]:
        """The ids of at most `count` runs from `offset` on."""
        found: list[int] = []
        for phase in self._phases():
            rows = list(phase[offset : offset + count - len(found)])
            found.extend(rows)
            if len(found) >= count:
                break
            offset = 0 if rows or not offset else max(0, offset - phase.count())
        return found

    def _phases(self) -> list[QuerySet[Run, int]]:
        """One query, or, ordered by a metric first, those with a number, with NaN, and without the metric.

        Each of the first two is a range scan of (experiment, key, value); one query for all three would have to sort
        every run of the experiment.
        """
        if not self._orders or self._orders[0].kind != "metric":
            return [self._ordered(self.rows, self._orders)]
        first, rest = self._orders[0], self._orders[1:]
        with_metric = self.rows.filter(
            latest_metrics__experiment_id__in=self._experiments, latest_metrics__key=first.key
        )
        column = F("latest_metrics__value")
        numbers = with_metric.filter(latest_metrics__value__lt=_NAN)
        lead = column.desc() if first.descending else column.asc()
        having = LatestMetric.objects.filter(experiment_id__in=self._experiments, key=first.key).values("run_id")
        return [
            self._ordered(numbers, rest, lead),
            self._ordered(with_metric.filter(latest_metrics__value=_NAN), rest),
            self._ordered(self.rows.exclude(pk__in=having), rest),
        ]

    def _ordered(self, rows: QuerySet[Run], orders: Sequence[Ordering], *lead: Any) -> QuerySet[Run, int]:
        keys = list(lead)
        for position, order in enumerate(orders):
            rows, column = self._column(rows, order, f"order{position}")
            keys.append(column.desc(nulls_last=True) if order.descending else column.asc(nulls_last=True))
        if not orders:
            keys.append(F("started_at").desc(nulls_last=True))
        return rows.order_by(*keys, "-pk").values_list("pk", flat=True)

    def _column(self, rows: QuerySet[Run], order: Ordering, alias: str) -> tuple[QuerySet[Run], F]:
        if order.kind == "attribute":
            key = order.key.lower()
            name = _TIME_ATTRIBUTES.get(key) or _TEXT_ATTRIBUTES.get(key) or {"status": "state"}.get(key)
            if name is None:
                raise Invalid(f"Invalid order_by: a run has no attribute '{order.key[:100]}'.")
            return rows, F(name)
        relation = {"metric": "latest_metrics", "param": "params", "tag": "tags"}[order.kind]
        joined = FilteredRelation(relation, condition=Q(**{f"{relation}__key": order.key}))
        return rows.annotate(**{alias: joined}), F(f"{alias}__value")

    def _condition(self, found: Comparison) -> Q:
        if found.kind == "attribute":
            return _attribute(found)
        table: Any = {"metric": LatestMetric, "param": Param, "tag": Tag}[found.kind]
        values = table.objects.filter(experiment_id__in=self._experiments, key=found.key)
        if found.op in ("IS NULL", "IS NOT NULL"):
            having = Q(pk__in=values.values("run_id"))
            return ~having if found.op == "IS NULL" else having
        if found.kind == "metric":
            if not isinstance(found.value, float) or found.op not in ("=", "!=", "<", "<=", ">", ">="):
                raise Invalid(f"Invalid filter: metrics.{found.key} is compared with a number.")
            # NaN is greater than all for Postgres, and nothing of the kind for people.
            values = values.filter(value__lt=_NAN)
        elif not isinstance(found.value, str | tuple):
            raise Invalid(f"Invalid filter: {found.kind}s.{found.key} is compared with a string in quotes.")
        elif found.op == "=":
            # The index holds the head of the value.
            values = values.annotate(head=Left("value", INDEXED_CHARS)).filter(head=str(found.value)[:INDEXED_CHARS])
        return Q(pk__in=values.filter(_compare("value", found)).values("run_id"))


def _attribute(found: Comparison) -> Q:
    key = found.key.lower()
    if key in _TEXT_ATTRIBUTES and isinstance(found.value, str | tuple):
        return _compare(_TEXT_ATTRIBUTES[key], found)
    if key in _TIME_ATTRIBUTES and isinstance(found.value, float) and found.op in ("=", "!=", "<", "<=", ">", ">="):
        at = moment(int(found.value))
        return _compare(_TIME_ATTRIBUTES[key], Comparison(found.kind, key, found.op, at))  # type: ignore[arg-type]
    if key == "status" and isinstance(found.value, str | tuple):
        return Q(state__in=[state for state, status in MLFLOW_STATUS.items() if _holds(found, status)])
    raise Invalid(
        f"Invalid filter: '{found.key[:100]}' can't be compared so. Try run_id, run_name, status, start_time."
    )


def _holds(found: Comparison, status: str) -> bool:
    if isinstance(found.value, tuple):
        return (status in found.value) == (found.op == "IN")
    value = str(found.value)
    tests: dict[str, Callable[[], bool]] = {
        "=": lambda: status == value.upper(),
        "!=": lambda: status != value.upper(),
        "LIKE": lambda: matcher(value, ignore_case=False)(status),
        "ILIKE": lambda: matcher(value, ignore_case=True)(status),
    }
    if found.op not in tests:
        raise Invalid("Invalid filter: a status is compared by =, !=, LIKE, ILIKE and IN.")
    return tests[found.op]()


def filter_experiments(rows: QuerySet[Experiment], text: str) -> QuerySet[Experiment]:
    """Experiments by name, times and tags."""
    return rows.filter(
        *_named(text, {"name": "name"}, {"creation_time": "created_at", "last_update_time": "updated_at"})
    )


def filter_models(rows: QuerySet[RegisteredModel], text: str) -> QuerySet[RegisteredModel]:
    """Registered models by name and tags."""
    return rows.filter(*_named(text, {"name": "name"}, {}))


def filter_logged_models(rows: QuerySet[LoggedModel], text: str) -> QuerySet[LoggedModel]:
    """Logged models by name, id, source run, type, status, times, tags and params."""
    columns = {
        "name": "name",
        "model_id": "uid",
        "source_run_id": "run__uid",
        "model_type": "model_type",
        "status": "status",
    }
    times = {"creation_timestamp": "created_at", "last_updated_timestamp": "updated_at"}
    return rows.filter(*_named(text, columns, times))


def filter_versions(rows: QuerySet[Any], text: str) -> QuerySet[Any]:
    """Model versions by the model's name, the run, the source and tags."""
    columns = {"name": "model__name", "run_id": "run__uid", "source_path": "source", "version_number": "version"}
    return rows.filter(*_named(text, columns, {}))


def _named(text: str, columns: dict[str, str], times: dict[str, str]) -> Iterable[Q]:
    for found in parse_filter(text):
        key = found.key.lower()
        if found.kind in ("tag", "param") and found.op in ("=", "!="):
            column = f"{found.kind}s"
            having = Q(**{f"{column}__contains": {found.key: found.value}})
            yield having if found.op == "=" else Q(**{f"{column}__has_key": found.key}) & ~having
        elif found.kind == "attribute" and key in columns:
            yield _compare(columns[key], found)
        elif found.kind == "attribute" and key in times and isinstance(found.value, float):
            at = moment(int(found.value))
            yield _compare(times[key], Comparison(found.kind, key, found.op, at))  # type: ignore[arg-type]
        else:
            raise Invalid(f"Invalid filter: '{found.key[:100]}' can't be compared so here.")


def order_experiments(rows: QuerySet[Experiment], clauses: Sequence[str]) -> QuerySet[Experiment]:
    """Experiments in the order asked for, newest first by default."""
    columns = {"name": "name", "experiment_id": "pk", "creation_time": "created_at", "last_update_time": "updated_at"}
    return rows.order_by(*_order(clauses, columns), "-pk")


def _order(clauses: Sequence[str], columns: dict[str, str]) -> Iterable[str]:
    for text in clauses[:_MAX_ORDERS]:
        order = parse_ordering(text)
        column = columns.get(order.key.lower())
        if order.kind != "attribute" or column is None:
            raise Invalid(f"Invalid order_by: '{order.key[:100]}' is none of {', '.join(columns)}.")
        yield f"-{column}" if order.descending else column

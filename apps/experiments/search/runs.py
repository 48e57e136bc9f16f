"""Runs by what they logged, with queries that use the indexes."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from django.db.models import Case, CharField, Exists, F, FilteredRelation, OuterRef, Q, QuerySet, Value, When
from django.db.models.functions import Cast, Coalesce, Collate, Concat

from apps.core.database import keyset
from apps.core.database.keyset import Key, Page, Part
from apps.core.errors import Invalid
from apps.experiments.models import CONTEXT, DatasetInput, LatestMetric, Param, Run, Tag
from apps.experiments.search import conditions, near
from apps.experiments.search.conditions import TextIn
from apps.experiments.search.grammar import Comparison, Ordering, matcher, parse_filter, parse_orderings
from apps.experiments.states import MLFLOW_STATUS

_NAN = float("nan")
SHOWN_START = Coalesce("started_at", "created_at")
"""When a run began, as clients are told: one that waits began when it was made."""
_TEXTS = {
    "run_id": "uid",
    "run_name": "name",
    "run name": "name",
    "name": "name",
    "user_id": "client_user",
    "user": "created_by",
    "created_by": "created_by",
}
_TIMES = {
    "start_time": "shown_start",
    "created": "shown_start",
    "created_at": "shown_start",
    "end_time": "ended_at",
    "started_at": "started_at",
}
_TABLES: dict[str, Any] = {"metric": LatestMetric, "param": Param, "tag": Tag}
_ABSENCE = frozenset({"IS NULL", "IS NOT NULL"})
_OPTIONAL = frozenset({"end_time", "started_at"})
_NEWEST = Key("shown_start", datetime, descending=True)
# Letters are sorted by their code points, whatever the database's own collation is.
_PLAIN = "C"


class RunSearch:
    """The runs of some experiments that match a filter, in an order: MLflow's `filter` and `order_by`. `among` are
    those that are looked through: all of the experiments unless it is given.

    Raises Invalid for what makes no sense.
    """

    def __init__(
        self,
        experiment_pks: Sequence[int],
        *,
        filter_text: str,
        order_by: Sequence[str],
        active: bool | None,
        among: QuerySet[Run] | None = None,
    ) -> None:
        self._experiments = list(experiment_pks)
        rows = Run.objects.all() if among is None else among
        rows = rows.filter(experiment_id__in=self._experiments).alias(shown_start=SHOWN_START)
        if active is not None:
            rows = rows.filter(deleted_at__isnull=active)
        comparisons = parse_filter(filter_text)
        for comparison in comparisons:
            rows = rows.filter(self._condition(comparison))
        self.rows: QuerySet[Run] = rows
        among_all = among is None and active is True and len(self._experiments) == 1
        self._values = self._by_values(comparisons) if among_all else None
        self._leads, self._alone = near.leads(self._experiments, comparisons), len(comparisons) == 1
        self._orders = parse_orderings(order_by)

    def page(self, size: int, token: str = "") -> Page:
        """The primary keys of at most `size` runs, and the tokens that lead on and back. Raises Invalid."""
        rows_page = keyset.page(self._parts(), size, token)
        return Page([row["pk"] for row in rows_page.rows], rows_page.previous, rows_page.next)

    def in_state(self, state: str) -> None:
        """Keep only the runs that are in this state."""
        self.rows = self.rows.filter(state=state)
        self._values = None

    def count(self) -> int:
        """How many runs match."""
        return (self.rows if self._values is None else self._values).count()

    def _by_values(self, comparisons: Sequence[Comparison]) -> "QuerySet[Any] | None":
        """The same as values instead of runs, one for each: they are counted out of the index of values, without the
        runs. Postgres would read all runs of the experiment to leave out the deleted ones, which are few.

        None where there is another condition than for values.
        """
        if not comparisons or any(each.kind not in _TABLES or each.op in _ABSENCE for each in comparisons):
            return None
        first, *others = (self._having(each) for each in comparisons)
        for each in others:
            first = first.filter(run_id__in=each.values("run_id"))
        return first.filter(~Exists(Run.objects.filter(pk=OuterRef("run_id"), deleted_at__isnull=False)))

    def _parts(self) -> list[Part]:
        """One query, or, ordered by a metric first, those with a number, with NaN, and without the metric; by the real
        start first, those that have begun, and the others.

        Each of the first two is a range scan of (experiment, key, value); one query for all three would have to sort
        every run of the experiment. The latest value is one a run and key, so that nothing is found twice.
        """
        if not self._orders:
            return [self._ahead(self._part(self.rows, []))]
        first, rest = self._orders[0], self._orders[1:]
        if first.kind == "attribute" and first.key.lower() == "started_at":
            # Those that never began come last in either direction. Of all others it is what they are shown with.
            began = self.rows.filter(started_at__isnull=False)
            shown = replace(first, key="start_time")
            return [self._part(began, [shown, *rest]), self._part(self.rows.filter(started_at__isnull=True), rest)]
        if first.kind != "metric":
            return [self._ahead(self._part(self.rows, self._orders))]
        latest = Q(latest_metrics__experiment_id__in=self._experiments, latest_metrics__key=first.key)
        with_value = self.rows.annotate(
            lead=FilteredRelation("latest_metrics", condition=latest), lead_value=F("lead__value")
        )
        lead = Key("lead_value", float, descending=first.descending)
        having = LatestMetric.objects.filter(experiment_id__in=self._experiments, key=first.key).values("run_id")
        return [
            self._part(with_value.filter(lead_value__lt=_NAN), rest, lead),
            self._part(with_value.filter(lead_value=_NAN), rest),
            self._part(self.rows.exclude(pk__in=having), rest),
        ]

    def _part(self, rows: QuerySet[Run], orders: Sequence[Ordering], *lead: Key) -> Part:
        keys = list(lead)
        for number, order in enumerate(orders):
            if order.kind == "attribute":
                rows, key = _attribute_key(rows, order, f"order{number}")
            else:
                rows, key = _logged_key(rows, order, f"order{number}")
            keys.append(key)
        if all(key.name != _NEWEST.name for key in keys):
            keys.append(_NEWEST)
        keys.append(Key("uid"))
        values = {key.name for key in keys} - {"uid", "shown_start"}
        rows = rows.annotate(shown_start=SHOWN_START).values("pk", "uid", "shown_start", *sorted(values))
        return Part(rows, keys)

    def _ahead(self, part: Part) -> Part:
        """The same, looking ahead where the order is that of time."""
        if not self._leads or part.keys[0].name != _NEWEST.name:
            return part
        return replace(part, scout=near.scout(self._experiments, self._leads, alone=self._alone))

    def _condition(self, comparison: Comparison) -> Q:
        if comparison.kind == "attribute":
            return _attribute(comparison)
        if comparison.kind == "dataset":
            return self._dataset(comparison)
        if comparison.op in _ABSENCE:
            having = Q(pk__in=self._logged(comparison).values("run_id"))
            return ~having if comparison.op == "IS NULL" else having
        return Q(pk__in=self._having(comparison).values("run_id"))

    def _logged(self, comparison: Comparison) -> "QuerySet[Any]":
        values: QuerySet[Any] = _TABLES[comparison.kind].objects.filter(
            experiment_id__in=self._experiments, key=comparison.key
        )
        return values

    def _having(self, comparison: Comparison) -> "QuerySet[Any]":
        """The values that fulfil a condition, one a run. Raises Invalid."""
        values = self._logged(comparison)
        if comparison.kind != "metric":
            if isinstance(comparison.value, str | tuple):
                return near.having(values, comparison)
            raise Invalid(f"Invalid filter: {comparison.kind}s.{comparison.key} is compared with a string in quotes.")
        if not isinstance(comparison.value, float):
            raise Invalid(f"Invalid filter: metrics.{comparison.key} is compared with a number.")
        return values.filter(conditions.reading("value", comparison.value, comparison))

    def _dataset(self, comparison: Comparison) -> Q:
        """Runs that were given such a dataset. Raises Invalid."""
        uses = DatasetInput.objects.filter(dataset__experiment_id__in=self._experiments)
        column = {"name": "dataset__name", "digest": "dataset__digest", "context": "said"}.get(comparison.key.lower())
        if column is None:
            raise Invalid(f"Invalid filter: a dataset has no '{comparison.key[:100]}', but name, digest and context.")
        uses = uses.alias(said=TextIn("tags", CONTEXT)).filter(conditions.text(column, comparison))
        return Q(pk__in=uses.values("run_id"))


def _attribute_key(rows: QuerySet[Run], order: Ordering, alias: str) -> tuple[QuerySet[Run], Key]:
    key = order.key.lower()
    if key in _TIMES:
        return rows, Key(_TIMES[key], datetime, order.descending, optional=key in _OPTIONAL)
    column: Any = _status() if key == "status" else _artifact_uri() if key == "artifact_uri" else _TEXTS.get(key)
    if column is None:
        raise Invalid(f"Invalid order_by: a run has no attribute '{order.key[:100]}'.")
    return rows.annotate(**{alias: Collate(column, _PLAIN)}), Key(alias, str, order.descending)


def _logged_key(rows: QuerySet[Run], order: Ordering, alias: str) -> tuple[QuerySet[Run], Key]:
    """The value of a metric, a param or a tag; for a run without it the join gives nothing."""
    if order.kind not in ("metric", "param", "tag"):
        raise Invalid(f"Invalid order_by: runs can't be ordered by '{order.key[:100]}'.")
    relation = {"metric": "latest_metrics", "param": "params", "tag": "tags"}[order.kind]
    joined = FilteredRelation(relation, condition=Q(**{f"{relation}__key": order.key}))
    rows = rows.annotate(**{f"{alias}_row": joined})
    value: Any = F(f"{alias}_row__value")
    if order.kind != "metric":
        return rows.annotate(**{alias: Collate(value, _PLAIN)}), Key(alias, str, order.descending, optional=True)
    # The greatest first is the least of the opposites first: then NaN comes after all numbers in either direction.
    value = -value if order.descending else value
    return rows.annotate(**{alias: value}), Key(alias, float, optional=True)


def _status() -> Case:
    shown = [When(state=state, then=Value(status)) for state, status in MLFLOW_STATUS.items()]
    return Case(*shown, output_field=CharField())


def _artifact_uri() -> Concat:
    experiment = Cast("experiment_id", CharField())
    return Concat(Value("mlflow-artifacts:/"), experiment, Value("/"), "uid", Value("/artifacts"))


def _attribute(comparison: Comparison) -> Q:
    key = comparison.key.lower()
    if key in _TEXTS:
        return conditions.text(_TEXTS[key], comparison)
    if key in _TIMES:
        return conditions.time(_TIMES[key], comparison)
    if key == "artifact_uri":
        rows = Run.objects.alias(uri=_artifact_uri())
        return Q(pk__in=rows.filter(conditions.text("uri", comparison)).values("pk"))
    if key == "status" and isinstance(comparison.value, str | tuple):
        return Q(state__in=[state for state, status in MLFLOW_STATUS.items() if _holds(comparison, status)])
    raise conditions.refused(comparison, "run_id, run_name, status, start_time")


def _holds(comparison: Comparison, status: str) -> bool:
    if isinstance(comparison.value, tuple):
        return (status in comparison.value) == (comparison.op == "IN")
    value = str(comparison.value)
    tests: dict[str, Callable[[], bool]] = {
        "=": lambda: status == value,
        "!=": lambda: status != value,
        "LIKE": lambda: matcher(value, ignore_case=False)(status),
        "ILIKE": lambda: matcher(value, ignore_case=True)(status),
    }
    if comparison.op not in tests:
        raise Invalid("Invalid filter: a status is compared by =, !=, LIKE, ILIKE and IN.")
    return tests[comparison.op]()

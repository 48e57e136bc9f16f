"""The meaning of a comparison of the filter language for a column: texts, numbers, times and values in JSON objects.

As in MLflow's own store, a row that has no value matches no comparison with one, `!=` included.
"""

import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db.models import CharField, Func, Lookup, Q, TextField, Value
from django.db.models.functions import Cast

from apps.core.errors import Invalid
from apps.experiments.search.grammar import Comparison
from apps.experiments.tracking.clock import EPOCH

if TYPE_CHECKING:
    _Lookup = Lookup[bool]
else:
    _Lookup = Lookup  # not generic at run time

NUMERIC = {"=": "exact", "<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}
_TEXT = {"=": "exact", "LIKE": "like", "ILIKE": "ilike", "IN": "in"}
_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


class _Like(_Lookup):
    """SQL's LIKE, whose pattern MLflow's users write themselves (Django's `contains` would escape it).

    A backslash is a letter like any other, as in MLflow's own default store.
    """

    lookup_name = "like"
    operator = "LIKE"

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        """`lhs LIKE rhs`."""
        left, left_params = self.process_lhs(compiler, connection)
        right, right_params = self.process_rhs(compiler, connection)
        return f"{left} {self.operator} {right} ESCAPE ''", (*left_params, *right_params)


class _ILike(_Like):
    lookup_name = "ilike"
    operator = "ILIKE"


for _field in (CharField, TextField):
    _field.register_lookup(_Like)
    _field.register_lookup(_ILike)


class TextIn(Func):
    """The text under a key of a JSON object; NULL where there is none. (Django takes a key of digits for an index.)"""

    template = "(%(expressions)s)"
    arg_joiner = " ->> "
    arity = 2
    output_field = TextField()

    def __init__(self, column: str, key: str) -> None:
        super().__init__(column, Cast(Value(key), TextField()))


def refused(comparison: Comparison, try_these: str = "") -> Invalid:
    """A comparison that can't be made here."""
    hint = f" Try {try_these}." if try_these else ""
    return Invalid(
        f"Invalid comparison operator or value: '{comparison.key[:100]}' can't be compared by {comparison.op} so.{hint}"
    )


def text(column: str, comparison: Comparison) -> Q:
    """A column of text. Raises Invalid."""
    negated = comparison.op in ("!=", "NOT IN")
    op = {"!=": "=", "NOT IN": "IN"}.get(comparison.op, comparison.op)
    if op not in _TEXT or not isinstance(comparison.value, tuple if op == "IN" else str):
        raise refused(comparison)
    holds = Q(**{f"{column}__{_TEXT[op]}": comparison.value})
    return Q(**{f"{column}__isnull": False}) & ~holds if negated else holds


def optional_text(column: str, comparison: Comparison) -> Q:
    """A column of text which rows may lack, as tags and params: IS NULL and IS NOT NULL ask for that."""
    if comparison.op in ("IS NULL", "IS NOT NULL"):
        return Q(**{f"{column}__isnull": comparison.op == "IS NULL"})
    return text(column, comparison)


def number(column: str, value: Any, comparison: Comparison) -> Q:
    """A column of numbers, compared with `value`. Raises Invalid for another comparator than those of numbers."""
    if comparison.op == "!=":
        return Q(**{f"{column}__isnull": False}) & ~Q(**{column: value})
    if comparison.op not in NUMERIC:
        raise refused(comparison)
    return Q(**{f"{column}__{NUMERIC[comparison.op]}": value})


def reading(column: str, value: float, comparison: Comparison) -> Q:
    """As `number`, of a column with NaN in it: the greatest of all for Postgres, but for people only different."""
    holds = number(column, value, comparison)
    return holds if comparison.op == "!=" else holds & Q(**{f"{column}__lt": math.nan})


def time(column: str, comparison: Comparison) -> Q:
    """A column of times, compared with milliseconds since the epoch as clients are shown them. Raises Invalid."""
    if not isinstance(comparison.value, float) or (comparison.op != "!=" and comparison.op not in NUMERIC):
        raise refused(comparison)
    # A time is shown as the millisecond that it lies in.
    begins, ends = _moment(comparison.value), _moment(comparison.value, after=True)
    within = Q(**{f"{column}__gte": begins, f"{column}__lt": ends})
    if not comparison.value.is_integer():
        within = Q(pk__in=())
    return {
        "=": within,
        "!=": Q(**{f"{column}__isnull": False}) & ~within,
        "<": Q(**{f"{column}__lt": begins}),
        "<=": Q(**{f"{column}__lt": ends}),
        ">": Q(**{f"{column}__gte": ends}),
        ">=": Q(**{f"{column}__gte": begins}),
    }[comparison.op]


def _moment(milliseconds: float, *, after: bool = False) -> datetime:
    """The begin of the first millisecond that is not less, or of the first that is greater; the calendar has ends."""
    if not math.isfinite(milliseconds):
        return _LAST if milliseconds > 0 else _FIRST
    whole = math.floor(milliseconds) + 1 if after else math.ceil(milliseconds)
    try:
        return EPOCH + timedelta(milliseconds=whole)
    except OverflowError:
        return _LAST if whole > 0 else _FIRST

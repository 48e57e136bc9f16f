"""Where to look first for the runs that match a filter, in the order of time.

Params, tags and latest values have their run's start beside them (`began`). So an index tells which runs match one of
the conditions, in the order of time where the condition is for one text; the other conditions are then asked of a few
hundred runs, found by their keys. Postgres left alone would choose by the average value of all keys, and read the whole
experiment when it is wrong.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import QuerySet
from django.db.models.functions import Coalesce, Left

from apps.core.database.keyset import Found, Scout
from apps.experiments.models import INDEXED_CHARS, LatestMetric, Param, Run, Tag
from apps.experiments.search import conditions
from apps.experiments.search.conditions import NUMERIC
from apps.experiments.search.grammar import Comparison

_TEXTS: dict[str, type[Param] | type[Tag]] = {"param": Param, "tag": Tag}
# So many matches are few: they are counted, and sorted, in a millisecond or two. Those of a text are read from the
# table, those of a number out of the index.
FEW_TEXTS, FEW_NUMBERS = 1000, 20_000
# How many times as many runs as are wanted are looked at, and the most. Of those that fulfil the only condition few are
# left out: the deleted ones.
WIDTHS, WIDTHS_ALONE, WIDEST = (4.0, 32.0), (1.25, 8.0), 5000
# Of so many conditions the best is looked for.
MOST_LEADS = 4


@dataclass(frozen=True)
class Lead:
    """The rows that fulfil one condition, of which an index knows when their runs began."""

    rows: "QuerySet[Any, Any]"
    """With `found` and `began`: the key of the run and when it began."""
    in_time: bool
    """Whether the index has them in the order of time, so that the next ones are read and no others."""

    @property
    def few(self) -> int:
        """Fewer than so many are few."""
        return FEW_TEXTS if self.in_time else FEW_NUMBERS


def having(values: "QuerySet[Any]", comparison: Comparison) -> "QuerySet[Any]":
    """Those of the params or tags whose text fulfils a comparison. Raises Invalid."""
    if comparison.op != "=" or not isinstance(comparison.value, str):
        return values.filter(conditions.text("value", comparison))
    # The index holds the head of the value. Of a short one that says all; twice would be thought to be half as many.
    head = comparison.value[:INDEXED_CHARS]
    values = values.alias(head=Left("value", INDEXED_CHARS)).filter(head=head)
    return values if len(comparison.value) < INDEXED_CHARS else values.filter(value=comparison.value)


def leads(experiment_pks: Sequence[int], comparisons: Sequence[Comparison]) -> list[Lead]:
    """The conditions that lead to runs in the order of time: those for one text first. None for several experiments,
    which an index has one after the other."""
    if len(experiment_pks) != 1:
        return []
    scope = {"experiment_id": experiment_pks[0]}
    found = []
    for each in comparisons:
        if each.kind in _TEXTS and each.op == "=":
            rows = having(_TEXTS[each.kind].objects.filter(**scope, key=each.key), each)
            found.append(Lead(_of_runs(rows), in_time=True))
        elif each.kind == "metric" and each.op in NUMERIC and isinstance(each.value, float):
            values = LatestMetric.objects.filter(**scope, key=each.key)
            rows = values.filter(conditions.reading("value", each.value, each))
            found.append(Lead(_of_runs(rows), in_time=False))
    return sorted(found, key=lambda lead: not lead.in_time)[:MOST_LEADS]


def _of_runs(rows: "QuerySet[Any]") -> "QuerySet[Any, Any]":
    return rows.order_by().values_list("run_id", "began")


def scout(experiment_pks: Sequence[int], of: Sequence[Lead], *, alone: bool) -> Scout:
    """Looks along the best of some leads, or along the runs themselves where all lead to many. `alone`: they are the
    one condition that there is."""
    runs = Run.objects.filter(experiment_id=experiment_pks[0]).annotate(began=Coalesce("started_at", "created_at"))
    newest = Lead(runs.order_by().values_list("pk", "began"), in_time=True)

    def look(at: Any, falls: bool, wanted: int) -> Iterator[Found]:
        widths = [math.ceil(wanted * width) for width in (WIDTHS_ALONE if alone else WIDTHS)]
        along = next((lead for lead in of if lead.in_time), None)
        if along is not None:
            yield from _along(along, at, falls, widths[:1])
            best = _fewest(of) if len(of) > 1 else None
            yield from _along(best or along, at, falls, widths if best else widths[1:])
            return
        best = of[0] if len(of) == 1 else _fewest(of)
        first = _if_few(best, at, falls, widths[0]) if best is not None else None
        if best is None or first is None:
            # Most runs are found by going through them.
            yield from _along(newest, at, falls, [math.ceil(wanted * width) for width in WIDTHS])
            return
        yield first
        if not first.whole:
            yield from _along(best, at, falls, widths[1:])

    return look


def _fewest(of: Sequence[Lead]) -> Lead | None:
    counted = [(lead.rows[: lead.few].count(), number) for number, lead in enumerate(of)]
    few = [(count, number) for count, number in counted if count < of[number].few]
    return of[min(few)[1]] if few else None


def _if_few(lead: Lead, at: Any, falls: bool, width: int) -> Found | None:
    """As `_along`, where the matches are few, which is found out on the way; else None."""
    sql, values = _from(lead, at, falls)[: lead.few].query.sql_with_params()
    direction = "DESC" if falls else "ASC"
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT run_id, began, count(*) OVER () FROM ({sql}) AS found ORDER BY began {direction} LIMIT {width}",  # noqa: S608
            values,
        )
        rows = cursor.fetchall()
    if rows and rows[0][2] == lead.few:
        return None
    return _found([(pk, began) for pk, began, _ in rows], width)


def _along(lead: Lead, at: Any, falls: bool, widths: Sequence[int]) -> Iterator[Found]:
    rows = _from(lead, at, falls).order_by("-began" if falls else "began")
    for width in widths:
        if width <= WIDEST:
            found = _found(list(rows[:width]), width)
            yield found
            if found.whole:
                return


def _from(lead: Lead, at: Any, falls: bool) -> "QuerySet[Any, Any]":
    return lead.rows if at is None else lead.rows.filter(**{f"began__{'lte' if falls else 'gte'}": at})


def _found(rows: Sequence[tuple[int, datetime]], width: int) -> Found:
    whole = len(rows) < width
    return Found([pk for pk, _ in rows], None if whole else rows[-1][1], whole)

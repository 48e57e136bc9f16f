"""Queries of the hot paths, put into SQL once for each process instead of for each request.

Django builds a query anew each time: for one row found by its key this costs several times what Postgres does.
"""

import functools
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from django.db import DEFAULT_DB_ALIAS, connection
from django.db.models import Model, QuerySet
from django.db.models import query as orm

M = TypeVar("M", bound=Model)


class FindOne(Generic[M]):
    """Finds one object by texts, as `make(*texts).first()` would; related objects of `select_related` come along.

    `make` is called once, with stand-ins. The texts must reach Postgres as they are: compare text columns with them.
    """

    def __init__(self, make: Callable[..., QuerySet[M]], count: int = 1) -> None:
        self._make = make
        self._stand_ins = tuple(f"stand-in {number}" for number in range(count))

    def __call__(self, *texts: str) -> M | None:
        """The object, or None. One query."""
        with connection.cursor() as cursor:
            cursor.execute(self._plan.sql, [texts[place] for place in self._plan.places])
            row = cursor.fetchone()
        return None if row is None else self._plan.read(list(row))

    @functools.cached_property
    def _plan(self) -> "_Plan":
        return _Plan(self._make(*self._stand_ins), self._stand_ins)


class _Plan:
    """The SQL of a query, and how a row of its answer becomes an object: what Django's `ModelIterable` does."""

    def __init__(self, queryset: "QuerySet[Any]", stand_ins: tuple[str, ...]) -> None:
        compiler: Any = queryset.order_by()[:1].query.get_compiler(DEFAULT_DB_ALIAS)
        self.sql, params = compiler.as_sql()
        self.places = [stand_ins.index(param) for param in params]
        self._converters = list(compiler.get_converters([found[0] for found in compiler.select]).items())
        known = compiler.klass_info
        first, last = known["select_fields"][0], known["select_fields"][-1] + 1
        self._model, self._columns = known["model"], slice(first, last)
        self._names = [found[0].target.attname for found in compiler.select[first:last]]
        # The type stubs describe a later Django.
        related_populators: Any = orm.get_related_populators
        self._related = related_populators(known, compiler.select, DEFAULT_DB_ALIAS)

    def read(self, row: list[Any]) -> Any:
        """The object of a row."""
        for place, (converters, expression) in self._converters:
            for convert in converters:
                row[place] = convert(row[place], expression, connection)
        found = self._model.from_db(DEFAULT_DB_ALIAS, self._names, row[self._columns])
        for related in self._related:
            related.populate(row, found)
        return found

"""Rows of the hot paths, found by SQL that is made once for each process instead of for each request.

Django builds a query anew each time: for one row found by its key this costs several times what Postgres does.
"""

import functools
from collections.abc import Iterable
from typing import Any, Generic, TypeVar

from django.db import DEFAULT_DB_ALIAS, connection
from django.db.models import Model

M = TypeVar("M", bound=Model)

_STAND_IN = "stand-in"


class FindOne(Generic[M]):
    """Finds the object of `model` whose unique `column` of text has a value, with what its foreign keys lead to.

    `related` are paths of such keys, each after the one that it goes on from: "experiment", "experiment__project".
    They need not be loaded any more, as after `select_related`.
    """

    def __init__(self, model: type[M], column: str, *, related: Iterable[str] = ()) -> None:
        self._model, self._column, self._related = model, column, tuple(related)

    def __call__(self, text: str) -> M | None:
        """The object, or None. One query."""
        with connection.cursor() as cursor:
            cursor.execute(self._sql, [text])
            row = cursor.fetchone()
        return None if row is None else self._read(list(row))

    def _read(self, row: list[Any]) -> M:
        objects: dict[str, Any] = {}
        for part in self._parts:
            found = objects[part.path] = part.read(row)
            holder = objects.get(part.holder) if part.path else None
            if holder is not None:
                setattr(holder, part.name, found)
        made: M = objects[""]
        return made

    @functools.cached_property
    def _parts(self) -> "list[_Part]":
        parts = [_Part("", self._model, 0)]
        for path in self._related:
            holder = next(part for part in parts if part.path == path.rpartition("__")[0])
            name = path.rpartition("__")[2]
            related: Any = holder.model._meta.get_field(name).related_model
            parts.append(_Part(path, related, parts[-1].start + len(parts[-1].names)))
        return parts

    @functools.cached_property
    def _sql(self) -> str:
        names = [f"{part.path}__{name}".removeprefix("__") for part in self._parts for name in part.names]
        rows = self._model._default_manager.filter(**{self._column: _STAND_IN}).order_by().values_list(*names)
        sql, params = rows.query.sql_with_params()
        assert params == (_STAND_IN,)  # noqa: S101 - the text is all that differs from one time to the next
        return str(sql)


class _Part:
    """The columns of one object in a row, from the place `start` on. `path` leads to it; "" is the object itself."""

    def __init__(self, path: str, model: type[Model], start: int) -> None:
        self.path, self.model, self.start = path, model, start
        self.holder, _, self.name = path.rpartition("__")
        fields: Any = model._meta.concrete_fields
        self.names = [field.attname for field in fields]
        self._columns = slice(start, start + len(fields))
        self._key = start + self.names.index(model._meta.pk.attname)
        # Columns that Postgres does not give as they are shown, such as JSON.
        self._read_by = [(start + n, field) for n, field in enumerate(fields) if hasattr(field, "from_db_value")]

    def read(self, row: list[Any]) -> Model | None:
        """The object in the row, None where there is none."""
        if row[self._key] is None:
            return None
        for place, field in self._read_by:
            row[place] = field.from_db_value(row[place], None, connection)
        return self.model.from_db(DEFAULT_DB_ALIAS, self.names, row[self._columns])

"""Hot statements, made once for each process and planned once for each connection instead of each time.

Django builds a query anew each time, and writes its values into the text, so that Postgres has to parse and plan it
anew, too: for one row found by its key both cost several times what it takes to fetch it.
"""

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from django.db import DEFAULT_DB_ALIAS, connection
from django.db.models import Model

M = TypeVar("M", bound=Model)

_STAND_IN = "7"


def cursor() -> Any:
    """A cursor for statements whose text never changes: Postgres prepares them (`controlplane.database`)."""
    return connection.prepared_cursor()  # type: ignore[attr-defined]


def insert(row: Model) -> None:
    """Store a new row and set its key if it has none, as `save(force_insert=True)` does; no signals are sent."""
    sql, fields = _insertion(type(row), with_key=row.pk is not None)
    with cursor() as statement:
        statement.execute(sql, [field.get_db_prep_save(field.pre_save(row, True), connection) for field in fields])
        # A key of several columns is what was given.
        if statement.description is not None:
            (row.pk,) = statement.fetchone()
    row._state.adding, row._state.db = False, DEFAULT_DB_ALIAS


def insert_all(rows: Sequence[Model]) -> None:
    """Store new rows of one model in one statement; a single one, which is what most requests make, by `insert`."""
    if len(rows) == 1:
        insert(rows[0])
    elif rows:
        type(rows[0])._default_manager.bulk_create(rows)


@functools.cache
def _insertion(model: type[Model], *, with_key: bool) -> tuple[str, list[Any]]:
    quote: Any = connection.ops.quote_name
    fields = [field for field in model._meta.concrete_fields if with_key or not field.primary_key]
    columns = ", ".join(quote(field.column) for field in fields)
    values = ", ".join(["%s"] * len(fields))
    table, key = quote(model._meta.db_table), model._meta.pk.column
    back = f" RETURNING {quote(key)}" if key else ""
    return f"INSERT INTO {table} ({columns}) VALUES ({values}){back}", fields  # noqa: S608 - names of models


def as_values(row: Model) -> tuple[str, str, dict[str, Any]]:
    """A new row for a statement that makes it among other things: its columns without the key, the places of their
    values, each with its type, and the values by the places' names."""
    columns, places, fields = _places(type(row))
    return (
        columns,
        places,
        {f"_{field.column}": field.get_db_prep_save(field.pre_save(row, True), connection) for field in fields},
    )


@functools.cache
def _places(model: type[Model]) -> tuple[str, str, list[Any]]:
    quote: Any = connection.ops.quote_name
    fields = [field for field in model._meta.concrete_fields if not field.primary_key]
    # Without the length: a cast to `varchar(10)` cuts what is longer, where it must be refused.
    types = {field: str(field.db_type(connection)).partition("(")[0] for field in fields}
    places = ", ".join(f"%(_{field.column})s::{types[field]}" for field in fields)
    return ", ".join(quote(field.column) for field in fields), places, fields


def change(row: Model, known: Mapping[str, Any], columns: Mapping[str, Any]) -> bool:
    """Write values into columns of the row while it has the `known` values; whether it had. The object stays as it was.

    Values, no expressions; of a foreign key the column (`cluster_id`), not the object.
    """
    # By way of `_meta`: the person of a request is a lazy object, whose class is none of ours.
    sql, fields = _alteration(row._meta.model, tuple(columns), tuple(known))
    written = [*columns.values(), row.pk, *known.values()]
    values = [field.get_db_prep_save(value, connection) for field, value in zip(fields, written, strict=True)]
    with cursor() as statement:
        statement.execute(sql, values)
        return bool(statement.rowcount)


@functools.lru_cache(maxsize=200)
def _alteration(model: type[Model], columns: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, list[Any]]:
    quote: Any = connection.ops.quote_name
    key: Any = model._meta.pk
    changed: list[Any] = [model._meta.get_field(name) for name in columns]
    fixed: list[Any] = [key, *(model._meta.get_field(name) for name in known)]
    sets = ", ".join(f"{quote(field.column)} = %s" for field in changed)
    where = " AND ".join(f"{quote(field.column)} = %s" for field in fixed)
    return f"UPDATE {quote(model._meta.db_table)} SET {sets} WHERE {where}", changed + fixed  # noqa: S608 - names of models


class _Find(Generic[M]):
    """Finds objects of `model` whose columns have these values, with what their foreign keys lead to.

    `columns` are their names; "name__in" is for any of a list of values. Those that are named in `empty` are null.

    `related` are paths of such keys, each after the one that it goes on from: "experiment", "experiment__project".
    They need not be loaded any more, as after `select_related`. Columns that are named in `without`, by such paths,
    too, and those of the object itself that are not in `only`, are loaded when they are looked at, as after `defer`.
    """

    def __init__(
        self,
        model: type[M],
        *columns: str,
        related: Iterable[str] = (),
        without: Iterable[str] = (),
        only: Iterable[str] = (),
        order_by: Iterable[str] = (),
        empty: Iterable[str] = (),
    ) -> None:
        self._model, self._columns, self._related = model, columns, tuple(related)
        self._empty = tuple(empty)
        self._without, self._only, self._order_by = frozenset(without), frozenset(only), tuple(order_by)

    def _rows(self, values: Sequence[Any]) -> list[M]:
        with cursor() as statement:
            statement.execute(self._sql, values)
            return [self._read(list(row)) for row in statement.fetchall()]

    def _read(self, row: list[Any]) -> M:
        objects: dict[str, Any] = {}
        for part in self._parts:
            value = objects[part.path] = part.read(row)
            holder = objects.get(part.holder) if part.path else None
            if holder is not None:
                setattr(holder, part.name, value)
        loaded: M = objects[""]
        return loaded

    @functools.cached_property
    def _parts(self) -> "list[_Part]":
        others = {field.name for field in self._model._meta.concrete_fields if not field.primary_key} - self._only
        parts = [_Part("", self._model, 0, self._without | (others if self._only else set()))]
        for path in self._related:
            holder = next(part for part in parts if part.path == path.rpartition("__")[0])
            name = path.rpartition("__")[2]
            related: Any = holder.model._meta.get_field(name).related_model
            parts.append(_Part(path, related, parts[-1].start + len(parts[-1].names), self._without))
        return parts

    @functools.cached_property
    def _sql(self) -> str:
        names = [f"{part.path}__{name}".removeprefix("__") for part in self._parts for name in part.names]
        rows, stand_ins = self._model._default_manager.order_by(*self._order_by), []
        rows = rows.filter(**{f"{name}__isnull": True for name in self._empty})
        for column in self._columns:
            name, _, among = column.partition("__")
            stand_in = self._model._meta.get_field(name).to_python(_STAND_IN)  # type: ignore[union-attr]
            rows = rows.filter(**{column: [stand_in] if among else stand_in})
            stand_ins.append(stand_in)
        sql, params = rows.values_list(*names).query.sql_with_params()
        assert params == tuple(stand_ins)  # noqa: S101 - the values are all that differs from one time to the next
        return str(sql).replace("IN (%s)", "= ANY(%s)")


class FindOne(_Find[M]):
    """Finds the one object whose unique columns have these values."""

    def __call__(self, *values: Any) -> M | None:
        """The object, or None. One query."""
        return next(iter(self._rows(values)), None)


class FindAll(_Find[M]):
    """Finds all objects whose columns have these values."""

    def __call__(self, *values: Any) -> list[M]:
        """The objects in the order that was said. One query."""
        return self._rows(values)


class _Part:
    """The columns of one object in a row, from the place `start` on. `path` leads to it; "" is the object itself."""

    def __init__(self, path: str, model: type[Model], start: int, without: frozenset[str]) -> None:
        self.path, self.model, self.start = path, model, start
        self.holder, _, self.name = path.rpartition("__")
        named: Any = [(f"{path}__{field.name}".removeprefix("__"), field) for field in model._meta.concrete_fields]
        fields = [field for name, field in named if name not in without]
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

"""Cursor pagination: stable while rows are added, and as fast on the last page as on the first."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import models
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.utils.urls import replace_query_param

from apps.core.database import keyset
from apps.core.database.keyset import Key, Part
from apps.core.errors import Invalid
from apps.core.text.numbers import whole

_KINDS: tuple[tuple[type[Any], type], ...] = (
    (models.DateTimeField, datetime),
    (models.IntegerField, int),
    (models.FloatField, float),
)


class CursorPage(CursorPagination):
    """`?cursor=` and `?limit=` (1 to 500, 50 by default); answers `{next, previous, results}`.

    Only the form is REST framework's: it would tell a place by the first column alone, and lose itself among more than
    a thousand rows that have the same value there.
    """

    page_size = 50
    max_page_size = 500
    page_size_query_param = "limit"
    ordering: str | tuple[str, ...] = "-id"

    def get_page_size(self, request: Request) -> int:
        """The `limit` that is asked for, 500 at most. Raises Invalid for what is no number of rows."""
        text = request.query_params.get(self.page_size_query_param, "")
        if not text:
            return self.page_size
        size = whole(text)
        if not size:
            raise Invalid(f"limit is a whole number from 1 to {self.max_page_size}.", field=self.page_size_query_param)
        return min(size, self.max_page_size)

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        """The parameters in the API's schema, with the bounds of `limit`."""
        parameters: list[dict[str, Any]] = super().get_schema_operation_parameters(view)
        for parameter in parameters:
            if parameter["name"] == self.page_size_query_param:
                parameter["schema"] |= {"minimum": 1, "default": self.page_size}
        return parameters

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        """The page that the cursor leads to. Raises Invalid for a cursor that is not of this list."""
        names = [self.ordering] if isinstance(self.ordering, str) else list(self.ordering)
        return self.paginate_parts([Part(queryset, _keys(queryset.model, names))], request)

    def paginate_parts(self, parts: Sequence[Part], request: Request) -> list[Any]:
        """The same of a list that is several queries, one after the other."""
        self._address = request.build_absolute_uri()
        token = request.query_params.get(self.cursor_query_param, "")
        self._found = keyset.page(parts, self.get_page_size(request), token)
        return self._found.rows

    def get_next_link(self) -> str | None:
        """The address of the next page."""
        return self._link(self._found.next)

    def get_previous_link(self) -> str | None:
        """The address of the page before."""
        return self._link(self._found.previous)

    def _link(self, token: str) -> str | None:
        return replace_query_param(self._address, self.cursor_query_param, token) if token else None


def _keys(model: type[models.Model], names: list[str]) -> list[Key]:
    """The columns of these names, each with or without "-", and the primary key last, which makes them unique."""
    keys = [_key(model, name) for name in names]
    if keys[-1].name not in ("id", "pk"):
        keys.append(Key("pk", int, descending=keys[-1].descending))
    return keys


def _key(model: type[models.Model], name: str) -> Key:
    column = name.removeprefix("-")
    field = model._meta.get_field(column) if column != "pk" else model._meta.pk
    kind = next((kind for of, kind in _KINDS if isinstance(field, of)), str)
    return Key(column, kind, descending=name.startswith("-"), optional=bool(getattr(field, "null", False)))

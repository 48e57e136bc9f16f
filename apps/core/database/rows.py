"""Changing rows that others may change at the same time: read under a lock, write named columns.

A row that was read earlier is old news. `held` reads it again and keeps others from changing it until the transaction
ends; `put` writes the columns that are named and no other, so that a counter or a state never goes back.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from django.db import DataError
from django.db.models import Model
from django.utils import timezone

from apps.core.database import prepared
from apps.core.errors import Conflict

M = TypeVar("M", bound=Model)
# Errors for input that no column holds. Postgres raises one; half of a surrogate pair, which JSON can say and UTF-8
# can't, raises the other before it is sent. The input is wrong, so every door answers with 400.
NOT_STORABLE = (DataError, UnicodeEncodeError)

Expect = Callable[[Any], None]
"""Looks at a row that is locked, and raises when it is not what its caller based a change on."""


def held(row: M, *related: str, expect: Expect | None = None) -> M:
    """The row as it is now, locked until the transaction ends, with the `related` rows at hand (not locked).

    `related` are references that never change: of a row that was waited for, Postgres joins what was there before.
    Rows that refer to it can be inserted meanwhile, so that logging to a run does not wait for a change of its name.
    Raises Conflict when the row is gone, and what `expect` raises about the row as it is under the lock.
    """
    # `_meta` tells the model, since the person of a request is a lazy object, whose class is none of ours.
    rows: Any = row._meta.model._default_manager.select_for_update(of=("self",), no_key=True)
    # Without names `select_related` would follow every foreign key.
    locked: M | None = (rows.select_related(*related) if related else rows).filter(pk=row.pk).first()
    if locked is None:
        raise Conflict(f"{row} has just been deleted.", hint="Look again.")
    if expect is not None:
        expect(locked)
    return locked


def put(row: Model, **columns: Any) -> None:
    """Write these columns of the row, and `updated_at` where it has one; the object carries the new values, too."""
    if any(field.name == "updated_at" for field in row._meta.concrete_fields):
        columns.setdefault("updated_at", timezone.now())
    if any(hasattr(value, "resolve_expression") for value in columns.values()):
        row._meta.model._default_manager.filter(pk=row.pk).update(**columns)
    else:
        plain = {name: value.pk if isinstance(value, Model) else value for name, value in columns.items()}
        prepared.change(row, {}, plain)
    for name, value in columns.items():
        setattr(row, name, value)


def merged(old: dict[str, str], changes: dict[str, Any] | None) -> dict[str, str]:
    """Tags after `changes`, where None removes one. `old` must have been read under the lock."""
    return {key: value for key, value in {**old, **(changes or {})}.items() if value is not None}

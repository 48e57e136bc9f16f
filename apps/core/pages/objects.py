"""The addresses of the objects that the audit trail tells of, for those that are there still.

Core knows no app's pages: an app says in its AppConfig.ready() `objects.register(Deployment, addresses)`, where
`addresses(rows)` gives the address of each row by its primary key, with one query however many there are.
"""

from collections.abc import Callable, Iterable
from typing import Any

from django.db.models import Model, QuerySet
from django.urls import reverse

from apps.core.models import AuditEntry
from apps.core.text.numbers import BIGINT_DIGITS, whole

Addresses = Callable[[QuerySet[Any]], Iterable[tuple[int, str]]]
_kinds: dict[str, tuple[type[Model], Addresses]] = {}


def register(model: type[Model], addresses: Addresses) -> None:
    """Let `addresses` say where the pages of a model's rows are."""
    _kinds[model._meta.label_lower] = model, addresses


def of_projects(rows: QuerySet[Any]) -> Iterable[tuple[int, str]]:
    """The overviews of projects."""
    return [(pk, reverse("core:overview", args=[name])) for pk, name in rows.values_list("pk", "name")]


def addresses_of(entries: Iterable[AuditEntry]) -> dict[tuple[str, str], str]:
    """The addresses by the type and id of the entries' objects: a query for each type that has pages."""
    wanted: dict[str, set[int]] = {}
    for entry in entries:
        if (pk := whole(entry.object_id, BIGINT_DIGITS)) is not None:
            wanted.setdefault(entry.object_type, set()).add(pk)
    known = {}
    for kind in sorted(wanted.keys() & _kinds.keys()):
        model, addresses = _kinds[kind]
        there = addresses(model._default_manager.filter(pk__in=wanted[kind]))
        known.update({(kind, str(pk)): url for pk, url in there})
    return known

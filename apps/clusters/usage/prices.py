"""Prices per node label: set and removed by platform administrators, with an audit row each time."""

import re
from decimal import Decimal
from typing import Any

from django.db import connection, transaction

from apps.clusters.services import clean_labels
from apps.clusters.usage.models import UsagePrice
from apps.core import audit
from apps.core.access import Principal, require_platform_admin
from apps.core.database.rows import held, put
from apps.core.errors import Conflict, Invalid

_CURRENCY = re.compile(r"[A-Za-z€$£¥]{1,10}")
_FIGURES = ("cpu_core_hour", "memory_gib_hour", "gpu_hour")


@transaction.atomic
def set_price(
    *,
    principal: Principal,
    name: str,
    labels: dict[str, str],
    cpu_core_hour: Decimal,
    memory_gib_hour: Decimal,
    gpu_hour: Decimal,
    currency: str,
    price: UsagePrice | None = None,
) -> UsagePrice:
    """Set what an hour costs on nodes with `labels`: a new price, or a change of `price`.

    Raises NotAllowed, Invalid for what is no price, Conflict when another price has the name or the very labels.
    Needs a platform administrator.
    """
    require_platform_admin(principal)
    figures = dict(zip(_FIGURES, (cpu_core_hour, memory_gib_hour, gpu_hour), strict=True))
    if not name.strip() or len(name) > 100:
        raise Invalid("A price needs a name of at most 100 characters.", field="name")
    check_currency(currency)
    for field, value in figures.items():
        if not value.is_finite() or value < 0:
            raise Invalid("A price is a number from 0 on.", field=field)
    _wait_for_others()
    known = held(price) if price is not None else None
    before = _described(known) if known is not None else None
    columns: dict[str, Any] = {"name": name.strip(), "labels": clean_labels(labels), "currency": currency, **figures}
    for other in UsagePrice.objects.all():
        if other == known:
            continue
        if other.name == columns["name"] or other.labels == columns["labels"]:
            raise Conflict(f"The price {other.name!r} is there already for these nodes.", hint="Change that one.")
    if known is None:
        known = UsagePrice.objects.create(**columns)
    else:
        put(known, **columns)
    audit.record(principal=principal, action="price.set", obj=known, before=before, after=_described(known))
    return known


@transaction.atomic
def delete_price(*, principal: Principal, price: UsagePrice) -> None:
    """Remove a price: what it priced has the next best one, or none. Needs a platform administrator."""
    require_platform_admin(principal)
    audit.record(principal=principal, action="price.delete", obj=price, before=_described(price))
    price.delete()


def check_currency(currency: str) -> None:
    """Raise Invalid for what names no currency."""
    if not _CURRENCY.fullmatch(currency):
        raise Invalid("Which currency?", hint="Such as EUR or USD.", field="currency")


def _wait_for_others() -> None:
    """Until the transaction ends nobody else sets a price: of two new ones for the same nodes each must see the other.

    Who only reads prices waits for nobody.
    """
    with connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {UsagePrice._meta.db_table} IN SHARE ROW EXCLUSIVE MODE")


def _described(price: UsagePrice) -> dict[str, Any]:
    figures = {field: str(getattr(price, field)) for field in _FIGURES}
    return {"name": price.name, "labels": price.labels, "currency": price.currency, **figures}

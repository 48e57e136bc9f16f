"""The worker's round: what is due is deleted for good, in the order in which that was noted.

All that a round knows is in rows: it may be killed at any statement, run twice, or at once with another, and the next
one goes on with what is left.
"""

import logging
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import DatabaseError, transaction
from django.db.models import DurationField, Exists, ExpressionWrapper, F, OuterRef, QuerySet, Value
from django.db.models.functions import Coalesce, Least
from django.utils import timezone

from apps.core import audit
from apps.core.access import Principal
from apps.core.hints import hint
from apps.core.work import DONE, Again, Outcome, Retry
from apps.experiments.models import Purge
from apps.experiments.purging import held
from apps.experiments.purging.begun import begin
from apps.experiments.purging.binned import PROJECT_OF, binned
from apps.experiments.purging.emptying import Emptying
from apps.experiments.purging.held import MODELS
from apps.experiments.services.bins import PURGED
from apps.experiments.services.experiments import BIN_TOPIC
from apps.experiments.states import Binned

logger = logging.getLogger(__name__)
# Things that are noted together, and seconds that a round may take before others have their turn.
LOT, ROUND_SECONDS, PAUSE_SECONDS = 200, 5.0, 0.2


def purge_due(pk: int) -> Outcome:
    """Delete for good what is due; `pk` is that of the one object there is."""
    until = time.monotonic() + ROUND_SECONDS
    failed: list[str] = []
    for _ in _steps(failed):
        if time.monotonic() > until:
            return Again(PAUSE_SECONDS)
    return Retry(f"{len(failed)} can't be deleted for good: {failed[0]}") if failed else DONE


def _steps(failed: list[str]) -> Iterator[None]:
    last = 0
    while True:
        purges = list(Purge.objects.filter(pk__gt=last).select_related("project").order_by("pk")[:LOT])
        for purge in purges:
            last = purge.pk
            try:
                yield from _gone(purge)
            except DatabaseError as error:
                # One that can't go must not hold up what comes after it.
                logger.exception("%s can't be deleted for good", purge)
                failed.append(f"{purge}: {error}"[:300])
        if not purges and not _begin_due():
            return
        yield


def _begin_due() -> int:
    """Note some things whose time in the bin is over; how many."""
    begun = 0
    for kind in Binned:
        for pk in list(_due(kind).values_list("pk", flat=True)[:LOT]):
            with transaction.atomic():
                begun += begin(kind, pk) is not None
    return begun


def _due(kind: Binned) -> QuerySet[Any]:
    project = PROJECT_OF[kind]
    days = Least(Coalesce(F(f"{project}__bin__days"), settings.BIN_DAYS), Value(settings.BIN_MAX_DAYS))
    stays = ExpressionWrapper(days * Value(timedelta(days=1)), output_field=DurationField())
    rows = binned(kind).annotate(over_at=F("deleted_at") + stays)
    rows = rows.filter(over_at__lte=timezone.now()) | rows.filter(deleted_at__lte=F(f"{project}__bin__emptied_at"))
    begun = Purge.objects.filter(kind=kind, object_id=OuterRef("pk"))
    return held.may_go(kind, rows.exclude(Exists(begun))).order_by("deleted_at")


def _gone(purge: Purge) -> Iterator[None]:
    kind = Binned(purge.kind)
    model, emptying = MODELS[kind], Emptying(purge.pk)
    yield from emptying.cleared(model, [purge.object_id])
    with transaction.atomic():
        # Whoever else is at it waits here, and finds that it is done.
        if not Purge.objects.select_for_update().filter(pk=purge.pk).exists():
            return
        row = model._default_manager.filter(pk=purge.object_id).first()
        if row is not None:
            emptying.finish(model, [row.pk])
            purge.refresh_from_db()
            gone = {name: getattr(purge, name) for name in ("runs", "points", "files", "file_bytes")}
            after = {**gone, "asked_by": purge.asked_by or "the bin's days"}
            audit.record(principal=Principal(), action=PURGED[kind], obj=row, project=purge.project, after=after)
        Purge.objects.filter(pk=purge.pk).delete()
        hint(BIN_TOPIC, purge.project_id)
    yield

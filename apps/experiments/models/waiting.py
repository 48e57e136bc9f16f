"""Which runs wait, and since when: whatever counts or lists them does it by this."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.db.models import DateTimeField, F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone

from apps.core.models import Transition
from apps.experiments.models import Run
from apps.experiments.states import NOT_RUNNING, RunKind

# A run that waits longer than this says why; until then it is starting.
PATIENCE = timedelta(seconds=45)


def _begun(pk: Any) -> QuerySet[Transition]:
    rows = Transition.objects.filter(object_type=Run._meta.label_lower, object_id=pk, to_state__in=list(NOT_RUNNING))
    return rows.exclude(from_state__in=["", *NOT_RUNNING]).order_by("-id")


SINCE: Any = Coalesce(Subquery(_begun(OuterRef("pk")).values("at")[:1]), F("created_at"), output_field=DateTimeField())
"""Of runs that wait: since when, by the name `since`. One that ran before waits since then, not since it was made."""


def waits() -> Q:
    """The launched runs that wait or are starting."""
    return Q(state__in=list(NOT_RUNNING), kind=RunKind.LAUNCHED)


def long() -> Q:
    """The runs that have waited for long, of rows that know `since`."""
    return waits() & Q(since__lte=timezone.now() - PATIENCE)


def _is_known(run: Run) -> bool:
    return hasattr(run, "since") or run.started_at is None


def waiting_since(runs: Iterable[Run]) -> dict[int, datetime]:
    """Since when each of the runs waits, by primary key, without those that don't. One query, or none where none of
    those that wait has run before, or where the rows know it as `since`."""
    waits = [run for run in runs if run.state in NOT_RUNNING and run.kind == RunKind.LAUNCHED]
    known = {run.pk: getattr(run, "since", run.created_at) for run in waits if _is_known(run)}
    unknown = [run.pk for run in waits if run.pk not in known]
    asked = Run.objects.filter(pk__in=unknown).annotate(since=SINCE).values_list("pk", "since") if unknown else ()
    return known | dict(asked)

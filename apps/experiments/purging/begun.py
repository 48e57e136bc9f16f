"""From when on something in the bin is being deleted for good, and nothing brings it back."""

from typing import Any

from django.db.models import Q

from apps.core.errors import Conflict
from apps.experiments.models import Experiment, Purge
from apps.experiments.purging import held as holds
from apps.experiments.purging.binned import kind_of, project_of
from apps.experiments.purging.held import MODELS, Kept
from apps.experiments.states import Binned


def begin(kind: Binned, pk: int, *, asked_by: str = "") -> Purge | None:
    """Note that something in the bin is being deleted for good: from now on nothing brings it back. None where
    something holds it, or it is not there any more. Inside a transaction.

    Locks the row, as does who makes a version of its files, so that none is made between the look and the note.
    """
    rows: Any = MODELS[kind]._default_manager.filter(pk=pk, deleted_at__isnull=False).select_for_update(of=("self",))
    row = rows.first()
    if row is None or holds.reasons(kind, [pk]):
        return None
    purge, _ = Purge.objects.get_or_create(
        kind=kind, object_id=pk, defaults={"project": project_of(row), "asked_by": asked_by[:200]}
    )
    return purge


def check_returns(row: Kept, *related: Kept | None) -> None:
    """Raise Conflict where what is in the bin can't be restored: it, its experiment or what is `related` is being
    deleted for good, or its experiment is in the bin, so that no page would show it. Inside a transaction."""
    check_stays(row, *related)
    if not isinstance(row, Experiment) and row.experiment.deleted_at is not None:
        raise Conflict(f"The experiment {row.experiment} is in the bin, too.", hint="Restore the experiment first.")


def check_stays(*rows: Kept | None) -> None:
    """Raise Conflict where any of these, or its experiment, is being deleted for good. Inside a transaction: locks
    them, so that none is deleted before it ends."""
    named: dict[Binned, dict[int, Kept]] = {kind: {} for kind in Binned}
    for row in rows:
        if row is not None:
            experiment = row if isinstance(row, Experiment) else row.experiment
            named[Binned.EXPERIMENT][experiment.pk] = experiment
            named[kind_of(row)][row.pk] = row
    going = Q()
    for kind, some in named.items():
        if some:
            # As `rows.held` does, by one query for all: who logs to them does not wait.
            locked = MODELS[kind]._default_manager.filter(pk__in=some).order_by("pk")
            list(locked.select_for_update(of=("self",), no_key=True).values_list("pk"))
            going |= Q(kind=kind, object_id__in=list(some))
    purge = Purge.objects.filter(going).first() if going else None
    if purge is not None:
        name = named[Binned(purge.kind)][purge.object_id]
        raise Conflict(f"{name} is being deleted for good.", hint="What was asked for can't be had any more.")

"""Writes of many runs at once, in as many statements as one: what a person has chosen in the table of runs.

What can't be done to one of them does not keep the others from it; how many that were, and why, is told.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils import timezone

from apps.core import audit, work
from apps.core.access import Principal, require_role
from apps.core.database import transitions
from apps.core.errors import Invalid
from apps.core.hints import hint
from apps.core.models import Project
from apps.core.states import Role
from apps.experiments.models import TAG_LENGTH, Purge, Run, Tag
from apps.experiments.services.authors import author
from apps.experiments.services.experiments import BIN_TOPIC
from apps.experiments.services.placing import KIND
from apps.experiments.states import LAUNCHED_MOVES, SETTLED, Binned, RunKind, RunState
from apps.experiments.tracking.ingest import pair
from apps.experiments.tracking.pulse import run_changed
from apps.experiments.tracking.tags import OF_PROGRAMS

MOST_TOGETHER = 500


@dataclass(frozen=True)
class Outcome:
    """How many runs were changed, and how many were not."""

    done: int
    left: int


@transaction.atomic
def delete_runs(*, principal: Principal, project: Project, uids: Sequence[str]) -> Outcome:
    """Mark runs as deleted; those that Flotilla launched and that are under way are left. Needs the developer role."""
    require_role(principal, project, Role.DEVELOPER)
    rows = _held(project, uids)
    return _marked(principal, project, rows, "run.delete", lambda run: not run.deleted_at and not _is_under_way(run))


@transaction.atomic
def restore_runs(*, principal: Principal, project: Project, uids: Sequence[str]) -> Outcome:
    """Bring deleted runs back. Needs the developer role. Those that are being deleted for good are left, and those of
    an experiment in the bin, which no page would show: it may be being deleted for good itself, with all its runs."""
    require_role(principal, project, Role.DEVELOPER)
    rows = _held(project, uids)
    purges = Purge.objects.filter(kind=Binned.RUN, object_id__in=[run.pk for run in rows])
    going = set(purges.values_list("object_id", flat=True))

    def returns(run: Run) -> bool:
        return run.deleted_at is not None and run.experiment.deleted_at is None and run.pk not in going

    return _marked(principal, project, rows, "run.restore", returns)


@transaction.atomic
def cancel_runs(*, principal: Principal, project: Project, uids: Sequence[str]) -> Outcome:
    """Ask for the end of launched runs; those that have ended, or run elsewhere, are left. Needs the developer role."""
    require_role(principal, project, Role.DEVELOPER)
    rows = [run for run in _held(project, uids) if run.deleted_at is None]
    launched = [run for run in rows if _is_under_way(run) and run.state != RunState.CANCELING]
    moved = transitions.advance_all(
        launched, to=RunState.CANCELING, allowed=LAUNCHED_MOVES, reason="CancelRequested", actor=principal.label
    )
    runs = [run for run in launched if run in moved]
    changes = [(run, {"state": run.state}) for run in runs]
    audit.record_all(principal=principal, action="run.cancel", objects=changes, project=project)
    work.ask_many(KIND, [(run.pk, run.cluster_id) for run in runs], first=True)
    return _told(runs, len(uids))


@transaction.atomic
def tag_runs(*, principal: Principal, project: Project, uids: Sequence[str], key: str, value: str) -> Outcome:
    """Set one tag of runs. Needs the developer role. Raises Invalid for a name that no tag may have."""
    require_role(principal, project, Role.DEVELOPER)
    key, value = checked_tag(key, value)
    runs = [run for run in _held(project, uids) if run.deleted_at is None]
    Tag.objects.bulk_create(
        [Tag(run=run, experiment_id=run.experiment_id, key=key, value=value) for run in runs],
        update_conflicts=True,
        unique_fields=["run", "key"],
        update_fields=["value"],
    )
    changes = [(run, {key: value}) for run in runs]
    audit.record_all(principal=principal, action="run.tag", objects=changes, project=project)
    return _told(runs, len(uids))


def checked_tag(key: str, value: str) -> tuple[str, str]:
    """A tag that a person sets. Raises Invalid, also for the names of those that programs set."""
    key, value = key.strip(), value.strip()
    if key.startswith(OF_PROGRAMS):
        raise Invalid(f"Tags that begin with {OF_PROGRAMS!r} are set by programs.", hint="Choose another.", field="key")
    try:
        return pair({"key": key, "value": value}, TAG_LENGTH)
    except Invalid as error:
        raise Invalid(error.message, hint=error.hint, field="key") from error


def _held(project: Project, uids: Sequence[str]) -> list[Run]:
    """The runs of the project of these ids as they are now, locked until the transaction ends. Raises Invalid."""
    if not uids:
        raise Invalid("No run was chosen.", hint="Mark runs in the table first.")
    if len(uids) > MOST_TOGETHER:
        raise Invalid(f"At most {MOST_TOGETHER} runs are changed at once.", hint="Choose fewer.")
    rows = Run.objects.select_for_update(of=("self",), no_key=True).filter(
        uid__in=list(uids), experiment__project=project
    )
    # In one order, so that two who choose the same runs never wait for each other.
    return list(rows.select_related("experiment__project").order_by("pk"))


def _is_under_way(run: Run) -> bool:
    return run.kind == RunKind.LAUNCHED and run.state not in SETTLED


def _marked(
    principal: Principal, project: Project, rows: Sequence[Run], action: str, may_be: Callable[[Run], bool]
) -> Outcome:
    runs = [run for run in rows if may_be(run)]
    now = timezone.now()
    deleted: dict[str, Any] = {"deleted_at": None, "deleted_by": ""}
    if action == "run.delete":
        deleted = {"deleted_at": now, "deleted_by": author(principal)}
    Run.objects.filter(pk__in=[run.pk for run in runs]).update(**deleted, updated_at=now)
    hint(BIN_TOPIC, project.pk)
    audit.record_all(principal=principal, action=action, objects=[(run, None) for run in runs], project=project)
    return _told(runs, len(rows))


def _told(runs: Sequence[Run], chosen: int) -> Outcome:
    for run in runs:
        run_changed(run)
    return Outcome(len(runs), chosen - len(runs))

"""Writes of the bin: bring back, delete for good, and how long it keeps things."""

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from apps.core import audit, work
from apps.core.access import Principal, require_role
from apps.core.database.rows import Expect, held, put
from apps.core.errors import Conflict, Invalid
from apps.core.hints import hint
from apps.core.models import Project
from apps.core.states import Role
from apps.experiments.models import Bin, Experiment, Run
from apps.experiments.purging import held as holds
from apps.experiments.purging.begun import begin
from apps.experiments.purging.binned import Policy, binned, kind_of, policy, policy_of, project_of
from apps.experiments.purging.held import Kept
from apps.experiments.services.authors import author
from apps.experiments.services.experiments import BIN_TOPIC, restore_experiment
from apps.experiments.services.logged import restore_logged_model
from apps.experiments.services.tracking import restore_run
from apps.experiments.states import Binned

# The kind of work that looks at the bins.
KIND = "experiments-purge"
ASKED = {
    Binned.EXPERIMENT: "experiment.purge_asked",
    Binned.RUN: "run.purge_asked",
    Binned.MODEL: "model.logged.purge_asked",
}
# When it is gone.
PURGED = {Binned.EXPERIMENT: "experiment.purge", Binned.RUN: "run.purge", Binned.MODEL: "model.logged.purge"}


def restore(*, principal: Principal, row: Kept) -> None:
    """Bring something back out of the bin. Needs the developer role. Raises Conflict while it is deleted for good, and
    while its experiment is in the bin."""
    if isinstance(row, Experiment):
        restore_experiment(principal=principal, experiment=row)
    elif isinstance(row, Run):
        restore_run(principal=principal, run=row)
    else:
        restore_logged_model(principal=principal, model=row)


@transaction.atomic
def delete_for_good(*, principal: Principal, row: Kept) -> None:
    """Let something in the bin go now, with all that hangs on it. Needs the admin role.

    Raises Conflict where something holds it, or it is not in the bin any more.
    """
    project, kind = project_of(row), kind_of(row)
    require_role(principal, project, Role.ADMIN)
    purge = begin(kind, row.pk, asked_by=author(principal))
    if purge is None:
        reason = holds.reasons(kind, [row.pk]).get(row.pk)
        if reason is None or not binned(kind, pk=row.pk).exists():
            raise Conflict(f"{row} is not in the bin.", hint="Look again.")
        way = "Wait until it has ended." if reason.endswith("under way") else "Delete that first."
        raise Conflict(f"{row} can't be deleted for good: {reason}.", hint=way)
    audit.record(principal=principal, action=ASKED[kind], obj=row, project=project)
    hint(BIN_TOPIC, project.pk)
    work.ask(KIND, 0, cluster=None)


@transaction.atomic
def empty_bin(*, principal: Principal, project: Project) -> None:
    """Let all go that is in the bin now and that nothing holds. Needs the admin role."""
    require_role(principal, project, Role.ADMIN)
    Bin.objects.update_or_create(project=project, defaults={"emptied_at": timezone.now()})
    audit.record(principal=principal, action="project.empty_bin", obj=project, project=project)
    hint(BIN_TOPIC, project.pk)
    work.ask(KIND, 0, cluster=None)


@transaction.atomic
def set_bin_days(*, principal: Principal, project: Project, days: int | None, expect: Expect | None = None) -> Policy:
    """Say how long the project's bin keeps things; None for as long as the platform says. Needs the admin role.

    It holds for what is in the bin already, too.
    """
    require_role(principal, project, Role.ADMIN)
    if days is not None and not 1 <= days <= settings.BIN_MAX_DAYS:
        raise Invalid(f"The bin keeps things for 1 to {settings.BIN_MAX_DAYS} days.", field="days")
    Bin.objects.get_or_create(project=project)
    row = held(Bin(project=project), expect=expect)
    before = policy_of(row)
    put(row, days=days)
    after = policy(project)
    audit.record(
        principal=principal,
        action="project.bin",
        obj=project,
        project=project,
        before={"days": before.days},
        after={"days": after.days},
    )
    hint(BIN_TOPIC, project.pk)
    return after

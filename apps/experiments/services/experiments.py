"""Writes of experiments."""

from collections.abc import Sequence

from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from apps.core import audit
from apps.core.access import Principal, require_role
from apps.core.database.rows import Expect, held, put
from apps.core.errors import Conflict, Invalid, Missing
from apps.core.hints import hint
from apps.core.models import Project
from apps.core.states import Role
from apps.experiments.models import Experiment
from apps.experiments.purging.begun import check_returns
from apps.experiments.purging.held import going
from apps.experiments.services.authors import author

MAX_NAME = 500
# Where clients log that never chose an experiment: MLflow's id 0.
DEFAULT_NAME = "Default"
BIN_TOPIC = "bin"


def create_experiment(
    *, principal: Principal, project: Project, name: str, tags: dict[str, str] | None = None
) -> Experiment:
    """Make an experiment. Raises Conflict when the project has one of that name, deleted ones included.

    Needs the developer role.
    """
    return create_experiments(principal=principal, project=project, names=[name], tags=tags)[0]


def create_experiments(
    *, principal: Principal, project: Project, names: Sequence[str], tags: dict[str, str] | None = None
) -> list[Experiment]:
    """Make several, all or none of them, in as many statements as one. Raises as `create_experiment` does."""
    require_role(principal, project, Role.DEVELOPER)
    rows = [
        Experiment(project=project, name=_checked_name(name), tags=tags or {}, created_by=author(principal))
        for name in names
    ]
    try:
        with transaction.atomic():
            experiments = Experiment.objects.bulk_create(rows)
            audit.record_all(
                principal=principal,
                action="experiment.create",
                objects=[(row, None) for row in experiments],
                project=project,
            )
            hint("runs", project.pk)
    except IntegrityError as error:
        listed = ", ".join(repr(row.name) for row in rows)
        raise Conflict(f"Experiment {listed} exists already in project {project.name}.", field="name") from error
    return experiments


def default_experiment(project: Project) -> Experiment:
    """The experiment of clients that never chose one. As in MLflow it has always been there: who looks first finds it,
    whatever the role, and nobody has made it."""
    experiment, made = Experiment.objects.get_or_create(project=project, name=DEFAULT_NAME)
    if made:
        since = {"created_at": project.created_at, "updated_at": project.created_at}
        Experiment.objects.filter(pk=experiment.pk).update(**since)
        experiment.refresh_from_db()
    return experiment


def _checked_name(name: str) -> str:
    name = name.strip()
    if not name or len(name) > MAX_NAME:
        raise Invalid(f"An experiment's name has 1 to {MAX_NAME} letters.", field="name")
    if name in (".", "..") or name.startswith("/") or any(ord(letter) < 32 for letter in name):
        raise Invalid("An experiment's name has no control characters and does not start with '/'.", field="name")
    return name


@transaction.atomic
def rename_experiment(
    *, principal: Principal, experiment: Experiment, name: str, expect: Expect | None = None
) -> Experiment:
    """Give an experiment another name. Needs the developer role.

    Raises Conflict when it is taken or the experiment is deleted.
    """
    require_role(principal, experiment.project, Role.DEVELOPER)
    now = held(experiment, "project", expect=expect)
    if now.deleted_at is not None:
        raise Conflict("A deleted experiment can't be renamed.", hint="Restore it first.")
    before, after = now.name, _checked_name(name)
    try:
        with transaction.atomic():
            put(now, name=after)
    except IntegrityError as error:
        raise Conflict(f"Experiment {after!r} exists already.", field="name") from error
    audit.record(
        principal=principal,
        action="experiment.rename",
        obj=now,
        project=now.project,
        before={"name": before},
        after={"name": after},
    )
    hint(f"experiment:{now.pk}", now.project_id)
    return now


def delete_experiment(*, principal: Principal, experiment: Experiment, expect: Expect | None = None) -> None:
    """Mark an experiment as deleted; `restore_experiment` brings it back. Needs the developer role.

    Raises Invalid for the default one, and Conflict while a run that Flotilla launched in it is under way.
    """
    if experiment.name == DEFAULT_NAME:
        raise Invalid("The default experiment can't be deleted: clients log there that never chose one.")
    _mark(principal, experiment, "experiment.delete", deleted=True, expect=expect)


def restore_experiment(*, principal: Principal, experiment: Experiment) -> None:
    """Bring a deleted experiment back. Needs the developer role. Raises Conflict once it is being deleted for good."""
    _mark(principal, experiment, "experiment.restore", deleted=False)


@transaction.atomic
def _mark(
    principal: Principal, experiment: Experiment, action: str, *, deleted: bool, expect: Expect | None = None
) -> None:
    require_role(principal, experiment.project, Role.DEVELOPER)
    experiment = held(experiment, "project", expect=expect)
    if not deleted:
        check_returns(experiment)
    elif run := going(experiment=experiment, deleted_at=None).order_by("pk").first():
        raise Conflict(f"Run {run} of this experiment is under way.", hint="Cancel its runs first.")
    put(experiment, deleted_at=timezone.now() if deleted else None, deleted_by=author(principal) if deleted else "")
    audit.record(principal=principal, action=action, obj=experiment, project=experiment.project)
    for topic in (f"experiment:{experiment.pk}", "runs", BIN_TOPIC):
        hint(topic, experiment.project_id)


def set_experiment_tag(*, principal: Principal, experiment: Experiment, key: str, value: str) -> None:
    """Set one tag; two clients that set different tags at once both succeed. Needs the developer role."""
    require_role(principal, experiment.project, Role.DEVELOPER)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE experiments_experiment SET tags = tags || jsonb_build_object(%s::text, %s::text),"
            " updated_at = now() WHERE id = %s",
            [key, value, experiment.pk],
        )


def delete_experiment_tag(*, principal: Principal, experiment: Experiment, key: str) -> None:
    """Remove one tag. Raises Missing where it is not there. Needs the developer role."""
    require_role(principal, experiment.project, Role.DEVELOPER)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE experiments_experiment SET tags = tags - %s::text, updated_at = now()"
            " WHERE id = %s AND jsonb_exists(tags, %s)",
            [key, experiment.pk, key],
        )
        if not cursor.rowcount:
            raise Missing(f"No tag with name: {key[:100]} in experiment with id {experiment.pk}")

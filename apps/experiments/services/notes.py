"""What people write about a run or an experiment: its name, a note, tags. MLflow keeps the note in a tag, too."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from apps.core import audit
from apps.core.access import Principal, require_role
from apps.core.database.rows import held, merged, put
from apps.core.errors import Conflict, Invalid
from apps.core.hints import hint
from apps.core.states import Role
from apps.experiments.models import TAG_LENGTH, Experiment, Run, Tag
from apps.experiments.services.experiments import rename_experiment
from apps.experiments.services.together import checked_tag
from apps.experiments.services.tracking import update_run
from apps.experiments.tracking.pulse import run_changed
from apps.experiments.tracking.tags import OF_PROGRAMS

NOTE = "mlflow.note.content"


def editable(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags that people write a line each: not those of programs, and none of several lines, which stay."""
    return {key: text for key, text in tags.items() if not key.startswith(OF_PROGRAMS) and len(text.splitlines()) < 2}


@transaction.atomic
def describe_run(*, principal: Principal, run: Run, name: str, note: str, tags: Mapping[str, str]) -> Run:
    """Give a run a name, a note ("" for none), and these tags in place of those that people write.

    Needs the developer role. Raises Conflict for a deleted run, and Invalid for a name that no tag may have.
    """
    require_role(principal, run.experiment.project, Role.DEVELOPER)
    run = held(run, "experiment__project")
    if run.deleted_at is not None:
        raise Conflict("A deleted run can't be edited.", hint="Restore it first.")
    before = dict(Tag.objects.filter(run=run).values_list("key", "value"))
    changes = _changes(before, note, tags)
    if name and name != run.name:
        update_run(principal=principal, run=run, name=name)
    Tag.objects.filter(run=run, key__in=list(changes)).delete()
    Tag.objects.bulk_create(
        [
            Tag(run=run, experiment_id=run.experiment_id, key=key, value=text)
            for key, text in sorted(changes.items())
            if text is not None
        ],
        update_conflicts=True,
        unique_fields=["run", "key"],
        update_fields=["value"],
    )
    project = run.experiment.project
    said: dict[str, Any] = {"before": _said(before, changes), "after": changes | ({"name": name} if name else {})}
    audit.record(principal=principal, action="run.describe", obj=run, project=project, **said)
    run_changed(run)
    return run


@transaction.atomic
def describe_experiment(
    *, principal: Principal, experiment: Experiment, name: str, note: str, tags: Mapping[str, str]
) -> Experiment:
    """The same of an experiment. Needs the developer role. Raises as `rename_experiment` does, too."""
    require_role(principal, experiment.project, Role.DEVELOPER)
    now = held(experiment, "project")
    if now.deleted_at is not None:
        raise Conflict("A deleted experiment can't be edited.", hint="Restore it first.")
    if name != now.name:
        now = rename_experiment(principal=principal, experiment=now, name=name)
    changes = _changes(now.tags, note, tags)
    said: dict[str, Any] = {"before": _said(now.tags, changes), "after": changes}
    put(now, tags=merged(now.tags, changes))
    audit.record(principal=principal, action="experiment.describe", obj=now, project=now.project, **said)
    hint(f"experiment:{now.pk}", now.project_id)
    return now


def _changes(before: Mapping[str, str], note: str, tags: Mapping[str, str]) -> dict[str, str | None]:
    """What becomes of the tags that differ; None for those that go."""
    if len(note) > TAG_LENGTH:
        raise Invalid(f"A note has at most {TAG_LENGTH} letters.", field="note")
    wanted: dict[str, str | None] = dict.fromkeys([NOTE, *editable(before)])
    for key, text in tags.items():
        try:
            key, text = checked_tag(key, text)
        except Invalid as error:
            raise Invalid(error.message, hint=error.hint, field="tags") from error
        if len(before.get(key, "").splitlines()) < 2:
            wanted[key] = text
    wanted[NOTE] = note or None
    return {key: text for key, text in wanted.items() if before.get(key) != text}


def _said(before: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    return {key: before[key] for key in changes if key in before}

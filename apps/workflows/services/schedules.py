"""Schedules: what starts a pipeline by the clock, in the name of whoever made it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from apps.core import audit, work
from apps.core.access import Principal, require_alive, require_role
from apps.core.database.rows import held, put
from apps.core.errors import Conflict, FlotillaError, NotAllowed
from apps.core.states import Role
from apps.core.text.names import check_name
from apps.workflows import selectors
from apps.workflows.decision.due import tick
from apps.workflows.models import Pipeline, Schedule
from apps.workflows.services.common import SCHEDULE, tell
from apps.workflows.services.pipelines import cancel, start
from apps.workflows.specs.parameters import given
from apps.workflows.specs.timetables import Timetable

_MOST = 20


def create_schedule(
    *, principal: Principal, pipeline: Pipeline, name: str, timetable: Timetable, params: Mapping[str, Any]
) -> Schedule:
    """Let the pipeline's last version start by the clock, with these parameters, in the caller's name. Needs the
    developer role. Raises Conflict where the name is taken, Invalid for parameters that it does not take now."""
    require_role(principal, pipeline.project, Role.DEVELOPER)
    check_name(name, "name")
    token = principal.token
    if token is not None and token.run_uid:
        raise NotAllowed("A run's token makes no schedules.")
    given(selectors.version(pipeline).parsed.params, params)
    try:
        with transaction.atomic():
            row = held(pipeline, "project")
            if row.schedules.count() >= _MOST:
                raise Conflict(f"{row} has {_MOST} schedules, which is the most.", hint="Remove one.")
            schedule = Schedule.objects.create(
                pipeline=row,
                name=name,
                cron=timetable.cron,
                time_zone=timetable.time_zone,
                overlap=timetable.overlap,
                missed=timetable.missed,
                params=dict(params),
                next_at=timetable.after(timezone.now()),
                maker_id=principal.person_pk,
                maker_token=token,
                created_by=principal.label,
            )
            after = {"pipeline": row.name, "cron": timetable.cron, "time_zone": timetable.time_zone}
            audit.record(principal=principal, action="schedule.create", obj=schedule, project=row.project, after=after)
            _ask(schedule, timezone.now())
            tell(row)
    except IntegrityError as error:
        raise Conflict(f"{pipeline} has a schedule {name!r} already.", field="name") from error
    return schedule


def pause_schedule(*, principal: Principal, schedule: Schedule, paused: bool) -> Schedule:
    """Let it start nothing until it is resumed; times that pass meanwhile are not made up for. Needs the developer
    role. Repeating this changes nothing."""
    require_role(principal, schedule.pipeline.project, Role.DEVELOPER)
    with transaction.atomic():
        row = held(schedule, "pipeline__project")
        if row.paused != paused:
            now = timezone.now()
            put(row, paused=paused, next_at=None if paused else row.timetable.after(now))
            action, project = "schedule.pause" if paused else "schedule.resume", row.pipeline.project
            audit.record(principal=principal, action=action, obj=row, project=project)
            _ask(row, now)
            tell(row.pipeline)
    return row


def delete_schedule(*, principal: Principal, schedule: Schedule) -> None:
    """Let it start nothing any more; its runs stay. Needs the developer role."""
    require_role(principal, schedule.pipeline.project, Role.DEVELOPER)
    with transaction.atomic():
        row = held(schedule, "pipeline__project")
        audit.record(principal=principal, action="schedule.delete", obj=row, project=row.pipeline.project)
        work.forget(SCHEDULE, row.pk)
        row.delete()
        tell(row.pipeline)


def pass_time(schedule: Schedule, now: datetime) -> datetime | None:
    """Do what a held schedule does now, and return when it is due next; None while it is paused. What it starts, and
    that its time has passed, are one commit: it starts no run twice."""
    if schedule.paused:
        return None
    rows = list(schedule.runs.filter(selectors.UNENDED_RUNS).select_related("pipeline__project").order_by("number"))
    said = tick(schedule.timetable, schedule.next_at, now, [row.number for row in rows])
    words: dict[str, Any] = {"said": said.said} if said.said else {}
    if said.start:
        words = {"last_at": now, "said": said.said}
        try:
            with transaction.atomic():
                require_alive(schedule.principal)
                for row in rows if said.cancel else ():
                    cancel(principal=schedule.principal, run=row)
                by, pipeline = schedule.principal, schedule.pipeline
                start(principal=by, pipeline=pipeline, params=schedule.params, schedule=schedule)
        except FlotillaError as error:
            words["said"] = f"It could not start: {error.sentence}"
    if words or said.next_at != schedule.next_at:
        put(schedule, next_at=said.next_at, **words)
        tell(schedule.pipeline)
    return said.next_at


def _ask(schedule: Schedule, now: datetime) -> None:
    after = (schedule.next_at - now).total_seconds() if schedule.next_at is not None else 0.0
    work.ask(SCHEDULE, schedule.pk, cluster=None, after=max(after, 0.0))

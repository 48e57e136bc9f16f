"""The rounds of pipeline runs and of schedules. They call no cluster: runs and rollouts have their own, which do.

One transaction holds each pass, so that being killed in it, and being asked for twice, change nothing.
"""

from django.db import transaction
from django.utils import timezone

from apps.core.errors import Unavailable
from apps.core.work import DONE, Again, Outcome, Retry
from apps.workflows.models import PipelineRun, Schedule
from apps.workflows.services.common import hold
from apps.workflows.services.moving import move
from apps.workflows.services.schedules import pass_time


def reconcile(pk: int) -> Outcome:
    """Bring one pipeline run a pass further: a round of the queue, which sees to it that there is one at a time."""
    now = timezone.now()
    try:
        with transaction.atomic():
            run = PipelineRun.objects.filter(pk=pk).first()
            if run is None:
                return DONE
            moved = move(hold(run), now)
    except Unavailable as error:
        return Retry(error.message)
    if moved.more:
        return Again(0.0)
    return DONE if moved.due is None else Again(max(0.0, (moved.due - now).total_seconds()))


def reconcile_schedule(pk: int) -> Outcome:
    """Start what a schedule is due to start: a round of the queue."""
    now = timezone.now()
    with transaction.atomic():
        rows = Schedule.objects.select_related("pipeline__project", "maker", "maker_token__user")
        schedule = rows.select_for_update(of=("self",), no_key=True).filter(pk=pk).first()
        due = pass_time(schedule, now) if schedule is not None else None
    return DONE if due is None else Again(max(0.0, (due - now).total_seconds()))

"""The round of a pipeline run. It calls no cluster: runs and rollouts have rounds of their own, which do.

One transaction holds each pass, so that being killed in it, and being asked for twice, change nothing.
"""

from django.db import transaction
from django.utils import timezone

from apps.core.errors import Unavailable
from apps.core.work import DONE, Again, Outcome, Retry
from apps.workflows.models import PipelineRun
from apps.workflows.services.common import hold
from apps.workflows.services.moving import move


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

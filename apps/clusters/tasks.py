"""Celery tasks of clusters."""

from celery import shared_task
from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings

from apps.clusters import reconcile, services
from apps.clusters.usage import rollup


@shared_task(name="clusters.sweep")
def sweep() -> None:
    """Each minute: forget what is old, and mark what nobody watches."""
    reconcile.sweep()


@shared_task(name="clusters.roll_up_usage")
def roll_up_usage() -> None:
    """Each minute: make coarser levels of usage, and drop what is older than its level keeps."""
    rollup.run()


@shared_task(name="clusters.check_due")
def check_due() -> None:
    """Each minute: wake the checks that are ten minutes old, spread over most of the minute."""
    services.wake_due(settings.SWEEP_SECONDS * 0.8)


# The check bounds itself; the limit is for what no read limit catches, such as headers that drip in.
@shared_task(name="clusters.check", soft_time_limit=45, time_limit=60)
def check(pk: int, seen: str = "") -> None:
    """Check one cluster, unless that was just done; with the stamp of a check that somebody has seen, a newer one."""
    try:
        services.check_if_due(pk, seen)
    except SoftTimeLimitExceeded:
        # Stored like any other failure: what stays due would come first in each round, and keep others out of it.
        services.check_gave_up(pk)

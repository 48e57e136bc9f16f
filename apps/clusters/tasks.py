"""Celery tasks of clusters."""

from celery import shared_task

from apps.clusters import reconcile
from apps.clusters.usage import rollup


@shared_task(name="clusters.sweep")
def sweep() -> None:
    """Each minute: forget what is old, and mark what nobody watches."""
    reconcile.sweep()


@shared_task(name="clusters.roll_up_usage")
def roll_up_usage() -> None:
    """Each minute: make coarser levels of usage, and drop what is older than its level keeps."""
    rollup.run()

"""Celery tasks of clusters."""

from celery import shared_task

from apps.clusters import reconcile


@shared_task(name="clusters.sweep")
def sweep() -> None:
    """Each minute: forget what is old, and mark what nobody watches."""
    reconcile.sweep()

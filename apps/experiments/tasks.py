"""Celery tasks of experiments."""

from celery import shared_task

from apps.experiments import reconcile


@shared_task(name="experiments.reconcile_run")
def reconcile_run(pk: int) -> None:
    """Bring one launched run a step further."""
    reconcile.reconcile_run(pk)


@shared_task(name="experiments.sweep")
def sweep() -> None:
    """Each minute: wake every run that has not ended, whatever wake-up was lost."""
    reconcile.sweep()

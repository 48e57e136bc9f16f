"""Celery tasks of deployments: wake one, sweep all that is not settled."""

from celery import shared_task
from django.utils import timezone

from apps.core.wake import send
from apps.deployments import selectors
from apps.deployments.reconcile import reconcile as run_round
from apps.deployments.services.access import RENEW_BEFORE


@shared_task(name="deployments.reconcile")
def reconcile(pk: int) -> None:
    """Bring one deployment closer to what is wanted."""
    run_round(pk)


@shared_task(name="deployments.sweep")
def sweep() -> None:
    """Wake what a lost wake-up left behind."""
    for pk in selectors.unsettled(timezone.now(), token_margin=RENEW_BEFORE):
        send("deployments.reconcile", pk)

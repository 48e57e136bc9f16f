"""Celery tasks of core."""

from datetime import timedelta

from celery import shared_task
from django.utils import timezone

from apps.core.api.idempotency import forget_old
from apps.core.models import ApiToken, Nudge

# How long an expired token stays visible to its owner.
EXPIRED_KEPT = timedelta(days=30)


@shared_task(name="core.sweep")
def sweep() -> None:
    """Drop what is no longer needed: old answers to idempotent POSTs, long-expired tokens of runs, stale nudges."""
    forget_old()
    ApiToken.objects.filter(expires_at__lt=timezone.now() - EXPIRED_KEPT).exclude(run_uid="").delete()
    # A nudge whose holder died has served its purpose: each app's own sweep wakes whatever is not settled.
    Nudge.objects.all().delete()

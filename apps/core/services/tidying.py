"""The rows that core deletes when they are old."""

from datetime import timedelta

from django.utils import timezone

from apps.core.api.idempotency import forget_old
from apps.core.models import ApiToken
from apps.core.work import DONE, Outcome

# How long an expired token stays visible to its owner.
EXPIRED_KEPT = timedelta(days=30)


def tidy(pk: int) -> Outcome:
    """Drop old answers to idempotent POSTs and long-expired tokens of runs; `pk` is that of the one object there is."""
    forget_old()
    ApiToken.objects.filter(expires_at__lt=timezone.now() - EXPIRED_KEPT).exclude(run_uid="").delete()
    return DONE

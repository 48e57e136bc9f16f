"""Reads of the last lines that were kept of revisions which were taken back."""

from django.db.models import Max, QuerySet

from apps.deployments.models import Deployment, KeptLog


def kept_logs_of(of: Deployment) -> QuerySet[KeptLog]:
    """All that is kept, of the newest rollout first, and of each the replica that was worst first."""
    rows = KeptLog.objects.filter(rollout__deployment=of).select_related("rollout__to_revision")
    return rows.order_by("-rollout_id", "id")


def last_kept_logs(of: Deployment) -> QuerySet[KeptLog]:
    """Those of the last rollout of which any are kept."""
    rows = KeptLog.objects.filter(rollout__deployment=of).order_by()
    last = rows.values("rollout__deployment").annotate(last=Max("rollout")).values("last")
    return kept_logs_of(of).filter(rollout__in=last)

"""Every write of workflows: one transaction with its audit row and what it asks for."""

from apps.workflows.services.approving import decide_step
from apps.workflows.services.bundles import apply_bundle
from apps.workflows.services.pipelines import cancel, create_version, read, retry, start
from apps.workflows.services.schedules import create_schedule, delete_schedule, pause_schedule
from apps.workflows.services.webhooks import create_webhook, delete_webhook, receive

__all__ = [
    "apply_bundle",
    "cancel",
    "create_schedule",
    "create_version",
    "create_webhook",
    "decide_step",
    "delete_schedule",
    "delete_webhook",
    "pause_schedule",
    "read",
    "receive",
    "retry",
    "start",
]

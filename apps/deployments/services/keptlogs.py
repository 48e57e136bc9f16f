"""Keeping the last lines of a revision that is taken back: its replicas go, and their logs with them."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import transaction

from apps.core.hints import hint
from apps.deployments.models import KeptLog, Placement, Rollout

# Of one rollout, over all of its targets; and of how many rollouts of a deployment.
MAX_LOGS, MAX_ROLLOUTS = 12, 5
MAX_WHY = 200


@dataclass(frozen=True)
class LastLines:
    """The last lines of one replica."""

    replica: str
    container: str
    previous: bool
    why: str
    text: str


def keeps_more(rollout: Rollout, target: str) -> bool:
    """Whether the lines of replicas on this target are to be kept: none of it are yet, and there is room."""
    targets = list(KeptLog.objects.filter(rollout=rollout).values_list("target", flat=True))
    return target not in targets and len(targets) < MAX_LOGS


def keep_logs(placement: Placement, rollout: Rollout, lines: Sequence[LastLines]) -> None:
    """Keep them, and forget those of rollouts of long ago."""
    if not lines:
        return
    with transaction.atomic():
        # Deleted meanwhile, there is nothing to keep them of.
        if not Rollout.objects.select_for_update(no_key=True).filter(pk=rollout.pk).exists():
            return
        rows = [
            KeptLog(
                rollout=rollout,
                target=placement.target.name,
                replica=each.replica,
                container=each.container,
                previous=each.previous,
                why=each.why[:MAX_WHY],
                text=each.text,
            )
            for each in lines
        ]
        KeptLog.objects.bulk_create(rows, ignore_conflicts=True)
        kept = KeptLog.objects.filter(rollout__deployment=rollout.deployment_id).order_by()
        newest = kept.values_list("rollout_id", flat=True).distinct().order_by("-rollout_id")[:MAX_ROLLOUTS]
        kept.exclude(rollout_id__in=list(newest)).delete()
        hint(f"deployment:{placement.deployment_id}", placement.deployment.project_id)

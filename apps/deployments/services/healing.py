"""Losses of replicas that nobody asked for, and how long each took to heal."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from apps.core.states import Health
from apps.deployments.health import ReplicaSeen, cause_of_drop, healed_message, lost_message
from apps.deployments.models import Heal, Placement

# Kubernetes gives times in whole seconds: the middle of the second is the best guess.
HALF_A_SECOND = timedelta(seconds=0.5)


def record_heal(
    placement: Placement,
    wanted: int,
    ready: int,
    replicas: Sequence[ReplicaSeen],
    now: datetime,
    *,
    lost: bool,
    apart: int | None = None,
) -> None:
    """Open a heal when replicas were `lost` that nobody asked away; close it when as many are ready as wanted and none
    of them is in trouble.

    What is wrong with a revision that is `apart`, because a rollout only brings it, is no part of the loss.
    """
    heal = Heal.objects.filter(placement=placement, restored_at=None).first()
    if heal is not None:
        # One that ends again and again is ready for the first seconds of each try, and in trouble all the while.
        failing = sum(each.health is Health.DEGRADED for each in replicas if each.revision != apart)
        changes: dict[str, Any] = {"lowest": min(heal.lowest, ready), "message": lost_message(wanted, ready, failing)}
        if ready >= wanted and not (failing and wanted):
            changes["restored_at"] = now
            changes["message"] = healed_message(wanted, (now - heal.dropped_at).total_seconds())
        if not heal.cause:
            replica, cause = cause_of_drop(replicas, since=heal.dropped_at - timedelta(seconds=2))
            changes |= {"replica": replica, "cause": cause}
        if any(getattr(heal, name) != value for name, value in changes.items()):
            Heal.objects.filter(pk=heal.pk, restored_at=None).update(**changes)
        return
    nobody_asked = placement.observed_generation == placement.generation
    if lost and nobody_asked:
        # Whole seconds again: an end just after the last round may bear an earlier time.
        since = placement.observed_at - 2 * HALF_A_SECOND if placement.observed_at else None
        replica, cause = cause_of_drop(replicas, since=since)
        Heal.objects.create(
            placement=placement,
            wanted=wanted,
            lowest=ready,
            replica=replica,
            cause=cause,
            message=lost_message(wanted, ready, 0),
            dropped_at=_dropped_at(replicas, replica, now),
        )


def _dropped_at(replicas: Sequence[ReplicaSeen], replica: str, now: datetime) -> datetime:
    """When the replica ended, where Kubernetes says it; else now, which is later by the time that the news took."""
    ended = next((each.last_ended_at for each in replicas if each.name == replica and each.last_ended_at), None)
    if ended is None or now - ended > timedelta(minutes=1):
        return now
    return min(now, ended if ended.microsecond else ended + HALF_A_SECOND)

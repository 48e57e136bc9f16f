"""Losses of replicas that nobody asked for, and how long each took to heal."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from apps.core.database.rows import put
from apps.core.states import Health
from apps.deployments.health import ReplicaSeen, cause_of_drop, healed_message, lost_message
from apps.deployments.health.rollcall import Loss, sentence
from apps.deployments.models import Heal, Placement

# Kubernetes gives times in whole seconds: the middle of the second is the best guess.
HALF_A_SECOND = timedelta(seconds=0.5)
# A Deployment counts a loss so much later than its pods tell it.
ECHO = timedelta(seconds=2)
# Of so many replicas it is kept what became of them, and so many are told in a sentence each.
KEPT_LOSSES, TOLD_LOSSES = 100, 3


@dataclass(frozen=True)
class Census:
    """How many replicas were wanted and ready in a round, and which there were.

    `lost` says that fewer became ready although nobody asked for it; `losses` are those that were restarted or are gone
    since the round before. Of the revisions that are `short` the pods themselves say that too few are ready. What is
    wrong with one that is `apart`, because a rollout only brings it, is no part of it.
    """

    wanted: int
    ready: int
    replicas: Sequence[ReplicaSeen]
    lost: bool
    losses: Sequence[Loss] = ()
    short: Collection[int] = ()
    apart: int | None = None

    @property
    def failing(self) -> int:
        """How many are in trouble. One that ends again and again is ready for the first seconds of each try, and in
        trouble all the while."""
        return sum(each.health is Health.DEGRADED for each in self.replicas if each.revision != self.apart)

    def is_well(self, lost: Sequence[Mapping[str, Any]]) -> bool:
        """Whether all are ready; by the word of their pods, too, of the revisions that have `lost` some."""
        if self.ready < self.wanted or (self.failing and self.wanted):
            return False
        return not any(each["revision"] in self.short for each in lost)


def record_heal(placement: Placement, seen: Census, now: datetime) -> None:
    """Open a heal when replicas were lost that nobody asked away; close it when as many are ready as wanted and none of
    them is in trouble. One that is over by now is told all the same."""
    heal = Heal.objects.filter(placement=placement, restored_at=None).first()
    losses = [loss for loss in seen.losses if loss.revision != seen.apart]
    nobody_asked = placement.observed_generation == placement.generation
    if heal is None and not losses and not (seen.lost and nobody_asked):
        return
    known = heal or _echoing(placement, losses, seen, now)
    heal = known or _opened(placement, seen, losses, now)
    told = _with(heal.losses, losses)
    # A Deployment that has not counted the loss yet calls all ready still: until then its pods are asked.
    is_counted = min(heal.lowest, seen.ready) < heal.wanted
    is_well, cause = seen.is_well(() if is_counted else told), _cause(heal, told, seen)
    changes: dict[str, Any] = {
        "lowest": min(heal.lowest, seen.ready),
        "message": lost_message(seen.wanted, seen.ready, seen.failing),
        "losses": told,
        "restored_at": None,
        **cause,
    }
    if is_well:
        changes["restored_at"] = restored = _restored_at(heal, losses, now)
        seconds = (restored - heal.dropped_at).total_seconds()
        changes["message"] = healed_message(seen.wanted, seconds, counted=is_counted)
    if known is None:
        for name, value in changes.items():
            setattr(heal, name, value)
        heal.save(force_insert=True)
    elif any(getattr(heal, name) != value for name, value in changes.items()):
        put(heal, **changes)


def _echoing(placement: Placement, losses: Sequence[Loss], seen: Census, now: datetime) -> Heal | None:
    """The heal that has just ended and that this belongs to: its replica is told of only now, or the Deployment counts
    only now what the pods told before."""
    last = Heal.objects.filter(placement=placement).order_by("-id").first()
    if last is None or last.restored_at is None:
        return None
    if losses:
        return last if min((loss.at for loss in losses if loss.at), default=now) <= last.restored_at else None
    is_uncounted = last.losses and last.lowest >= last.wanted
    is_whole = not any(each["revision"] in seen.short for each in last.losses)
    return last if is_uncounted and is_whole and now <= last.restored_at + ECHO else None


def _opened(placement: Placement, seen: Census, losses: Sequence[Loss], now: datetime) -> Heal:
    """A heal, not stored yet."""
    # Whole seconds again: an end just after the last round may bear an earlier time.
    since = placement.observed_at - 2 * HALF_A_SECOND if placement.observed_at else None
    replica, cause = cause_of_drop(seen.replicas, since=since)
    dropped = min((_middle(loss.at) for loss in losses if loss.at), default=_dropped_at(seen.replicas, replica, now))
    return Heal(
        placement=placement,
        wanted=seen.wanted,
        lowest=seen.ready,
        replica=replica,
        cause=cause,
        dropped_at=min(now, dropped),
    )


def _restored_at(heal: Heal, losses: Sequence[Loss], now: datetime) -> datetime:
    """When all were ready again: of what was over before anybody looked, as the pods say it; else now."""
    if heal.pk is not None and heal.restored_at is None:
        return now
    backs = [_middle(loss.back_at) if loss.back_at else now for loss in losses]
    return min(now, max([heal.dropped_at, *backs, *([heal.restored_at] if heal.restored_at else [])]))


def _cause(heal: Heal, told: Sequence[Mapping[str, Any]], seen: Census) -> dict[str, str]:
    """The replica that was lost first, and what became of all that were."""
    if told:
        said = [sentence(*(each[key] for key in ("replica", "restarts", "is_gone", "said"))) for each in told]
        more = [f"And {len(said) - TOLD_LOSSES} more."] if len(said) > TOLD_LOSSES else []
        return {"replica": told[0]["replica"], "cause": " ".join([*said[:TOLD_LOSSES], *more])}
    if heal.cause:
        return {}
    replica, cause = cause_of_drop(seen.replicas, since=heal.dropped_at - timedelta(seconds=2))
    return {"replica": replica, "cause": cause}


def _with(told: Sequence[Mapping[str, Any]], losses: Sequence[Loss]) -> list[dict[str, Any]]:
    """What became of each replica, with these losses: restarts of one add up."""
    entries = {each["replica"]: dict(each) for each in told}
    for loss in losses:
        entry = entries.setdefault(
            loss.replica,
            {"replica": loss.replica, "revision": loss.revision, "restarts": 0, "is_gone": False, "said": ""},
        )
        entry["restarts"] += loss.restarts
        entry["is_gone"] |= loss.is_gone
        entry["said"] = loss.said or entry["said"]
    return list(entries.values())[:KEPT_LOSSES]


def _dropped_at(replicas: Sequence[ReplicaSeen], replica: str, now: datetime) -> datetime:
    """When the replica ended, where Kubernetes says it; else now, which is later by the time that the news took."""
    ended = next((each.last_ended_at for each in replicas if each.name == replica and each.last_ended_at), None)
    if ended is None or now - ended > timedelta(minutes=1):
        return now
    return min(now, _middle(ended))


def _middle(at: datetime) -> datetime:
    return at if at.microsecond else at + HALF_A_SECOND

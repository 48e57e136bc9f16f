"""Conditions as they are stored: a list of meta/v1 dicts whose transition times survive what does not change. Pure.

`clusterstate.py` decides which conditions a cluster has.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from apps.clusters.observed.values import moment


@dataclass(frozen=True)
class Condition:
    """One condition as in meta/v1; `status` is "True", "False" or "Unknown"."""

    type: str
    status: str
    reason: str
    message: str


# Why a watcher that has only begun does not know something yet.
_BEGINNING = frozenset({"Connecting", "Listing"})


def merge(
    old: Sequence[dict[str, Any]], new: Iterable[Condition], now: datetime, *, resuming: bool = False
) -> list[dict[str, Any]]:
    """The stored form of `new`; `last_transition_time` moves only where the status did.

    While a watcher is `resuming`, what is not known yet stays as it was recorded: since when something is so is not
    forgotten because a process was started again.
    """
    before = {past["type"]: past for past in old}
    merged: list[dict[str, Any]] = []
    for condition in new:
        known = before.get(condition.type)
        if resuming and known is not None and _stays(known, condition):
            merged.append(known)
            continue
        moved = known is None or known["status"] != condition.status
        merged.append(
            {
                "type": condition.type,
                "status": condition.status,
                "reason": condition.reason,
                "message": condition.message,
                "last_transition_time": now.isoformat() if moved or known is None else known["last_transition_time"],
            }
        )
    return merged


def replaced(stored: Iterable[dict[str, Any]], new: Condition, now: datetime) -> list[dict[str, Any]]:
    """Stored conditions with `new` in the place of the one of its type."""
    return [merge([condition], [new], now)[0] if condition["type"] == new.type else condition for condition in stored]


def shown(stored: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Stored conditions for a page: with `since` when each is as it is, as a moment."""
    return [condition | {"since": moment(condition.get("last_transition_time"))} for condition in stored]


def _stays(known: dict[str, Any], condition: Condition) -> bool:
    return known["status"] != "Unknown" == condition.status and condition.reason in _BEGINNING

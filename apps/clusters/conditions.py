"""Conditions as they are stored: a list of meta/v1 dicts whose transition times survive what does not change. Pure."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from apps.clusters.states import Condition


def merge(old: Sequence[dict[str, Any]], new: Iterable[Condition], now: datetime) -> list[dict[str, Any]]:
    """The stored form of `new`; `last_transition_time` moves only where the status did."""
    before = {found["type"]: found for found in old}
    merged: list[dict[str, Any]] = []
    for condition in new:
        known = before.get(condition.type)
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

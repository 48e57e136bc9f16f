"""Taints and tolerations: which pods may be on a node, and for how long. Pure.

https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

NO_SCHEDULE, PREFER_NO_SCHEDULE, NO_EXECUTE = "NoSchedule", "PreferNoSchedule", "NoExecute"

Taint = Mapping[str, Any]
Toleration = Mapping[str, Any]


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    """Does a toleration match a taint? An empty key (with Exists) matches every key, an empty effect every effect."""
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    if (toleration.get("operator") or "Equal") == "Exists":
        return True
    return bool(toleration.get("key")) and (toleration.get("value") or "") == (taint.get("value") or "")


def tolerated(taint: Taint, tolerations: Iterable[Toleration]) -> bool:
    """Is there a toleration that matches the taint?"""
    return any(tolerates(toleration, taint) for toleration in tolerations)


def seconds_left_on(taints: Iterable[Taint], tolerations: Iterable[Toleration]) -> float | None:
    """The seconds that a pod may stay beside NoExecute taints: 0 when it does not tolerate one at all, None: for ever.

    Where several tolerations limit the time, the shortest counts.
    """
    limits: list[float] = []
    for taint in taints:
        if taint.get("effect") != NO_EXECUTE:
            continue
        matching = [toleration for toleration in tolerations if tolerates(toleration, taint)]
        if not matching:
            return 0.0
        stays = (each.get("tolerationSeconds") for each in matching)
        limits += [max(float(seconds), 0.0) for seconds in stays if seconds is not None]
    return min(limits, default=None)

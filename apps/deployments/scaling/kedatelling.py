"""What KEDA says of a ScaledObject → one sentence for people. Pure.

It is read as the watcher stores it (`apps.clusters.observed.rows`): KEDA's own conditions Ready, Active, Fallback and
Paused. How many replicas are wanted while one is there says the autoscaler that KEDA makes.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from apps.deployments.scaling.policy import Autoscaling
from apps.deployments.scaling.telling import Told, plain, told

CONDITIONS = ("Ready", "Active", "Fallback", "Paused")


def told_by_keda(
    scaled: Mapping[str, Any] | None,
    scaler: Mapping[str, Any] | None,
    policy: Autoscaling,
    count: int,
    *,
    has_metrics: bool,
    rolls: bool,
) -> Told:
    """What KEDA says of a placement with `count` replicas; `scaled` is None where its ScaledObject is not seen, and
    `scaler` where the autoscaler that KEDA makes of it is not."""
    if scaled is None:
        return Told("Progressing", None, None, "Its ScaledObject is not seen on the cluster yet.")
    conditions = {each.get("type"): each for each in scaled.get("conditions") or []}
    says = {name: str((conditions.get(name) or {}).get("status") or "Unknown") for name in CONDITIONS}
    said = _said(scaled, conditions, says, count)
    if said is None:
        said = told(scaler, policy, has_metrics=has_metrics, rolls=rolls)
        if scaler is None:
            said = Told("Progressing", count, None, "A trigger is active. KEDA's own autoscaler is not seen yet.")
    return replace(said, conditions=tuple(says.items()))


def _said(
    scaled: Mapping[str, Any], conditions: Mapping[Any, Mapping[str, Any]], says: Mapping[str, str], count: int
) -> Told | None:
    """What is told by KEDA itself; None where its autoscaler tells it."""
    if says["Ready"] == "Unknown":
        return Told("Progressing", count, None, "KEDA has not looked at it yet.")
    if says["Ready"] == "False":
        return Told("Degraded", count, None, f"KEDA can't scale it: {plain(conditions['Ready'])}")
    if says["Paused"] == "True":
        at = scaled.get("paused_at")
        return Told("Suspended", count, count, f"KEDA is paused{'' if at is None else f' at {at}'}.")
    if says["Fallback"] == "True":
        return Told("Warning", count, count, f"A trigger fails, and KEDA falls back: {plain(conditions['Fallback'])}")
    if says["Active"] == "False" and count == 0:
        return Told("Healthy", 0, 0, "Idle: no trigger is active. KEDA starts it when one is.")
    if says["Active"] == "False" and not scaled.get("min"):
        return Told("Healthy", count, None, "No trigger is active: KEDA stops it when that has lasted for long enough.")
    return None

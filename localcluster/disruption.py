"""PodDisruptionBudgets: what they allow. Pure.

https://kubernetes.io/docs/tasks/run-application/configure-pdb/
https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from localcluster.errors import StatusError

Object = Mapping[str, Any]

SUFFICIENT, INSUFFICIENT = "SufficientPods", "InsufficientPods"


@dataclass(frozen=True, slots=True)
class Counts:
    """A budget's pods: the figures of its status."""

    expected: int
    desired: int
    healthy: int

    @property
    def allowed(self) -> int:
        """The number of pods that may go now."""
        return max(self.healthy - self.desired, 0) if self.expected > 0 else 0


def count(spec: Object, pods: int, healthy: int, scale: int) -> Counts:
    """The counts of a budget over `pods` pods whose controllers want `scale` of them. Percentages are rounded up.

    One that names neither figure expects no pods, and so allows no eviction.
    """
    if (most := spec.get("maxUnavailable")) is not None:
        return Counts(scale, max(scale - _share(most, scale), 0), healthy)
    least = spec.get("minAvailable")
    if least is None:
        return Counts(0, 0, healthy)
    if isinstance(least, int):
        return Counts(pods, least, healthy)
    return Counts(scale, _share(least, scale), healthy)


def needs_scale(spec: Object) -> bool:
    """Does a budget count by what the controllers of its pods want?"""
    return spec.get("maxUnavailable") is not None or isinstance(spec.get("minAvailable"), str)


def _share(value: int | str, of: int) -> int:
    text = str(value)
    return math.ceil(round(int(text[:-1]) * of / 100, 9)) if text.endswith("%") else int(text)


class Verdict(StrEnum):
    """The answer to an eviction."""

    FREE = "free"  # no budget counts the pod
    SPEND = "spend"  # its budget has one less from now on


def verdict(pod: Object, budgets: Sequence[Object]) -> Verdict:
    """May a pod be evicted, given the budgets that select it?

    Raises StatusError 429 when its budget does not allow it now, 500 when there are several.
    """
    status = pod.get("status") or {}
    if status.get("phase") in {"Succeeded", "Failed", "Pending"} or pod["metadata"].get("deletionTimestamp"):
        return Verdict.FREE
    if not budgets:
        return Verdict.FREE
    if len(budgets) > 1:
        several = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        raise StatusError(500, "InternalError", several)
    (budget,) = budgets
    name, have = budget["metadata"]["name"], budget.get("status") or {}
    if not _ready(status) and _unready_may_go(budget, have):
        return Verdict.FREE
    if (have.get("observedGeneration") or 0) < budget["metadata"].get("generation", 1):
        raise _refused(f"The disruption budget {name} is still being processed by the server.", 10)
    if not have.get("disruptionsAllowed"):
        desired, healthy = have.get("desiredHealthy", 0), have.get("currentHealthy", 0)
        raise _refused(f"The disruption budget {name} needs {desired} healthy pods and has {healthy} currently")
    return Verdict.SPEND


def _ready(status: Object) -> bool:
    return any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions") or ())


def _unready_may_go(budget: Object, have: Object) -> bool:
    """Pods that run and are not ready: always, or while the application is healthy without them."""
    if budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    desired = have.get("desiredHealthy", 0)
    return bool(desired > 0 and have.get("currentHealthy", 0) >= desired)


def _refused(why: str, retry_after: int = 0) -> StatusError:
    details: dict[str, Any] = {"causes": [{"reason": "DisruptionBudget", "message": why}]}
    if retry_after:
        details["retryAfterSeconds"] = retry_after
    message = "Cannot evict pod as it would violate the pod's disruption budget."
    return StatusError(429, "TooManyRequests", message, details)

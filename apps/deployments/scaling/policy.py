"""When a deployment shall have more replicas and when fewer, as a person asks for it.

The policy is the deployment's, no revision's: changing it restarts nothing, and a rollout passes it on. The words are
those of a HorizontalPodAutoscaler (autoscaling/v2) where there are any. With triggers it is KEDA that scales it, which
makes such an autoscaler of its own, and starts and stops the first replica.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from apps.core.errors import Invalid
from apps.deployments.scaling.triggers import Trigger, parse_triggers
from apps.deployments.specs import MAX_REPLICAS, an_object, refuse_unknown, whole

DEFAULT_CPU_PERCENT = 80
DEFAULT_STABILIZATION_SECONDS = 300
MAX_STABILIZATION_SECONDS = 3600
MAX_REQUESTS = 1_000_000
DEFAULT_REQUESTS_METRIC = "http_requests_per_second"
# The engines that answer for requests, and scale by triggers: as `apps.clusters.connect.engines` calls them.
CUSTOM_METRICS, KEDA = "Custom metrics", "KEDA"
_METRIC = re.compile(r"[A-Za-z_:][A-Za-z0-9_:./-]{0,199}")
_KEYS = (
    "min", "max", "cpu_percent", "memory_percent", "requests_per_replica", "requests_metric",
    "scale_down_stabilization_seconds", "triggers",
)  # fmt: skip


@dataclass(frozen=True)
class Bounds:
    """How many replicas there are at least and at most."""

    least: int
    most: int

    def clamp(self, count: int) -> int:
        """The number within the bounds that is nearest to `count`."""
        return min(max(count, self.least), self.most)


@dataclass(frozen=True)
class Autoscaling:
    """What is scaled by: the share of its request that a replica uses on average, in percent, or the requests per
    second that it gets. Of several targets the one that asks for most replicas decides."""

    bounds: Bounds
    cpu_percent: int | None = None
    memory_percent: int | None = None
    requests_per_replica: int | None = None
    # The name under which the cluster's custom metrics API knows the requests of a pod.
    requests_metric: str = DEFAULT_REQUESTS_METRIC
    scale_down_stabilization_seconds: int = DEFAULT_STABILIZATION_SECONDS
    triggers: tuple[Trigger, ...] = ()

    @property
    def by_keda(self) -> bool:
        """Whether KEDA scales it."""
        return bool(self.triggers)

    @property
    def needs(self) -> tuple[str, ...]:
        """The engines that a cluster must have for it."""
        if self.by_keda:
            return (KEDA,)
        return () if self.requests_per_replica is None else (CUSTOM_METRICS,)

    def to_json(self) -> dict[str, Any]:
        """The form that is stored and shown. Targets that are not asked for are left out."""
        said: dict[str, Any] = {"min": self.bounds.least, "max": self.bounds.most}
        targets = {
            "cpu_percent": self.cpu_percent,
            "memory_percent": self.memory_percent,
            "requests_per_replica": self.requests_per_replica,
        }
        said |= {name: value for name, value in targets.items() if value is not None}
        if self.requests_per_replica is not None:
            said["requests_metric"] = self.requests_metric
        if self.triggers:
            said["triggers"] = [trigger.to_json() for trigger in self.triggers]
        return said | {"scale_down_stabilization_seconds": self.scale_down_stabilization_seconds}


def stored_policy(data: Any) -> Autoscaling | None:
    """The policy that a deployment keeps; None where it has none. Raises Invalid."""
    return parse_autoscaling(data) if data else None


def parse_autoscaling(data: Any) -> Autoscaling:
    """The policy that `data` asks for. Raises Invalid naming the field and what it should be."""
    value = an_object(data, "autoscaling")
    refuse_unknown(value, "autoscaling", _KEYS)
    percent = {
        name: whole(value[name], f"autoscaling.{name}", 1, 1, 100)
        for name in ("cpu_percent", "memory_percent")
        if value.get(name) not in (None, "")
    }
    requests = value.get("requests_per_replica")
    asked = None if requests in (None, "") else whole(requests, "autoscaling.requests_per_replica", 1, 1, MAX_REQUESTS)
    triggers = parse_triggers(value.get("triggers") or [], "autoscaling.triggers")
    if triggers and asked is not None:
        raise Invalid(
            "KEDA knows no requests of pods: scale by a trigger, or by requests_per_replica.",
            field="autoscaling.requests_per_replica",
            hint="A prometheus trigger can count them: sum(rate(http_requests_total[1m])).",
        )
    if not percent and asked is None and not triggers:
        percent = {"cpu_percent": DEFAULT_CPU_PERCENT}
    return Autoscaling(
        bounds=_bounds(value, has_triggers=bool(triggers)),
        triggers=triggers,
        cpu_percent=percent.get("cpu_percent"),
        memory_percent=percent.get("memory_percent"),
        requests_per_replica=asked,
        requests_metric=_metric(value.get("requests_metric")),
        scale_down_stabilization_seconds=whole(
            value.get("scale_down_stabilization_seconds"),
            "autoscaling.scale_down_stabilization_seconds",
            DEFAULT_STABILIZATION_SECONDS,
            0,
            MAX_STABILIZATION_SECONDS,
        ),
    )


def _bounds(value: Mapping[str, Any], *, has_triggers: bool) -> Bounds:
    if value.get("max") in (None, ""):
        raise Invalid("How many replicas at most?", field="autoscaling.max", hint='For example {"min": 1, "max": 8}.')
    least = whole(value.get("min"), "autoscaling.min", 1, 0, MAX_REPLICAS)
    if least == 0 and not has_triggers:
        raise Invalid(
            "autoscaling.min is 1 at least: a HorizontalPodAutoscaler can't scale to zero.",
            field="autoscaling.min",
            hint="Where the cluster has KEDA, give it triggers that start it again; or a schedule in which it sleeps.",
        )
    most = whole(value.get("max"), "autoscaling.max", least, 1, MAX_REPLICAS)
    if most < least:
        raise Invalid(f"autoscaling.max is {most}, and autoscaling.min is {least}.", field="autoscaling.max")
    return Bounds(least, most)


def _metric(value: Any) -> str:
    if value in (None, ""):
        return DEFAULT_REQUESTS_METRIC
    if not isinstance(value, str) or not _METRIC.fullmatch(value):
        raise Invalid(
            f"{value!r} is no name of a metric.",
            field="autoscaling.requests_metric",
            hint=f"For example {DEFAULT_REQUESTS_METRIC}.",
        )
    return value

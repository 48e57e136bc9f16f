"""What autoscaling says on a deployment's page."""

from typing import Any, NamedTuple

from django.utils import timezone

from apps.clusters.quantities.words import plural
from apps.clusters.services import why_silent
from apps.deployments import selectors
from apps.deployments.models import Deployment, Placement
from apps.deployments.scaling import keda, manifest
from apps.deployments.scaling.kedatelling import told_by_keda
from apps.deployments.scaling.policy import Autoscaling, stored_policy
from apps.deployments.scaling.schedule import InForce, in_force_of
from apps.deployments.scaling.telling import Told, told


class ScalerRow(NamedTuple):
    """The autoscaler of one placement, and what it says."""

    place: Placement
    told: Told

    @property
    def replicas(self) -> str:
        """ "3", or "3 → 4" while it wants another number."""
        if self.told.current is None:
            return "–"
        return f"{self.told.current} → {self.told.desired}" if self.told.moves else str(self.told.current)

    @property
    def conditions(self) -> str:
        """ "Ready True, Active False": KEDA's own words, where it is KEDA that scales."""
        return ", ".join(f"{name} {status}" for name, status in self.told.conditions)

    @property
    def plural(self) -> str:
        """The end of "replicas"."""
        return "" if self.replicas == "1" else "s"


class Scaler:
    """Autoscaling on a deployment's page."""

    def __init__(self, deployment: Deployment, policy: Autoscaling) -> None:
        self.policy, self.force = policy, in_force_of(deployment, timezone.now())
        seen = selectors.autoscalers_of(deployment)
        rolls = deployment.under_way is not None
        says = [_told(place, seen.get(place.pk, {}), policy, rolls, self.force) for place in deployment.places]
        self.rows = [ScalerRow(place, told) for place, told in zip(deployment.places, says, strict=True)]

    @property
    def first(self) -> ScalerRow:
        """The one that needs somebody most, else the first."""
        order = ("Degraded", "Unknown", "Warning", "Progressing")
        return min(self.rows, key=lambda row: order.index(row.told.state) if row.told.state in order else len(order))

    @property
    def needs_somebody(self) -> bool:
        """Whether it can't do what it is for, or may not do more."""
        return self.first.told.state in ("Degraded", "Unknown", "Warning")

    @property
    def count(self) -> str:
        """ "3 replicas", "3 → 4 replicas"; over several targets as many as there are on all of them."""
        if len(self.rows) == 1:
            return f"{self.first.replicas} replica{self.first.plural}"
        return plural(sum(row.told.current or 0 for row in self.rows), "replica")

    @property
    def range(self) -> str:
        """ "2–5 allowed", "2–5 allowed on each target"."""
        return f"{self.bounds} allowed{' on each target' if len(self.rows) > 1 else ''}"

    @property
    def bounds(self) -> str:
        """ "1–8": of now."""
        least, most = self.force.bounds.least, self.force.bounds.most
        return str(most) if least == most else f"{least}–{most}"

    @property
    def targets(self) -> str:
        """ "CPU 70 %, memory 80 %": what is scaled by."""
        parts = [f"CPU {self.policy.cpu_percent} %"] if self.policy.cpu_percent else []
        parts += [f"memory {self.policy.memory_percent} %"] if self.policy.memory_percent else []
        if self.policy.requests_per_replica:
            parts.append(f"{self.policy.requests_per_replica} requests a second")
        parts += [trigger.words for trigger in self.policy.triggers]
        return ", ".join(parts)


def scaler_of(deployment: Deployment) -> Scaler | None:
    """What autoscaling says of the deployment; None where people say how many replicas there are."""
    policy = stored_policy(deployment.autoscaling)
    return Scaler(deployment, policy) if policy is not None and deployment.places else None


def _told(place: Placement, seen: dict[str, dict[str, Any]], policy: Autoscaling, rolls: bool, force: InForce) -> Told:
    cluster = place.target.cluster
    if silent := why_silent(cluster):
        known = _says(place, seen, policy, rolls=False)
        return Told("Unknown", known.current, None, f"{silent}: it scales there by itself.")
    if force.sleeps and not place.wanted_replicas:
        return Told("Suspended", 0, 0, force.sleeps_until)
    return _says(place, seen, policy, rolls=rolls and place.coming_id is not None)


def _says(place: Placement, seen: dict[str, dict[str, Any]], policy: Autoscaling, *, rolls: bool) -> Told:
    """What it says itself, as it was seen last."""
    scaler, has_metrics = seen.get(manifest.KIND), place.target.cluster.has_metrics
    if not policy.by_keda:
        return told(scaler, policy, has_metrics=has_metrics, rolls=rolls)
    count = place.wanted_replicas
    return told_by_keda(seen.get(keda.KIND), scaler, policy, count, has_metrics=has_metrics, rolls=rolls)

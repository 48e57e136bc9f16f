"""What applying is to the rounds of a `RowFleet`."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from apps.deployments.models import Placement
from apps.deployments.reconcile.scaling import Scaling
from apps.deployments.rollout.decisions import Decision
from apps.deployments.rollout.refusals import Refusal
from apps.deployments.rollout.traffic import Routed, Selected, Traffic
from apps.deployments.scaling.manifest import KIND as KIND_OF_SCALER

if TYPE_CHECKING:
    from tests.deployments.rowfleet import RowFleet


class ToyApplying:
    """A round's writes to a toy cluster. Its process may end between any two of them, and each may be refused."""

    def __init__(
        self, fleet: "RowFleet", client: Any, placement: Placement, identity: Any, live: Any, kept: Any
    ) -> None:
        self.fleet, self.placement = fleet, placement
        self.unsettled = None
        self.refusals: list[Refusal] = []

    @property
    def kept_scalers(self) -> list[str]:
        return [KIND_OF_SCALER] if self.placement.pk in self.fleet.scalers else []

    @property
    def selected(self) -> Selected | None:
        return self.fleet.selected.get(self.placement.pk)

    @property
    def traffic(self) -> Traffic:
        return Traffic(selects=self.selected.revision if self.selected else None)

    def routed(self, now: datetime) -> Routed | None:
        gateway = self.fleet.gateways.get(self.placement.pk)
        if gateway is not None and self.fleet.is_calm:
            gateway.refuses = False
            gateway.act(now, takes=True)
        return gateway.seen(now) if gateway is not None else None

    def run(self, decision: Decision, scaling: Scaling, now: datetime) -> list[Any]:
        self.fleet.may_die()
        if toy := self.fleet.toys.get(self.placement.pk):
            self.fleet.keeps_capacity(self.placement, decision, scaling.desired)
            had = self.fleet.scalers.get(self.placement.pk)
            serving = self.placement.serving.number if self.placement.serving else 0
            holds = had is not None and had[0] != serving
            if not self.is_refused("scaler", (serving, scaling.bounds) if scaling.policy else None,
                                   had and (had[0], had[1].bounds), holds=holds):  # fmt: skip
                self.fleet.autoscale(self.placement, scaling)
            self.fleet.may_die()
            if not any(refusal.holds for refusal in self.refusals):
                for number, count in decision.replicas.items():
                    has = toy.seen[number].wanted if number in toy.seen else None
                    if not self.is_refused(f"r{number}", count, has):
                        toy.apply({number: count})
                    self.fleet.may_die()
            selects, before = decision.traffic.selects, self.selected
            if not self.is_refused("Service", selects, before.revision if before else -1):
                self.fleet.select(self.placement.pk, selects, scaling.desired)
            self.fleet.may_die()
            if (gateway := self.fleet.gateways.get(self.placement.pk)) is not None:
                if not self.is_refused("HTTPRoute", decision.traffic.route, gateway.route):
                    gateway.apply(decision.traffic, now)
                self.fleet.may_die()
        self.fleet.meanwhile()
        self.fleet.may_die()
        return []

    def is_refused(self, what: str, wanted: object, has: object, *, holds: bool = True) -> bool:
        status = self.fleet.refused.get((self.placement.pk, what), 0)
        if wanted == has or not status:
            return False
        holds = holds or what != "scaler"
        self.refusals.append(Refusal(what, status, "Refused", f"No {what} like that.", holds=holds))
        return True

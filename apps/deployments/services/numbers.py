"""How many replicas a new deployment has, and who says it later on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apps.core.errors import Invalid
from apps.deployments.rollout.spread import Spread, even, stored_spread
from apps.deployments.scaling.policy import Autoscaling, stored_policy
from apps.deployments.scaling.schedule import Schedule, check_slots, stored_schedule
from apps.deployments.selectors.loads import most_of
from apps.deployments.specs import check_replicas


@dataclass(frozen=True)
class Numbers:
    """The replicas that each target begins with; and of an autoscaler, a spread and a schedule those that there are."""

    counts: list[int]
    policy: Autoscaling | None = None
    spread: Spread | None = None
    schedule: Schedule = ()

    def to_json(self) -> dict[str, Any]:
        """The columns of a deployment that keep it."""
        return {
            "autoscaling": self.policy.to_json() if self.policy else {},
            "spread": self.spread.to_json() if self.spread else None,
            "schedule": [slot.to_json() for slot in self.schedule],
        }

    @property
    def most(self) -> list[int]:
        """The replicas that count on each target against its quota."""
        kept = self.to_json()
        return [most_of(kept["schedule"], kept["autoscaling"], count) for count in self.counts]


def numbers_of(
    targets: int,
    replicas: int,
    autoscaling: Mapping[str, Any] | None,
    spread: Mapping[str, Any] | None,
    schedule: Sequence[Any] | None,
) -> Numbers:
    """The numbers that somebody asks for on so many targets. Raises Invalid, also where they don't go together."""
    count, policy, over_all = check_replicas(replicas), stored_policy(autoscaling), stored_spread(spread)
    slots = stored_schedule(schedule)
    if policy and over_all:
        raise Invalid("An autoscaler says how many replicas each target has: none are spread.", field="spread")
    if slots and over_all:
        raise Invalid("A schedule says how many replicas each target has: none are spread.", field="spread")
    check_slots(slots, policy)
    counts = even(over_all.replicas, targets) if over_all else [count] * targets
    return Numbers(counts, policy, over_all, slots)

"""The canary strategy: (a weight, what was observed, now) → how many replicas each revision gets. Pure.

A plain cluster spreads requests evenly over the ready replicas of a Service, so a weight is a ratio of replicas, as in
Argo Rollouts without traffic routing (docs/features/canary.md). One thing is more careful than there, where the stable
revision gives up a replica for each of the canary's: up to a weight of 50 the stable one stays whole and the canary
comes beside it, so that taking it back costs no capacity; above that the canary is whole, and the stable one shrinks
to its part by as much as the canary is ready. So a canary takes up to twice the replicas that are desired.

Where somebody else says how many replicas the stable revision has, an autoscaler say, it is left whole at any weight.

It decides weights between 0 and 100; both ends are a rolling passage to the one revision or the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from apps.deployments.rollout.decisions import NOTHING, Decision, RolloutStatus, changes, in_replicas, judge
from apps.deployments.rollout.traffic import actual_weight
from apps.deployments.specs import ObservedRevision

# Why a canary that has its replicas has another share: whoever scales what serves keeps that whole, or the number of
# replicas gives no nearer one.
WEIGHT_HELD, WEIGHT_NEAR = "WeightHeld", "WeightNear"


@dataclass(frozen=True)
class CanarySpec:
    """What is wanted: the numbers of the revision that serves and of the one on trial, which gets `weight` percent.

    With a `scaler` that says how many replicas the stable one has, it is not ours to shrink: `desired` is that number.
    """

    desired: int
    stable: int
    canary: int
    weight: int
    max_surge: int = 1
    progress_deadline: timedelta = timedelta(minutes=10)
    scaler: str = ""

    def __post_init__(self) -> None:
        """Raises ValueError for what this strategy does not decide."""
        if not 0 < self.weight < 100 or self.stable == self.canary:
            raise ValueError(f"{self} is no canary beside a stable revision")

    @property
    def stable_share(self) -> int:
        """The replicas that the stable revision keeps at this weight, once the canary is ready."""
        if self.weight <= 50 or self.scaler:
            return self.desired
        return self._part(100 - self.weight, self.weight)

    @property
    def canary_share(self) -> int:
        """The replicas that the canary gets at this weight."""
        if self.weight > 50:
            return self.desired
        return self._part(self.weight, 100 - self.weight)

    def _part(self, part: int, whole: int) -> int:
        """Rounded half up; whoever has a weight has a replica."""
        return min(self.desired, max(1, (2 * self.desired * part + whole) // (2 * whole)))


def decide(
    spec: CanarySpec, status: RolloutStatus, observed: Mapping[int, ObservedRevision], now: datetime
) -> Decision:
    """Decide the next step from what is seen now; asking again with the same input gives the same answer."""
    stable, canary = observed.get(spec.stable, NOTHING), observed.get(spec.canary, NOTHING)
    others = {number: seen for number, seen in observed.items() if number not in (spec.stable, spec.canary)}
    canary_replicas = _canary(spec, canary, stable, others)
    canary_ready = min(canary.surely_ready, canary_replicas)
    # What the canary lacks the stable one has: before it shrinks, and also when the canary loses replicas later.
    stable_replicas = max(spec.stable_share, spec.desired - canary_ready)
    missing = spec.desired - canary_ready - min(stable.surely_ready, stable_replicas)
    replicas = {**_retire(others, missing), spec.stable: stable_replicas, spec.canary: canary_replicas}
    return judge(
        status,
        observed,
        replicas,
        now,
        target=spec.canary,
        deadline=spec.progress_deadline,
        done=_arrived(spec, replicas, observed),
        waiting=_waiting(spec, replicas, observed),
        stuck=f"{canary_ready} of {in_replicas(spec.canary_share)} ready for a weight of {spec.weight} %.",
    )


def _canary(
    spec: CanarySpec, canary: ObservedRevision, stable: ObservedRevision, others: Mapping[int, ObservedRevision]
) -> int:
    """The canary's replicas: as many as a surge until one is ready, then its share; never fewer than are needed."""
    share = spec.canary_share
    if canary.wanted >= share:
        return max(share, min(canary.wanted, spec.desired - stable.surely_ready))
    is_proven = canary.ready > 0 or not any(seen.surely_ready for seen in (stable, *others.values()))
    return share if is_proven else max(canary.wanted, min(share, max(1, spec.max_surge)))


def _retire(others: Mapping[int, ObservedRevision], missing: int) -> dict[int, int]:
    """What is left of superseded revisions: nothing but the ready replicas that nobody else replaces yet."""
    left = dict.fromkeys(others, 0)
    for number in sorted(others, key=lambda number: (others[number].surely_ready, number), reverse=True):
        left[number] = max(0, min(missing, others[number].surely_ready))
        missing -= left[number]
    return left


def _arrived(
    spec: CanarySpec, replicas: Mapping[int, int], observed: Mapping[int, ObservedRevision]
) -> tuple[str, str] | None:
    """Reason and sentence when the canary has all its replicas ready and nobody else has more than is wanted.

    How the stable revision fares does not count: a broken one is what a canary may be there to replace.
    """
    if changes(replicas, observed) or not all(seen.fresh for seen in observed.values()):
        return None
    canary, share = observed[spec.canary], spec.canary_share
    if canary.wanted < share or canary.existing != canary.wanted or canary.surely_ready != canary.wanted:
        return None
    if any(seen.existing > seen.wanted for seen in observed.values()):
        return None
    if spec.desired == 0:
        return "WeightReached", f"Revision {spec.canary} is in place beside revision {spec.stable}, scaled to zero."
    stable, had = observed[spec.stable], actual_weight(observed, spec.canary)
    there = f"{_ready(canary)} of revision {spec.canary} ready beside {stable.surely_ready} of revision {spec.stable}"
    if had == spec.weight:
        return "WeightReached", f"{there}: {had} % of the requests."
    wanted = f"{there}: {had} % of the requests, and {spec.weight} % are wanted"
    if spec.scaler and spec.weight > 50:
        return WEIGHT_HELD, f"{wanted}. {spec.scaler} says how many replicas revision {spec.stable} has."
    return WEIGHT_NEAR, f"{wanted}."


def _waiting(
    spec: CanarySpec, replicas: Mapping[int, int], observed: Mapping[int, ObservedRevision]
) -> tuple[str, str]:
    """CamelCase reason and sentence for a canary that is on its way to its weight."""
    canary, name = observed.get(spec.canary), f"revision {spec.canary}"
    wanted = replicas[spec.canary]
    if canary is None:
        kept = f"beside {replicas[spec.stable]} of revision {spec.stable}"
        return "Creating", f"Revision {spec.canary} is being created with {in_replicas(wanted)} {kept}."
    for number in (spec.canary, spec.stable):
        had = observed.get(number, NOTHING).wanted
        if replicas[number] > had:
            return "ScalingUp", f"Revision {number} grows from {had} to {in_replicas(replicas[number])}."
    shrinking = [n for n, count in replicas.items() if n in observed and count < observed[n].wanted]
    if shrinking:
        which = " and ".join(f"revision {number} to {replicas[number]}" for number in shrinking)
        return "ScalingDown", f"{canary.surely_ready} of {name} ready; shrinking {which}."
    if not all(seen.fresh for seen in observed.values()):
        return "Observing", f"Waiting for Kubernetes to act on {name} and those beside it."
    if canary.surely_ready < canary.wanted or canary.wanted < spec.canary_share:
        more = spec.canary_share - canary.wanted
        rest = f" {more} more follow as soon as one is ready." if more > 0 else ""
        return "WaitingForReady", f"{_ready(canary)} of {name} ready.{rest}"
    return "WaitingForOld", f"Revision {spec.canary} is ready; replicas that are told to go are still there."


def _ready(seen: ObservedRevision) -> str:
    return f"{seen.surely_ready} of {in_replicas(seen.wanted)}"

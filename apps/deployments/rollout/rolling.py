"""The rolling strategy: (what is wanted, what was observed, now) → how many replicas each revision gets. Pure.

The bounds are those of the Kubernetes Deployment controller (pkg/controller/deployment/rolling.go), spread over one
Kubernetes Deployment for each revision:

- the total never exceeds `desired + max_surge`;
- an old revision shrinks only by what the ready replicas leave above `desired - max_unavailable`, so that it shrinks
  only when the new one is Ready;
- replicas of old revisions that are not ready go first, whichever revision they belong to, so that a broken stable
  revision or a superseded half-way one never blocks the next.

One thing is more careful than there: while no replica of the new revision was ever ready and an old one serves, the new
one gets no more than the surge, and a scale-up meanwhile goes to the old. A broken revision can't eat the capacity.

An urgent passage takes a bad revision back: what serves instead comes at once, whole, beside what is there, and what is
bad goes as fast as that becomes ready; of the capacity nothing is given up for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from apps.deployments.rollout.decisions import NOTHING, Decision, RolloutStatus, changes, in_replicas, judge
from apps.deployments.specs import ObservedRevision


@dataclass(frozen=True)
class RollingSpec:
    """What is wanted. `target` is the number of the revision that shall serve; `urgent` when the others are bad.

    With `keeps_new` somebody else, an autoscaler say, may have given the new one more replicas: these are not taken.
    """

    desired: int
    target: int
    max_surge: int = 1
    max_unavailable: int = 0
    progress_deadline: timedelta = timedelta(minutes=10)
    stable: int | None = None
    urgent: bool = False
    keeps_new: bool = False


def decide(
    spec: RollingSpec, status: RolloutStatus, observed: Mapping[int, ObservedRevision], now: datetime
) -> Decision:
    """Decide the next step from what is seen now; asking again with the same input gives the same answer."""
    new = observed.get(spec.target, NOTHING)
    old = {number: seen for number, seen in observed.items() if number != spec.target}
    new_replicas = _grow_new(spec, new, old)
    left = _shrink_old(spec, new, new_replicas, old)
    left = _grow_old(spec, new, new_replicas, old, left)
    new_replicas = _trim_new(spec, new, new_replicas, left)
    replicas = {**left, spec.target: new_replicas}
    return _judge(spec, status, observed, replicas, now)


def _is_proven(new: ObservedRevision, old: Mapping[int, ObservedRevision]) -> bool:
    """Whether the new revision has shown a ready replica, or nothing else serves anyway."""
    return new.ready > 0 or not any(seen.surely_ready for seen in old.values())


def _floor(spec: RollingSpec) -> int:
    return max(0, spec.desired - spec.max_unavailable)


def _grow_new(spec: RollingSpec, new: ObservedRevision, old: Mapping[int, ObservedRevision]) -> int:
    """The new revision's replicas: up by the free room, down at once to what is desired."""
    if new.wanted >= spec.desired:
        return spec.desired
    if spec.urgent:
        return max(new.wanted, new.wanted + spec.desired - new.pods)
    room = max(0, spec.desired + spec.max_surge - new.pods - sum(seen.pods for seen in old.values()))
    cap = spec.desired if _is_proven(new, old) else min(spec.desired, spec.max_surge + spec.max_unavailable)
    return max(new.wanted, min(cap, new.wanted + room))


def _shrink_old(
    spec: RollingSpec, new: ObservedRevision, new_replicas: int, old: Mapping[int, ObservedRevision]
) -> dict[int, int]:
    """What is left of the old revisions after removing what is not needed: first unready replicas, then ready ones."""
    left = {number: seen.wanted for number, seen in old.items()}
    if spec.desired == 0:
        return dict.fromkeys(left, 0)
    if spec.urgent:
        # What is bad and not ready serves nobody, and shall not come to serve anybody.
        left = {number: seen.surely_ready for number, seen in old.items()}
    new_ready = min(new.surely_ready, new_replicas)
    # Replicas of the new revision that are not ready yet don't free anything.
    removable = new_replicas + sum(left.values()) - _floor(spec) - (new_replicas - new_ready)
    # Superseded revisions go before the stable one: they never carried the whole load.
    order = sorted(old, key=lambda number: (number == spec.stable, number))
    for number in order:
        removed = max(0, min(removable, left[number] - old[number].surely_ready))
        left[number] -= removed
        removable -= removed
    spare = min(
        max(0, removable),
        new_ready + sum(min(old[number].surely_ready, left[number]) for number in old) - _floor(spec),
    )
    for number in order:
        removed = max(0, min(spare, left[number]))
        left[number] -= removed
        spare -= removed
    return left


def _grow_old(
    spec: RollingSpec,
    new: ObservedRevision,
    new_replicas: int,
    old: Mapping[int, ObservedRevision],
    left: dict[int, int],
) -> dict[int, int]:
    """Scaled up while the new revision is unproven: the revision that serves grows, within the room that is left."""
    if spec.urgent or _is_proven(new, old):
        return left
    missing = _floor(spec) - sum(left.values())
    pods = max(new_replicas, new.pods) + sum(max(left[number], old[number].pods) for number in old)
    growth = min(missing, spec.desired + spec.max_surge - pods)
    if growth <= 0:
        return left
    serving = max(old, key=lambda number: (old[number].surely_ready, number == spec.stable, number))
    return {**left, serving: left[serving] + growth}


def _trim_new(spec: RollingSpec, new: ObservedRevision, new_replicas: int, left: Mapping[int, int]) -> int:
    """Scaled down in mid-roll: unready replicas of the new revision go until the total fits."""
    excess = new_replicas + sum(left.values()) - (spec.desired + spec.max_surge)
    if spec.urgent or spec.keeps_new or excess <= 0:
        return new_replicas
    return max(min(new.surely_ready, new_replicas), new_replicas - excess)


def _judge(
    spec: RollingSpec,
    status: RolloutStatus,
    observed: Mapping[int, ObservedRevision],
    replicas: Mapping[int, int],
    now: datetime,
) -> Decision:
    """The rollout's state and the sentence that says what it waits for."""
    new = observed.get(spec.target)
    old_left = sum(seen.pods for number, seen in observed.items() if number != spec.target)
    new_ready = new.surely_ready if new else 0
    is_done = (
        new is not None and new.fresh and not changes(replicas, observed) and old_left == 0
        and new.wanted == spec.desired and new.existing == spec.desired and new_ready == spec.desired
    )  # fmt: skip
    return judge(
        status,
        observed,
        replicas,
        now,
        target=spec.target,
        deadline=spec.progress_deadline,
        done=("Complete", _complete(spec)) if is_done else None,
        waiting=_waiting(spec, new, new_ready, old_left, replicas, observed),
        stuck=f"{new_ready} of {spec.desired} ready{f', {_still(old_left)}' if old_left else ''}.",
    )


def _waiting(
    spec: RollingSpec,
    new: ObservedRevision | None,
    new_ready: int,
    old_left: int,
    replicas: Mapping[int, int],
    observed: Mapping[int, ObservedRevision],
) -> tuple[str, str]:
    """CamelCase reason and sentence for a rollout that is under way."""
    target = replicas[spec.target]
    if new is None:
        return "Creating", f"Revision {spec.target} is being created with {in_replicas(target)}."
    if target > new.wanted:
        return "ScalingUp", f"Revision {spec.target} grows from {new.wanted} to {in_replicas(target)}."
    shrinking = [n for n, count in replicas.items() if n in observed and count < observed[n].wanted]
    if shrinking:
        which = " and ".join(f"revision {number} to {replicas[number]}" for number in shrinking)
        return "ScalingDown", f"{new_ready} of revision {spec.target} ready; shrinking {which}."
    if not new.fresh:
        return "Observing", f"Waiting for Kubernetes to act on revision {spec.target}."
    if new_ready < new.wanted:
        kept = f" {_still(old_left).capitalize()}." if old_left else ""
        return "WaitingForReady", f"{new_ready} of {in_replicas(new.wanted)} of revision {spec.target} ready.{kept}"
    if old_left:
        return "WaitingForOld", f"Revision {spec.target} is ready; {_still(old_left)}."
    more = new.existing - new.wanted
    return "WaitingForSurplus", f"Revision {spec.target} is ready; {in_replicas(more)} more than wanted still to go."


def _complete(spec: RollingSpec) -> str:
    if spec.desired == 0:
        return f"Revision {spec.target} is in place, scaled to zero."
    return f"{spec.desired} of {in_replicas(spec.desired)} of revision {spec.target} ready."


def _still(old_left: int) -> str:
    return f"{old_left} earlier replica{' is' if old_left == 1 else 's are'} still there"

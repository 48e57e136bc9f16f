"""The recreate strategy: every replica of another revision goes before the first one of the new comes. Pure.

As `Recreate` of a Kubernetes Deployment (pkg/controller/deployment/recreate.go): for what must not run in two versions
at once, or has no room to. It serves nothing meanwhile, and does so on the way back, too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from apps.deployments.rollout.decisions import NOTHING, Decision, RolloutStatus, changes, in_replicas, judge
from apps.deployments.specs import ObservedRevision


@dataclass(frozen=True)
class RecreateSpec:
    """What is wanted: `target` is the number of the revision that shall serve, alone."""

    desired: int
    target: int
    progress_deadline: timedelta = timedelta(minutes=10)


def decide(
    spec: RecreateSpec, status: RolloutStatus, observed: Mapping[int, ObservedRevision], now: datetime
) -> Decision:
    """Decide the next step from what is seen now; asking again with the same input gives the same answer."""
    target = observed.get(spec.target, NOTHING)
    left = sum(seen.pods + seen.leaving for number, seen in observed.items() if number != spec.target)
    # What runs already stays: a pod of another revision that turns up later takes nothing down.
    count = min(target.wanted, spec.desired) if left else spec.desired
    replicas = {**dict.fromkeys(observed, 0), spec.target: count}
    ready = target.surely_ready
    is_done = not left and not changes(replicas, observed) and target.fresh and target.existing == ready == spec.desired
    of_target = f"{ready} of {in_replicas(spec.desired)} of revision {spec.target} ready"
    if left:
        waits = f"Revision {spec.target} waits until {_gone(left)}."
        waiting = ("WaitingForOld", waits)
    elif spec.target not in observed:
        waiting = ("Creating", f"Revision {spec.target} is being created with {in_replicas(count)}.")
    else:
        waiting = ("WaitingForReady", f"{of_target}.")
    return judge(
        status,
        observed,
        replicas,
        now,
        target=spec.target,
        deadline=spec.progress_deadline,
        done=("Complete", f"{of_target}.") if is_done else None,
        waiting=waiting,
        stuck=f"it waits until {_gone(left)}." if left else f"{ready} of {spec.desired} ready.",
    )


def _gone(left: int) -> str:
    return f"{in_replicas(left)} of other revisions {'is' if left == 1 else 'are'} gone"

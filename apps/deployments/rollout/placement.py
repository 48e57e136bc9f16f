"""What one placement's row asks for → how many replicas each revision gets there. Pure.

The row names the revision that serves, the one that comes, and its share. No share, or all of it, is the rolling
strategy towards the one or the other; what lies between is a canary.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from apps.deployments.rollout import canary, recreate, rolling
from apps.deployments.rollout.decisions import Decision, RolloutStatus
from apps.deployments.rollout.rolling import RollingSpec
from apps.deployments.rollout.strategy import Kind, Strategy
from apps.deployments.specs import ObservedRevision
from apps.deployments.states import RolloutState


@dataclass(frozen=True)
class Wanted:
    """A placement's row: replicas, the numbers of the revisions, and the share of `coming` in percent.

    `scaled`: somebody else says how many replicas the serving revision has, and `desired` is that number.
    """

    desired: int
    stable: int | None
    coming: int | None = None
    weight: int = 0
    scaled: bool = False


def decide(
    wanted: Wanted,
    strategy: Strategy,
    status: RolloutStatus,
    observed: Mapping[int, ObservedRevision],
    now: datetime,
) -> Decision:
    """Decide the next step of the placement; asking again with the same input gives the same answer."""
    stable, coming = wanted.stable, wanted.coming
    if coming is not None and (wanted.weight == 100 or (stable is None and wanted.weight)):
        return _replace(wanted, strategy, coming, status, observed, now)
    if stable is None:
        return _nothing(observed)
    if coming is not None and wanted.weight:
        spec = canary.CanarySpec(
            desired=wanted.desired,
            stable=stable,
            canary=coming,
            weight=wanted.weight,
            max_surge=strategy.max_surge,
            progress_deadline=strategy.progress_deadline,
            keeps_stable=wanted.scaled,
        )
        return canary.decide(spec, status, observed, now)
    return _replace(wanted, strategy, stable, status, observed, now)


def _replace(
    wanted: Wanted,
    strategy: Strategy,
    target: int,
    status: RolloutStatus,
    observed: Mapping[int, ObservedRevision],
    now: datetime,
) -> Decision:
    """Towards one revision alone, replica by replica or all at once."""
    if strategy.kind is Kind.RECREATE:
        spec = recreate.RecreateSpec(wanted.desired, target, strategy.progress_deadline)
        return recreate.decide(spec, status, observed, now)
    return rolling.decide(
        RollingSpec(
            desired=wanted.desired,
            target=target,
            max_surge=strategy.max_surge,
            max_unavailable=strategy.max_unavailable,
            progress_deadline=strategy.progress_deadline,
            stable=wanted.stable,
            # A revision that is taken back leaves as soon as the former one can do without it.
            urgent=wanted.coming is not None and target == wanted.stable,
            keeps_new=wanted.scaled,
        ),
        status,
        observed,
        now,
    )


def _nothing(observed: Mapping[int, ObservedRevision]) -> Decision:
    """No revision serves here yet, and none shall before its wave."""
    left = sum(seen.pods for seen in observed.values())
    return Decision(
        replicas=dict.fromkeys(sorted(observed), 0),
        state=RolloutState.PROGRESSING if left else RolloutState.HEALTHY,
        reason="ScalingDown" if left else "WaitingForWave",
        message=f"{left} replicas are still there." if left else "Nothing serves here before its wave.",
        new_ready=0,
        old_left=left,
        progressed=False,
    )

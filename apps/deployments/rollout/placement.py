"""What one placement's row asks for → how many replicas each revision gets there. Pure.

The row names the revision that serves, the one that comes, and its share. No share, or all of it, is the rolling
strategy towards the one or the other; what lies between is a canary. A blue-green goes its own way between them, and so
does a canary where an HTTPRoute gives the weights, and a shadow, which nothing else can mirror to.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from apps.deployments.rollout import blue_green, canary, recreate, rolling, routed
from apps.deployments.rollout.decisions import Decision, RolloutStatus
from apps.deployments.rollout.rolling import RollingSpec
from apps.deployments.rollout.strategy import Kind, Strategy
from apps.deployments.rollout.traffic import NOTHING, TO_SERVICE, Phase, Route, Routed, Selected, Share
from apps.deployments.specs import ObservedRevision
from apps.deployments.states import RolloutState

# Where there is an HTTPRoute it does what lies between nothing and all.
_BY_ROUTE = (Kind.CANARY, Kind.SHADOW)


@dataclass(frozen=True)
class Wanted:
    """A placement's row: replicas, the numbers of the revisions, and the share of `coming`.

    `scaler` is who else says how many replicas the serving revision has, "" for nobody; `desired` is that number.
    """

    desired: int
    stable: int | None
    coming: int | None = None
    share: Share = NOTHING
    scaler: str = ""


def decide(
    wanted: Wanted,
    strategy: Strategy,
    status: RolloutStatus,
    observed: Mapping[int, ObservedRevision],
    now: datetime,
    selected: Selected | None = None,
    route: Routed | None = None,
) -> Decision:
    """Decide the next step of the placement; asking again with the same input gives the same answer.

    `selected` is what its Service selects now, None where there is no Service; `route` its HTTPRoute, None where it has
    no Gateway.
    """
    serve = _serve(wanted)
    if route is None:
        decision = _by_replicas(wanted, strategy, serve, status, observed, now, selected)
        return _unmirrored(decision) if wanted.share.mirror else decision
    if serve is not None and strategy.kind in _BY_ROUTE:
        return routed.decide(_routed(wanted, strategy, serve), status, observed, selected, route, now)
    decision = _by_replicas(wanted, strategy, serve, status, observed, now, selected)
    return routed.beside(decision, observed, route, strategy.progress_deadline, now)


def _by_replicas(
    wanted: Wanted,
    strategy: Strategy,
    serve: int | None,
    status: RolloutStatus,
    observed: Mapping[int, ObservedRevision],
    now: datetime,
    selected: Selected | None,
) -> Decision:
    """What the strategy does on a plain cluster."""
    if serve is None:
        return _nothing(observed)
    if strategy.kind is Kind.BLUE_GREEN:
        return blue_green.decide(_blue_green(wanted, strategy, serve), status, observed, selected, now)
    if serve == wanted.stable and wanted.coming is not None and wanted.share.weight:
        spec = canary.CanarySpec(
            desired=wanted.desired,
            stable=serve,
            canary=wanted.coming,
            weight=wanted.share.weight,
            max_surge=strategy.max_surge,
            progress_deadline=strategy.progress_deadline,
            scaler=wanted.scaler,
        )
        return canary.decide(spec, status, observed, now)
    return _replace(wanted, strategy, serve, status, observed, now)


def _unmirrored(decision: Decision) -> Decision:
    """The same where nothing can be mirrored: what serves goes on alone, and somebody has to hear of it."""
    message = "The target names no Gateway, so that nothing is mirrored: let it name one, or change the strategy."
    return replace(decision, state=RolloutState.DEGRADED, reason="NoGateway", message=message)


def _serve(wanted: Wanted) -> int | None:
    """The revision that is whole in the end of what is wanted now; None while nothing shall serve."""
    takes_over = wanted.share.weight == 100 or (wanted.stable is None and wanted.share.weight)
    return wanted.coming if wanted.coming is not None and takes_over else wanted.stable


def _blue_green(wanted: Wanted, strategy: Strategy, serve: int) -> blue_green.BlueGreenSpec:
    """Which of the two shall have the traffic, and what stays or comes beside it."""
    stable, coming, phase = wanted.stable, wanted.coming, wanted.share.phase
    target, beside = serve, {}
    if coming is not None and phase is Phase.PREVIEW:
        size = wanted.desired if strategy.preview_replicas is None else strategy.preview_replicas
        target, beside = coming, {coming: min(size, wanted.desired)}
    elif stable is not None and phase is Phase.SWITCHED:
        beside = {stable: wanted.desired}
    preview = coming if phase else None
    return blue_green.BlueGreenSpec(wanted.desired, serve, target, beside, preview, strategy.progress_deadline)


def _routed(wanted: Wanted, strategy: Strategy, serve: int) -> routed.RoutedSpec:
    """Which revision serves, and what the other one gets of the requests."""
    on_trial = serve == wanted.stable and wanted.coming is not None and bool(wanted.share)
    return routed.RoutedSpec(
        desired=wanted.desired,
        serve=serve,
        goal=Route(wanted.coming, wanted.share.weight, wanted.share.mirror) if on_trial else TO_SERVICE,
        max_surge=strategy.max_surge,
        progress_deadline=strategy.progress_deadline,
        is_back=serve == wanted.stable and not on_trial,
        shadow=strategy.shadow_replicas,
        by_shares=strategy.mirrors_shares,
    )


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
            keeps_new=bool(wanted.scaler),
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

"""Who says how many replicas a placement has: people, their schedule, the deployment's own autoscaler, or somebody
else's."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from apps.clusters.kube.client import KubeClient
from apps.clusters.kube.errors import Forbidden
from apps.clusters.manifests import DEPLOYMENT, MANAGED_BY
from apps.deployments.drift.ownership import AUTOSCALER, counted_by
from apps.deployments.manifests import Identity
from apps.deployments.models import Placement
from apps.deployments.models.observed import AN_AUTOSCALER, THE_AUTOSCALER, THE_SCHEDULE
from apps.deployments.scaling import manifest
from apps.deployments.scaling.handover import HandOver, Passing, carry, hand_over
from apps.deployments.scaling.policy import Autoscaling, Bounds, stored_policy
from apps.deployments.scaling.schedule import InForce, by_clock, in_force, most_ever, stored_schedule
from apps.deployments.services.observing import remember_number
from apps.deployments.specs import ObservedRevision

Object = dict[str, Any]


@dataclass
class Scaling:
    """How many replicas are wanted in this round, and `by` whom where it is not us who say it.

    `own` is the autoscaler that Flotilla made, as it is on the cluster; `note` a sentence for people. By the clock all
    of it changes at `until`. `bounds` are those of the autoscaler.
    """

    desired: int
    by: str = ""
    note: str = ""
    policy: Autoscaling | None = None
    bounds: Bounds | None = None
    holds: bool = False
    until: datetime | None = None
    # Why nothing serves, as a sentence: it is a time for that.
    asleep: str = ""
    own: Object | None = None
    is_allowed: bool = True

    @property
    def is_foreign(self) -> bool:
        """Whether somebody else may change the number between two rounds."""
        return self.by not in ("", THE_SCHEDULE)

    def refuse(self) -> None:
        """The cluster does not let us make autoscalers: what serves goes on serving with as many as there are."""
        self.is_allowed = False
        self.note = (
            "It is not scaled: Flotilla may not make a HorizontalPodAutoscaler here. The cluster's check page "
            "has the role to apply."
        )


@dataclass(frozen=True)
class _Scalers:
    """The autoscalers of the placement's namespace that concern it: our own, and the names of others."""

    own: Object | None = None
    others: tuple[str, ...] = ()
    is_allowed: bool = True


def scaling_of(
    client: KubeClient,
    placement: Placement,
    identity: Identity,
    workloads: Mapping[int, Object],
    observed: Mapping[int, ObservedRevision],
    now: datetime,
    *,
    has_kept: bool,
) -> Scaling:
    """How the placement is scaled at a time. `has_kept`: an autoscaler of ours was applied and not taken down since.

    What has to be remembered over the end of this process is stored before it returns.
    """
    policy = stored_policy(placement.deployment.autoscaling)
    serving = placement.serving
    main = workloads.get(serving.number) if serving else None
    if policy is not None:
        return _by_policy(client, placement, identity, policy, observed, now)
    manager = counted_by(main) if main is not None else ""
    scalers = _Scalers()
    if has_kept or manager == AUTOSCALER:
        # An autoscaler that was deleted decides no longer, though it wrote the number.
        targets = [identity.workload(serving.number)] if serving else []
        scalers = _scalers(client, identity, targets, is_ours=_is_ours)
    scaler = _other(placement, manager, scalers)
    if scaler:
        count = observed[serving.number].wanted if serving else placement.desired_replicas
        return Scaling(count, by=scaler, note=f"{scaler} says how many.", own=scalers.own)
    return _by_people(placement, observed, now, scalers.own)


def _by_people(
    placement: Placement, observed: Mapping[int, ObservedRevision], now: datetime, own: Object | None
) -> Scaling:
    """As many as people ask for, or as their schedule makes of it."""
    asked, schedule = placement.desired_replicas, stored_schedule(placement.deployment.schedule)
    if not schedule:
        return Scaling(asked, own=own)
    count, force = by_clock(schedule, asked, now)
    passed = carry(count, _passing(placement), observed, most_ever(schedule, Bounds(asked, asked)))
    scaling = Scaling(passed.replicas, own=own, by=THE_SCHEDULE if passed.replicas != asked else "", until=force.until)
    _say(scaling, passed, count, force)
    if passed.is_news:
        remember_number(placement, passed.replicas, scaling.by)
    return scaling


def _by_policy(
    client: KubeClient,
    placement: Placement,
    identity: Identity,
    policy: Autoscaling,
    observed: Mapping[int, ObservedRevision],
    now: datetime,
) -> Scaling:
    schedule = stored_schedule(placement.deployment.schedule)
    force = in_force(schedule, policy.bounds, now)
    passed = hand_over(force.bounds, _passing(placement), observed, most_ever(schedule, policy.bounds))
    scaling = Scaling(
        passed.replicas,
        by=f"{THE_AUTOSCALER}{identity.deployment}",
        policy=policy,
        bounds=_of_autoscaler(policy, force, passed),
        holds=passed.holds,
        until=force.until,
    )
    _say(scaling, passed, force.bounds.most, force)
    targets = [identity.workload(number) for number in observed]
    scalers = _scalers(client, identity, targets, is_ours=lambda scaler, of: _name(scaler) == of.deployment)
    scaling.own = scalers.own
    if not scalers.is_allowed:
        scaling.refuse()
    elif scalers.others:
        name = scalers.others[0]
        scaling.note = f"Autoscaler {name}, which Flotilla did not make, scales it, too: delete one of the two."
    if passed.is_news:
        remember_number(placement, passed.replicas, scaling.by)
    return scaling


def _passing(placement: Placement) -> Passing:
    return Passing(
        serving=placement.serving.number if placement.serving else None,
        weight=placement.weight if placement.coming_id else 0,
        remembered=placement.scaled_to,
        start=placement.desired_replicas,
    )


def _of_autoscaler(policy: Autoscaling, force: InForce, passed: HandOver) -> Bounds:
    """The bounds that it is given. With no replica at all it rests by itself, and its bounds may stay as usual."""
    if passed.holds:
        return Bounds(force.bounds.least, max(force.bounds.most, passed.replicas, 1))
    return force.bounds if force.bounds.most else policy.bounds


def _say(scaling: Scaling, passed: HandOver, most: int, force: InForce) -> None:
    """Tell people what the clock does, or what it waits for."""
    if passed.holds and passed.replicas > most:
        fewer = force.asleep or f"{most} at most"
        scaling.note = f"By its schedule {fewer}, as soon as the rollout is over."
    elif force.sleeps and passed.replicas == 0:
        scaling.asleep = force.sleeps_until


def _is_ours(scaler: Object, identity: Identity) -> bool:
    labels = scaler["metadata"].get("labels") or {}
    return labels.get(MANAGED_BY) == "flotilla" and labels.get(DEPLOYMENT) == identity.deployment


def _scalers(client: KubeClient, identity: Identity, targets: Collection[str], *, is_ours: Any) -> _Scalers:
    """Looking at autoscalers is an optional permission."""
    try:
        listed = client.list(manifest.API_VERSION, manifest.KIND, identity.namespace)
    except Forbidden:
        return _Scalers(is_allowed=False)
    own = next((scaler for scaler in listed if is_ours(scaler, identity)), None)
    others = [scaler for scaler in listed if scaler is not own and _target(scaler) in targets]
    return _Scalers(own, tuple(_name(scaler) for scaler in others))


def _target(scaler: Object) -> str:
    target = scaler["spec"]["scaleTargetRef"]
    return str(target["name"]) if target["kind"] == "Deployment" else ""


def _name(scaler: Object) -> str:
    return str(scaler["metadata"]["name"])


def _other(placement: Placement, manager: str, scalers: _Scalers) -> str:
    """The name, for a sentence, of whatever else decides how many replicas there are; "" when we do.

    What somebody else's field manager holds is theirs, until a person asks us for a number; an autoscaler's it stays.
    """
    if manager == AUTOSCALER:
        if not scalers.is_allowed:
            # The one that wrote the number is taken to be there.
            return AN_AUTOSCALER
        return f"{THE_AUTOSCALER}{scalers.others[0]}" if scalers.others else ""
    return "" if placement.scale_asked else manager[:120]

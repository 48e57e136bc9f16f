"""Who says how many replicas a placement has: people, their schedule, the deployment's own autoscaler, or somebody
else's."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from apps.clusters.kube.client import KubeClient
from apps.clusters.kube.errors import Forbidden, NotServed
from apps.clusters.manifests import DEPLOYMENT, MANAGED_BY
from apps.deployments.drift.ownership import AUTOSCALER, counted_by
from apps.deployments.manifests import Identity
from apps.deployments.models import Placement
from apps.deployments.models.observed import AN_AUTOSCALER, THE_AUTOSCALER, THE_SCHEDULE
from apps.deployments.scaling import keda, kind_of, manifest
from apps.deployments.scaling.handover import HandOver, Passing, carry, hand_over
from apps.deployments.scaling.policy import Autoscaling, Bounds, stored_policy
from apps.deployments.scaling.schedule import InForce, by_clock, in_force, most_ever, stored_schedule
from apps.deployments.services.observing import remember_number
from apps.deployments.specs import ObservedRevision

Object = dict[str, Any]
# Why nothing serves though all is well.
ASLEEP, IDLE = "Asleep", "Idle"


@dataclass
class Scaling:
    """How many replicas are wanted in this round, and `by` whom where it is not us who say it.

    `own` is the autoscaler that Flotilla made, as it is on the cluster, and `stale` are those that it shall not have
    any more; `note` is a sentence for people. By the clock all of it changes at `until`. `bounds` are those of the
    autoscaler.
    """

    desired: int
    by: str = ""
    note: str = ""
    policy: Autoscaling | None = None
    bounds: Bounds | None = None
    holds: bool = False
    until: datetime | None = None
    # Why nothing serves, as a reason and a sentence, where that is as it shall be: it is a time for that, say.
    rests: tuple[str, str] = ("", "")
    sleeps: bool = False
    own: Object | None = None
    stale: tuple[Object, ...] = ()
    is_allowed: bool = True

    @property
    def is_foreign(self) -> bool:
        """Whether somebody else may change the number between two rounds."""
        return self.by not in ("", THE_SCHEDULE)

    def refuse(self) -> None:
        """The cluster does not let us make autoscalers: what serves goes on serving with as many as there are."""
        self.is_allowed = False
        kind = kind_of(self.policy) if self.policy is not None else manifest.KIND
        self.note = (
            f"It is not scaled: Flotilla may not make a {kind} here. The cluster's check page has the role to apply."
        )

    def lack_keda(self) -> None:
        """KEDA is not there any more: the same."""
        self.is_allowed = False
        self.note = "It is not scaled: the cluster has no KEDA. Install it, or take the triggers out of the policy."


@dataclass(frozen=True)
class _Scalers:
    """The autoscalers of the placement's namespace that concern it: our own of each kind, and the names of others."""

    own: Mapping[str, Object] = field(default_factory=dict)
    others: tuple[str, ...] = ()
    is_allowed: bool = True
    has_keda: bool = True


def scaling_of(
    client: KubeClient,
    placement: Placement,
    identity: Identity,
    workloads: Mapping[int, Object],
    observed: Mapping[int, ObservedRevision],
    now: datetime,
    *,
    kept: Collection[str],
) -> Scaling:
    """How the placement is scaled at a time. `kept` are the kinds of which we applied one and took none down since.

    What has to be remembered over the end of this process is stored before it returns.
    """
    policy = stored_policy(placement.deployment.autoscaling)
    serving = placement.serving
    main = workloads.get(serving.number) if serving else None
    if policy is not None:
        scaling = _by_policy(placement, identity, policy, observed, now)
        targets = [identity.workload(number) for number in observed]
        is_ours = lambda scaler, of: _name(scaler) == of.deployment  # noqa: E731
        scalers = _scalers(client, identity, targets, is_ours=is_ours, keda_too=policy.by_keda or keda.KIND in kept)
        _take_in(scaling, policy, scalers)
        return scaling
    manager = counted_by(main) if main is not None else ""
    scalers = _Scalers()
    if kept or manager == AUTOSCALER:
        # An autoscaler that was deleted decides no longer, though it wrote the number.
        targets = [identity.workload(serving.number)] if serving else []
        scalers = _scalers(client, identity, targets, is_ours=_is_ours, keda_too=keda.KIND in kept)
    scaler = _other(placement, manager, scalers)
    if scaler:
        count = observed[serving.number].wanted if serving else placement.desired_replicas
        return Scaling(count, by=scaler, note=f"{scaler} says how many.", stale=tuple(scalers.own.values()))
    return _by_people(placement, observed, now, tuple(scalers.own.values()))


def _by_people(
    placement: Placement, observed: Mapping[int, ObservedRevision], now: datetime, stale: tuple[Object, ...]
) -> Scaling:
    """As many as people ask for, or as their schedule makes of it."""
    asked, schedule = placement.desired_replicas, stored_schedule(placement.deployment.schedule)
    if not schedule:
        return Scaling(asked, stale=stale)
    count, force = by_clock(schedule, asked, now)
    passed = carry(count, _passing(placement), observed, most_ever(schedule, Bounds(asked, asked)))
    by = THE_SCHEDULE if passed.replicas != asked else ""
    scaling = Scaling(passed.replicas, stale=stale, by=by, until=force.until)
    _say(scaling, passed, count, force)
    if passed.is_news:
        remember_number(placement, passed.replicas, scaling.by)
    return scaling


def _by_policy(
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
    if policy.by_keda and passed.replicas == 0 and not force.sleeps:
        scaling.rests = IDLE, "Idle: no trigger is active. KEDA starts it when one is."
    if passed.is_news:
        remember_number(placement, passed.replicas, scaling.by)
    return scaling


def _take_in(scaling: Scaling, policy: Autoscaling, scalers: _Scalers) -> None:
    """What there is on the cluster of its autoscalers."""
    kind = kind_of(policy)
    scaling.own = scalers.own.get(kind)
    scaling.stale = tuple(scaler for of, scaler in scalers.own.items() if of != kind)
    if policy.by_keda and not scalers.has_keda:
        scaling.lack_keda()
    elif not scalers.is_allowed:
        scaling.refuse()
    elif scalers.others:
        name = scalers.others[0]
        scaling.note = f"Autoscaler {name}, which Flotilla did not make, scales it, too: delete one of the two."


def _passing(placement: Placement) -> Passing:
    return Passing(
        serving=placement.serving.number if placement.serving else None,
        weight=(placement.weight or placement.mirror) if placement.coming_id else 0,
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
        scaling.sleeps, scaling.rests = True, (ASLEEP, force.sleeps_until)


def _is_ours(scaler: Object, identity: Identity) -> bool:
    labels = scaler["metadata"].get("labels") or {}
    return labels.get(MANAGED_BY) == "flotilla" and labels.get(DEPLOYMENT) == identity.deployment


def _scalers(
    client: KubeClient, identity: Identity, targets: Collection[str], *, is_ours: Any, keda_too: bool
) -> _Scalers:
    """Looking at autoscalers is an optional permission, and KEDA an optional engine."""
    own: dict[str, Object] = {}
    try:
        listed = client.list(manifest.API_VERSION, manifest.KIND, identity.namespace)
        # KEDA makes one of the ScaledObject, and it goes with that.
        free = [scaler for scaler in listed if not _is_made_of(scaler, identity.deployment)]
        own |= {str(scaler["kind"]): scaler for scaler in free if is_ours(scaler, identity)}
        others = tuple(_name(each) for each in free if each is not own.get(manifest.KIND) and _target(each) in targets)
        if keda_too:
            scaled = client.list(keda.API_VERSION, keda.KIND, identity.namespace)
            own |= {str(scaler["kind"]): scaler for scaler in scaled if is_ours(scaler, identity)}
    except Forbidden:
        return _Scalers(own, is_allowed=False)
    except NotServed:
        return _Scalers(own, others, has_keda=False)
    return _Scalers(own, others)


def _is_made_of(scaler: Object, name: str) -> bool:
    owners = scaler["metadata"].get("ownerReferences") or []
    return any(owner.get("kind") == keda.KIND and owner.get("name") == name for owner in owners)


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

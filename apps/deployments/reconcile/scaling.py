"""Who says how many replicas a placement has: people, the deployment's own autoscaler, or somebody else's."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from apps.clusters.kube.client import KubeClient
from apps.clusters.kube.errors import Forbidden
from apps.clusters.manifests import DEPLOYMENT, MANAGED_BY
from apps.deployments.drift.ownership import AUTOSCALER, counted_by
from apps.deployments.manifests import Identity
from apps.deployments.models import Placement
from apps.deployments.models.observed import AN_AUTOSCALER, THE_AUTOSCALER
from apps.deployments.scaling import manifest
from apps.deployments.scaling.handover import Passing, hand_over
from apps.deployments.scaling.policy import Autoscaling, stored_policy
from apps.deployments.services.observing import remember_number
from apps.deployments.specs import ObservedRevision

Object = dict[str, Any]


@dataclass
class Scaling:
    """How many replicas are wanted in this round, and `by` whom where it is not us who say it.

    `own` is the autoscaler that Flotilla made, as it is on the cluster; `note` a sentence for people.
    """

    desired: int
    by: str = ""
    note: str = ""
    policy: Autoscaling | None = None
    holds: bool = False
    own: Object | None = None
    is_allowed: bool = True

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
    *,
    has_kept: bool,
) -> Scaling:
    """How the placement is scaled now. `has_kept`: an autoscaler of ours was applied and not taken down since.

    What has to be remembered over the end of this process is stored before it returns.
    """
    policy = stored_policy(placement.deployment.autoscaling)
    serving = placement.serving
    main = workloads.get(serving.number) if serving else None
    if policy is not None:
        return _by_policy(client, placement, identity, policy, observed)
    manager = counted_by(main) if main is not None else ""
    scalers = _Scalers()
    if has_kept or manager == AUTOSCALER:
        # An autoscaler that was deleted decides no longer, though it wrote the number.
        targets = [identity.workload(serving.number)] if serving else []
        scalers = _scalers(client, identity, targets, is_ours=_is_ours)
    scaler = _other(placement, manager, scalers)
    count = observed[serving.number].wanted if serving and scaler else placement.desired_replicas
    return Scaling(count, by=scaler, note=f"{scaler} says how many." if scaler else "", own=scalers.own)


def _by_policy(
    client: KubeClient,
    placement: Placement,
    identity: Identity,
    policy: Autoscaling,
    observed: Mapping[int, ObservedRevision],
) -> Scaling:
    passing = Passing(
        serving=placement.serving.number if placement.serving else None,
        weight=placement.weight if placement.coming_id else 0,
        remembered=placement.scaled_to,
        start=placement.desired_replicas,
    )
    passed = hand_over(policy.bounds, passing, observed)
    scaling = Scaling(passed.replicas, by=f"{THE_AUTOSCALER}{identity.deployment}", policy=policy, holds=passed.holds)
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

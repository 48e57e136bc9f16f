"""How many replicas the load asks for: the policy, the autoscaler made of it, and what that autoscaler says. Pure."""

from typing import Any

from apps.deployments.manifests import Identity
from apps.deployments.scaling import keda, manifest
from apps.deployments.scaling.policy import Autoscaling, Bounds

# apiVersion and kind of what may scale a deployment.
KINDS = ((manifest.API_VERSION, manifest.KIND), (keda.API_VERSION, keda.KIND))


def kind_of(policy: Autoscaling) -> str:
    """The kind of the object that the policy becomes on a cluster."""
    return keda.KIND if policy.by_keda else manifest.KIND


def scaler(
    identity: Identity, revision: int, policy: Autoscaling, bounds: Bounds, *, holds: bool = False, sleeps: bool = False
) -> tuple[dict[str, Any], str]:
    """That object, for one revision, and the digest of what is asked of it."""
    if policy.by_keda:
        how = {"holds": holds, "sleeps": sleeps}
        return (
            keda.scaled_object(identity, revision, policy, bounds, **how),
            keda.asked_for(identity, revision, policy, bounds, **how),
        )
    return (
        manifest.autoscaler(identity, revision, policy, bounds, holds=holds),
        manifest.asked_for(identity, revision, policy, bounds, holds=holds),
    )

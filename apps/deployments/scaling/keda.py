"""A policy with triggers → the ScaledObject of one revision. Pure; tested by whole-object equality.

KEDA makes a HorizontalPodAutoscaler of it, and itself scales between none and one.
https://keda.sh/docs/latest/reference/scaledobject-spec/
"""

from typing import Any

from apps.deployments.manifests import Identity, asked_of
from apps.deployments.scaling.manifest import behavior
from apps.deployments.scaling.policy import Autoscaling, Bounds
from apps.deployments.specs import digest_of

API_VERSION, KIND = "keda.sh/v1alpha1", "ScaledObject"
PAUSED_REPLICAS = "autoscaling.keda.sh/paused-replicas"


def scaled_object(
    identity: Identity, revision: int, policy: Autoscaling, bounds: Bounds, *, holds: bool, sleeps: bool
) -> dict[str, Any]:
    """What KEDA scales the revision's Kubernetes Deployment by.

    While it `holds` it takes no replica away, and so does not stop the last one either. While it `sleeps` it is paused
    at zero: a trigger would start it.
    """
    metadata: dict[str, Any] = {
        "name": identity.deployment,
        "namespace": identity.namespace,
        "labels": identity.labels(),
    }
    if sleeps:
        metadata["annotations"] = {PAUSED_REPLICAS: "0"}
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": metadata,
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": identity.workload(revision)},
            "minReplicaCount": 1 if holds else bounds.least,
            "maxReplicaCount": bounds.most,
            "cooldownPeriod": policy.scale_down_stabilization_seconds,
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": behavior(policy, holds=holds)}},
            "triggers": [*_resources(policy), *(trigger.to_keda() for trigger in policy.triggers)],
        },
    }


def asked_for(
    identity: Identity, revision: int, policy: Autoscaling, bounds: Bounds, *, holds: bool, sleeps: bool
) -> str:
    """The digest of what was asked, whatever today's code makes of it."""
    return asked_of(identity, revision, digest_of([KIND, policy.to_json(), bounds.least, bounds.most, holds, sleeps]))


def _resources(policy: Autoscaling) -> list[dict[str, Any]]:
    return [
        {"type": name, "metricType": "Utilization", "metadata": {"value": str(share)}}
        for name, share in (("cpu", policy.cpu_percent), ("memory", policy.memory_percent))
        if share is not None
    ]

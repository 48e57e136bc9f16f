"""A policy → the HorizontalPodAutoscaler of one revision. Pure; tested by whole-object equality."""

from typing import Any

from apps.deployments.manifests import Identity, asked_of
from apps.deployments.scaling.policy import Autoscaling, Bounds
from apps.deployments.specs import digest_of

API_VERSION, KIND = "autoscaling/v2", "HorizontalPodAutoscaler"


def autoscaler(
    identity: Identity, revision: int, policy: Autoscaling, bounds: Bounds, *, holds: bool
) -> dict[str, Any]:
    """The autoscaler that scales the revision's Kubernetes Deployment.

    While it `holds` it takes no replica away: its own lower bound would make a revision that is still coming jump.
    """
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": identity.deployment, "namespace": identity.namespace, "labels": identity.labels()},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": identity.workload(revision)},
            "minReplicas": 1 if holds else bounds.least,
            "maxReplicas": bounds.most,
            "metrics": _metrics(policy),
            "behavior": behavior(policy, holds=holds),
        },
    }


def behavior(policy: Autoscaling, *, holds: bool) -> dict[str, Any]:
    """How fast an autoscaler takes replicas away: not at all while it `holds`."""
    if holds:
        return {"scaleDown": {"selectPolicy": "Disabled"}}
    return {"scaleDown": {"stabilizationWindowSeconds": policy.scale_down_stabilization_seconds}}


def asked_for(identity: Identity, revision: int, policy: Autoscaling, bounds: Bounds, *, holds: bool) -> str:
    """The digest of what was asked, whatever today's code makes of it."""
    return asked_of(identity, revision, digest_of([policy.to_json(), bounds.least, bounds.most, holds]))


def _metrics(policy: Autoscaling) -> list[dict[str, Any]]:
    metrics: list[dict[str, Any]] = [
        {"type": "Resource", "resource": {"name": name, "target": {"type": "Utilization", "averageUtilization": share}}}
        for name, share in (("cpu", policy.cpu_percent), ("memory", policy.memory_percent))
        if share is not None
    ]
    if policy.requests_per_replica is not None:
        target = {"type": "AverageValue", "averageValue": str(policy.requests_per_replica)}
        metrics.append({"type": "Pods", "pods": {"metric": {"name": policy.requests_metric}, "target": target}})
    return metrics

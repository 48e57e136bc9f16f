"""What the cluster's controllers have made of a deployment's objects: ReplicaSets and EndpointSlices, read on demand.

They are not watched: at thousands of replicas their churn would cost more than everything else, and what they tell is
asked for when something is looked into.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from apps.clusters.kube.client import KubeClient
from apps.clusters.kube.errors import Forbidden, KubeError
from apps.clusters.manifests import DEPLOYMENT
from apps.clusters.services.rehearsing import client_of
from apps.deployments.models import AppliedObject, Placement

Object = dict[str, Any]
# The label by which every EndpointSlice names its Service, as Kubernetes documents it.
OF_SERVICE = "kubernetes.io/service-name"
_PLURAL = {"ReplicaSet": "replicasets.apps", "EndpointSlice": "endpointslices.discovery.k8s.io"}


@dataclass(frozen=True)
class Made:
    """What was found on one target, and a sentence for each kind that could not be read; `trouble` is of all."""

    replica_sets: Sequence[Object] = ()
    slices: Sequence[Object] = ()
    missing: Sequence[str] = ()
    trouble: str = ""


def look_at_made(place: Placement, applied: Sequence[AppliedObject]) -> Made:
    """Two calls, which end after some seconds together. The caller has checked who may see it.

    What a credential may not read is said, and the rest is shown.
    """
    client = client_of(place.target.cluster)
    if isinstance(client, str):
        return Made(trouble=client)
    missing: list[str] = []
    try:
        sets = _read(client, place, "apps/v1", "ReplicaSet", f"{DEPLOYMENT}={place.deployment.name}", missing)
        services = ",".join(row.name for row in applied if row.kind == "Service")
        chosen = f"{OF_SERVICE} in ({services})"
        slices = _read(client, place, "discovery.k8s.io/v1", "EndpointSlice", chosen, missing) if services else []
    finally:
        client.close()
    return Made(sets, slices, missing)


def _read(
    client: KubeClient, place: Placement, version: str, kind: str, selector: str, missing: list[str]
) -> list[Object]:
    cluster = place.target.cluster.name
    try:
        return client.list(version, kind, place.target.namespace, label_selector=selector)
    except Forbidden:
        missing.append(
            f"{kind}s are not shown: the credential of {cluster} may not list {_PLURAL[kind]}. "
            "The cluster's check page has the role that allows it."
        )
    except KubeError as error:
        missing.append(f"{kind}s are not shown: {cluster} did not tell them. {error.message}")
    return []

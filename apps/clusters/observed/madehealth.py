"""How what is read on demand, and not watched, stands: ReplicaSets and EndpointSlices, which controllers made. Pure."""

from collections.abc import Mapping
from typing import Any

from apps.clusters.observed.health import count_of, text_of, true_condition
from apps.clusters.quantities.words import plural
from apps.core.states import Health

Object = Mapping[str, Any]


def health_of_set(obj: Object) -> tuple[Health, str]:
    """How a ReplicaSet stands, by its spec and status, and a sentence."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    wanted, ready, left = int(spec.get("replicas", 1)), count_of(status, "readyReplicas"), count_of(status, "replicas")
    refused = true_condition(status, "ReplicaFailure")
    if refused is not None:
        return Health.DEGRADED, text_of(refused, str(refused.get("reason") or "A replica could not be made."))
    if count_of(status, "observedGeneration") < count_of(obj["metadata"], "generation"):
        return Health.PROGRESSING, "Kubernetes has not acted on its last change yet."
    if wanted == 0 and left:
        return Health.PROGRESSING, f"{plural(left, 'replica')} still to go."
    if wanted == 0:
        return Health.HEALTHY, "none wanted"
    said = f"{ready} of {plural(wanted, 'replica')} ready"
    return (Health.HEALTHY if ready >= wanted else Health.PROGRESSING), said


def health_of_slice(obj: Object) -> tuple[Health, str]:
    """Whether a Service leads anywhere by this slice, and a sentence."""
    endpoints = obj.get("endpoints") or []
    ready = sum(takes_requests(each) for each in endpoints)
    if not endpoints:
        return Health.MISSING, "no address: nothing that the Service selects has one"
    said = f"{ready} of {plural(len(endpoints), 'address', 'addresses')} ready"
    if not ready:
        return Health.DEGRADED, said
    return (Health.HEALTHY if ready == len(endpoints) else Health.PROGRESSING), said


def takes_requests(endpoint: Object) -> bool:
    """Whether requests go there. What says nothing is taken to be ready, as Kubernetes documents it."""
    return (endpoint.get("conditions") or {}).get("ready") is not False

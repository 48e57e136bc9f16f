"""The steps that are particular to a kind when its objects are created and changed.

The counterpart of ``pkg/registry/*/strategy.go`` in Kubernetes. Functions change ``obj`` / ``new`` in place.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable, Collection
from typing import Any

from localcluster.crd import definitions
from localcluster.meta import now

Obj = dict[str, Any]

#: Addresses of Services; loopback, so that a proxy can listen on them. Pods have 127.16 to 127.239.
SERVICE_NETWORK = ipaddress.ip_network("127.240.0.0/13")

#: The class of claims that name none, and the one that there is.
DEFAULT_CLASS = "standard"
CLAIM_PROTECTION = "kubernetes.io/pvc-protection"

_GATED = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "SchedulingGated",
    "message": "Scheduling is blocked due to non-empty scheduling gates",
    "lastProbeTime": None,
    "lastTransitionTime": None,
}


def qos_class(spec: Obj) -> str:
    """Guaranteed, Burstable or BestEffort.

    https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/
    """
    containers = [*(spec.get("initContainers") or ()), *spec["containers"]]
    resources = [container.get("resources") or {} for container in containers]
    asked = [
        {**(each.get("limits") or {}), **(each.get("requests") or {})}.keys() & {"cpu", "memory"} for each in resources
    ]
    if not any(asked):
        return "BestEffort"
    for each in resources:
        limits = each.get("limits") or {}
        requests = {**limits, **(each.get("requests") or {})}
        if not {"cpu", "memory"} <= limits.keys() or any(requests[name] != limits[name] for name in ("cpu", "memory")):
            return "Burstable"
    return "Guaranteed"


def _create_pod(pod: Obj) -> None:
    pod["status"] = {"phase": "Pending"}
    if pod["spec"].get("containers"):
        pod["status"]["qosClass"] = qos_class(pod["spec"])
    if pod["spec"].get("schedulingGates"):
        pod["status"]["conditions"] = [dict(_GATED)]


def _create_namespace(namespace: Obj) -> None:
    namespace["status"] = {"phase": "Active"}


def _create_job(job: Obj) -> None:
    """Give the job a selector that finds its own pods alone, unless it brings one (``manualSelector``)."""
    job["status"] = {}
    spec, metadata = job["spec"], job["metadata"]
    if spec.get("manualSelector"):
        return
    uid, name = metadata["uid"], metadata["name"]
    labels = {
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": name,
        "controller-uid": uid,
        "job-name": name,
    }
    template = spec.setdefault("template", {}).setdefault("metadata", {})
    template["labels"] = {**(template.get("labels") or {}), **labels}
    spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}


def _create_service(service: Obj) -> None:
    service["status"] = {"loadBalancer": {}}


def _create_deployment(deployment: Obj) -> None:
    deployment["status"] = {}


def _create_replicaset(replicaset: Obj) -> None:
    replicaset["status"] = {"replicas": 0}


def _create_claim(claim: Obj) -> None:
    """Kept while a pod uses it; and of the default class unless it says otherwise ("" is to have none)."""
    claim["status"] = {"phase": "Pending"}
    if CLAIM_PROTECTION not in claim["metadata"].setdefault("finalizers", []):
        claim["metadata"]["finalizers"].append(CLAIM_PROTECTION)
    if claim["spec"].get("storageClassName") is None:
        claim["spec"]["storageClassName"] = DEFAULT_CLASS


def _create_event(event: Obj) -> None:
    event["metadata"].setdefault("creationTimestamp", now())


_CREATE: dict[str, Callable[[Obj], None]] = {
    "pods": _create_pod,
    "namespaces": _create_namespace,
    "jobs": _create_job,
    "services": _create_service,
    "deployments": _create_deployment,
    "replicasets": _create_replicaset,
    "persistentvolumeclaims": _create_claim,
    "events": _create_event,
    "customresourcedefinitions": definitions.establish,
}


def prepare_create(resource: str, obj: Obj) -> None:
    """Set what only the server may set. ``metadata`` is complete already; defaults are filled in."""
    if prepare := _CREATE.get(resource):
        prepare(obj)


def _update_job(old: Obj, new: Obj) -> None:
    """A manifest that is applied again doesn't know the generated selector and labels: keep them."""
    spec, was = new["spec"], old["spec"]
    if was.get("manualSelector"):
        return
    if spec.get("selector") is None:
        spec["selector"] = was.get("selector")
    generated = {
        key: value
        for key, value in ((was["template"].get("metadata") or {}).get("labels") or {}).items()
        if key.endswith(("controller-uid", "job-name"))
    }
    metadata = spec.setdefault("template", {}).setdefault("metadata", {})
    metadata["labels"] = {**generated, **(metadata.get("labels") or {})}


def _update_service(old: Obj, new: Obj) -> None:
    if new["spec"].get("type") == "ExternalName":
        return
    for field in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
        if not new["spec"].get(field) and old["spec"].get(field):
            new["spec"][field] = old["spec"][field]


def _update_pod(old: Obj, new: Obj) -> None:
    for field in ("nodeName", "serviceAccountName", "serviceAccount"):
        if not new["spec"].get(field) and old["spec"].get(field):
            new["spec"][field] = old["spec"][field]


def _update_claim(old: Obj, new: Obj) -> None:
    """A manifest that is applied again doesn't know what the claim was given."""
    for field in ("volumeName", "storageClassName"):
        if new["spec"].get(field) is None and old["spec"].get(field) is not None:
            new["spec"][field] = old["spec"][field]


def _update_definition(_old: Obj, new: Obj) -> None:
    definitions.establish(new)


_UPDATE: dict[str, Callable[[Obj, Obj], None]] = {
    "jobs": _update_job,
    "services": _update_service,
    "pods": _update_pod,
    "persistentvolumeclaims": _update_claim,
    "customresourcedefinitions": _update_definition,
}


def prepare_update(resource: str, old: Obj, new: Obj) -> None:
    """Carry over what a client may leave out of a replacement."""
    if "spec" in old and new.get("spec") is None:
        new["spec"] = {}
    if prepare := _UPDATE.get(resource):
        prepare(old, new)


def free_service_address(taken: Collection[str], choose: random.Random) -> str:
    """An address of :data:`SERVICE_NETWORK` that no Service has."""
    size = SERVICE_NETWORK.num_addresses
    while True:
        address = str(SERVICE_NETWORK[choose.randrange(1, size - 1)])
        if address not in taken:
            return address


def allocate_cluster_ip(service: Obj, taken: Collection[str], choose: random.Random) -> None:
    """Give the Service its ``clusterIP``, unless it is headless, external or asks for a certain one."""
    spec = service["spec"]
    if spec.get("type") == "ExternalName":
        return
    if not spec.get("clusterIP"):
        spec["clusterIP"] = free_service_address(taken, choose)
    spec["clusterIPs"] = [spec["clusterIP"]]

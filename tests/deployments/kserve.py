"""KServe's part, played on the local cluster: the definition of its InferenceService, and what its controller makes of
one in the Standard deployment mode.

It follows the code of kserve/kserve of August 2026: pkg/controller/v1beta1/inferenceservice (components/predictor.go,
reconcilers/deployment, reconcilers/service) and PropagateRawStatus of pkg/apis/serving/v1beta1.
"""

from contextlib import AbstractContextManager
from typing import Any

from apps.clusters.kube import paths
from apps.clusters.kube.client import KubeClient
from tests import custom
from tests.stack import LocalCluster

Object = dict[str, Any]

API, KIND = "serving.kserve.io/v1beta1", "InferenceService"
FINALIZER = "inferenceservice.finalizers"
# The fields of a predictor that are none of its pods' spec (PredictorSpec and ComponentExtensionSpec).
_OF_COMPONENT = frozenset({"model", "minReplicas", "maxReplicas", "deploymentStrategy", "labels", "annotations"})
_BY_NAME = {
    "type": "array",
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["name"],
    "items": {**custom.ANYTHING, "required": ["name"], "properties": {"name": {"type": "string"}}},
}


def definition() -> Object:
    """Its CustomResourceDefinition, cut down to what matters for merges: lists are such as they are in the full one."""
    container = {"env": _BY_NAME, "args": {"type": "array", "items": {"type": "string"}}}
    predictor = {
        "minReplicas": {"type": "integer", "format": "int32"},
        "model": {
            **custom.ANYTHING,
            "properties": {
                **container,
                "modelFormat": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}},
                "runtime": {"type": "string"},
                "protocolVersion": {"type": "string"},
            },
        },
        "containers": {
            "type": "array",
            "items": {**custom.ANYTHING, "required": ["name"], "properties": {**container, "name": {"type": "string"}}},
        },
    }
    spec = {"type": "object", "properties": {"predictor": {**custom.ANYTHING, "properties": predictor}}}
    return custom.definition(API, KIND, spec)


def installed(client: KubeClient) -> AbstractContextManager[None]:
    """Its definition alone, as where KServe's controller is down."""
    return custom.defined(client, definition())


def running(local: LocalCluster, namespace: str) -> AbstractContextManager[None]:
    """KServe, with its controller, in one namespace."""
    return custom.controlled(local, definition(), namespace, _reconcile)


def _reconcile(client: KubeClient, service: Object) -> None:
    metadata = service["metadata"]
    finalizers = metadata.get("finalizers") or []
    if "deletionTimestamp" in metadata:
        if FINALIZER in finalizers:
            rest = [each for each in finalizers if each != FINALIZER]
            _write(client, service, "merge-patch", {"metadata": {"finalizers": rest}})
        return
    if FINALIZER not in finalizers:
        _write(client, service, "merge-patch", {"metadata": {"finalizers": [*finalizers, FINALIZER]}})
    predictor = service["spec"]["predictor"]
    if "model" in predictor:
        # No serving runtime is installed.
        failure = {"reason": "RuntimeNotRecognized", "message": "Waiting for runtime to become available"}
        said = {"transitionStatus": "InvalidSpec", "lastFailureInfo": failure}
        _tell(client, service, [_condition("Ready", "Unknown")], modelStatus=said)
        return
    for made in (_deployment(service), _service(service)):
        _write(client, made, "apply-patch", made)
    name = f"{metadata['name']}-predictor"
    status = client.get("apps/v1", "Deployment", name, metadata["namespace"]).get("status") or {}
    available = next((each for each in status.get("conditions") or [] if each["type"] == "Available"), {})
    said = _condition("PredictorReady", str(available.get("status", "Unknown")), available)
    _tell(client, service, [said, {**said, "type": "Ready"}], deploymentMode="Standard")


def _meta(service: Object) -> Object:
    metadata = service["metadata"]
    name = f"{metadata['name']}-predictor"
    owner = {"apiVersion": API, "kind": KIND, "name": metadata["name"], "uid": metadata["uid"]}
    labels = {
        **metadata["labels"],
        "serving.kserve.io/inferenceservice": metadata["name"],
        "component": "predictor",
        "app": f"isvc.{name}",
    }
    return {
        "name": name,
        "namespace": metadata["namespace"],
        "labels": labels,
        "annotations": metadata.get("annotations") or {},
        "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
    }


def _deployment(service: Object) -> Object:
    meta, predictor = _meta(service), service["spec"]["predictor"]
    assert meta["annotations"]["serving.kserve.io/deploymentMode"] == "Standard"
    assert meta["annotations"]["serving.kserve.io/autoscalerClass"] == "none", "else an autoscaler says how many"
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": meta,
        "spec": {
            "replicas": predictor["minReplicas"],
            "strategy": predictor["deploymentStrategy"],
            "selector": {"matchLabels": {"app": meta["labels"]["app"]}},
            "template": {
                "metadata": {part: meta[part] for part in ("labels", "annotations")},
                "spec": {name: value for name, value in predictor.items() if name not in _OF_COMPONENT},
            },
        },
    }


def _service(service: Object) -> Object:
    meta = _meta(service)
    ports = [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]
    spec = {"selector": {"app": meta["labels"]["app"]}, "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}


def _condition(type_: str, status: str, like: Object | None = None) -> Object:
    words = {name: value for name, value in (like or {}).items() if name in ("reason", "message")}
    return {"type": type_, "status": status, **words}


def _tell(client: KubeClient, service: Object, conditions: list[Object], **status: Any) -> None:
    wanted = {"conditions": conditions, **status}
    if (service.get("status") or {}) != wanted:
        _write(client, service, "merge-patch", {"status": wanted}, subresource="status")


def _write(client: KubeClient, obj: Object, how: str, body: Object, subresource: str | None = None) -> None:
    """As KServe's controller, whose field manager is called after its binary."""
    metadata = obj["metadata"]
    path = paths.item(obj["apiVersion"], obj["kind"], metadata["name"], metadata["namespace"], subresource)
    query = {"fieldManager": "manager"} | ({"force": "true"} if how == "apply-patch" else {})
    kind = "application/apply-patch+yaml" if how == "apply-patch" else "application/merge-patch+json"
    client._transport.call("PATCH", path, query=query, body=body, content_type=kind)

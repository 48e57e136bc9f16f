"""A revision as an InferenceService of KServe's, in its Standard deployment mode: KServe makes a Kubernetes Deployment
of it, `<name>-predictor`, and its labels are those of that Deployment and of its pods. Pure.

Written by what KServe's code of August 2026 does with the object (pkg/controller/v1beta1/inferenceservice).
https://kserve.github.io/website/docs/reference/crd-api
"""

from collections.abc import Mapping
from typing import Any

from apps.clusters.manifests import RUN_AS_USER
from apps.deployments.specs import OWN_MODEL_PATH, KServe, RevisionSpec

API_VERSION = "serving.kserve.io/v1beta1"
KIND = "InferenceService"
# As `apps.clusters.connect.engines` calls it.
ENGINE = "KServe"
# The ending of the name of the Kubernetes Deployment that KServe makes.
PREDICTOR = "-predictor"
# No Knative: pods, their number and the traffic are those of a plain Deployment.
_MODE = ("serving.kserve.io/deploymentMode", "Standard")
# KServe makes no autoscaler of its own, and takes `minReplicas` for the number.
_NO_AUTOSCALER = ("serving.kserve.io/autoscalerClass", "none")
# No Ingress: the deployment has a Service and routes of its own.
_INTERNAL = ("networking.kserve.io/visibility", "cluster-local")
# KServe calls a model as the InferenceService, so that each revision would have another address. Its Python servers
# take the last of several names that they are given; what a serving runtime is started with comes before our own.
_NAMED_BY_ARGUMENT = frozenset(
    {
        "kserve-sklearnserver",
        "kserve-xgbserver",
        "kserve-lgbserver",
        "kserve-paddleserver",
        "kserve-pmmlserver",
        "kserve-huggingfaceserver",
    }
)
_MLSERVER = "kserve-mlserver"

Object = dict[str, Any]


def inference_service(
    spec: RevisionSpec, kserve: KServe, metadata: Object, pod: Object, strategy: Object, replicas: int
) -> Object:
    """The InferenceService with this pod's spec; the model's files are brought by the pod's own init step.

    `metadata` and `strategy` are those of the Kubernetes Deployment that it would be otherwise.
    """
    predictor = {name: value for name, value in pod.items() if name != "containers"}
    [container] = pod["containers"]
    if kserve.model_format:
        predictor["model"] = _model(spec, kserve, container)
        if "initContainers" in predictor:
            predictor["initContainers"] = [_as_nobody(step) for step in predictor["initContainers"]]
    else:
        predictor["containers"] = [container | {"name": "kserve-container"}]
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {
            **metadata,
            "labels": metadata["labels"] | dict([_INTERNAL]),
            "annotations": dict([_MODE, _NO_AUTOSCALER]),
        },
        "spec": {"predictor": {"minReplicas": replicas, "deploymentStrategy": strategy, **predictor}},
    }


def is_made_by_kserve(obj: Mapping[str, Any]) -> bool:
    """Whether KServe made the object out of an InferenceService: it goes with that one."""
    owners = (obj.get("metadata") or {}).get("ownerReferences") or ()
    return any(owner.get("controller") and owner.get("kind") == KIND for owner in owners)


def _model(spec: RevisionSpec, kserve: KServe, container: Object) -> Object:
    """The part of the container that changes the serving runtime's own; KServe gives it its name."""
    own = {name: value for name, value in container.items() if name != "name" and (name != "image" or value)}
    name = spec.model.name if spec.model else ""
    if kserve.serving_runtime in _NAMED_BY_ARGUMENT:
        own["args"] = [f"--model_name={name}", *own.get("args", ())]
    if kserve.serving_runtime == _MLSERVER:
        there = {variable["name"] for variable in own["env"]}
        own["env"] = [*own["env"], *(each for each in _of_mlserver(name) if each["name"] not in there)]
    return {
        "modelFormat": {"name": kserve.model_format},
        "runtime": kserve.serving_runtime,
        "protocolVersion": kserve.protocol,
        **own,
    }


def _of_mlserver(name: str) -> list[Object]:
    """What KServe tells MLServer only where it brings the files itself."""
    return [
        {"name": "MLSERVER_MODEL_NAME", "value": name},
        {"name": "MLSERVER_MODEL_URI", "value": OWN_MODEL_PATH},
        {"name": "MLSERVER_LOAD_MODELS_AT_STARTUP", "value": "true"},
    ]


def _as_nobody(step: Object) -> Object:
    """The init step as the user that it has in all other pods: the pod's is the serving runtime's."""
    context = step["securityContext"] | {"runAsUser": RUN_AS_USER, "runAsGroup": RUN_AS_USER}
    return step | {"securityContext": context}

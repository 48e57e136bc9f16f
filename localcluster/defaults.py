"""The defaults that the API server fills into a manifest (pkg/apis/*/v1/defaults.go of Kubernetes).

Each function changes the object in place; all are idempotent, so that a patch of a defaulted object is a no-op.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from typing import Any

from localcluster.admission import limitranges
from localcluster.crd import definitions, structural
from localcluster.resources import Resource

Obj = dict[str, Any]


def _each(parent: Obj, field: str) -> Iterable[Obj]:
    return parent.get(field) or ()


def _probe(probe: Obj) -> None:
    for field, value in (
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ):
        if not probe.get(field):
            probe[field] = value
    if http := probe.get("httpGet"):
        http.setdefault("path", "/")
        http.setdefault("scheme", "HTTP")


def _image_pull_policy(image: str) -> str:
    tag = image.rsplit("/", 1)[-1]
    latest = "@" not in tag and (":" not in tag or tag.endswith(":latest"))
    return "Always" if latest else "IfNotPresent"


def _container(container: Obj) -> None:
    container.setdefault("imagePullPolicy", _image_pull_policy(container.get("image") or ""))
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    resources = container.setdefault("resources", {})
    if limits := resources.get("limits"):
        resources["requests"] = {**limits, **(resources.get("requests") or {})}
    for port in _each(container, "ports"):
        port.setdefault("protocol", "TCP")
    for variable in _each(container, "env"):
        if field := (variable.get("valueFrom") or {}).get("fieldRef"):
            field.setdefault("apiVersion", "v1")
        if resource := (variable.get("valueFrom") or {}).get("resourceFieldRef"):
            resource.setdefault("divisor", "0")
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if probe := container.get(name):
            _probe(probe)
    for hook in (container.get("lifecycle") or {}).values():
        if http := (hook or {}).get("httpGet"):
            http.setdefault("path", "/")
            http.setdefault("scheme", "HTTP")


def _volume(volume: Obj) -> None:
    if not any(field != "name" for field in volume):
        volume["emptyDir"] = {}
    for kind in ("configMap", "secret", "downwardAPI", "projected"):
        if (source := volume.get(kind)) is not None:
            source.setdefault("defaultMode", 420)
    for item in _each(volume.get("downwardAPI") or {}, "items"):
        if field := item.get("fieldRef"):
            field.setdefault("apiVersion", "v1")
    for source in _each(volume.get("projected") or {}, "sources"):
        if token := source.get("serviceAccountToken"):
            token.setdefault("expirationSeconds", 3600)
        for item in _each(source.get("downwardAPI") or {}, "items"):
            if field := item.get("fieldRef"):
                field.setdefault("apiVersion", "v1")


def pod_spec(spec: Obj) -> None:
    """Defaults of a PodSpec, in pods and in templates."""
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("schedulerName", "default-scheduler")
    spec.setdefault("securityContext", {})
    if name := spec.get("serviceAccountName"):
        spec.setdefault("serviceAccount", name)
    for container in (*_each(spec, "initContainers"), *_each(spec, "containers")):
        _container(container)
    for volume in _each(spec, "volumes"):
        _volume(volume)


def _toleration(key: str) -> Obj:
    return {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}


def _pod(pod: Obj) -> None:
    spec = pod["spec"]
    pod_spec(spec)
    spec.setdefault("enableServiceLinks", True)
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    spec.setdefault("priority", 0)
    spec.setdefault("serviceAccountName", "default")
    spec.setdefault("serviceAccount", spec["serviceAccountName"])
    tolerations = spec.get("tolerations") or []
    covered = {toleration.get("key") for toleration in tolerations}
    missing = [
        _toleration(key)
        for key in ("not-ready", "unreachable")
        if f"node.kubernetes.io/{key}" not in covered and None not in covered
    ]
    if missing:
        spec["tolerations"] = [*tolerations, *missing]


def _template(spec: Obj) -> None:
    template = spec.setdefault("template", {})
    template.setdefault("metadata", {}).setdefault("creationTimestamp", None)
    pod_spec(template.setdefault("spec", {}))


def _deployment(deployment: Obj) -> None:
    spec = deployment["spec"]
    spec.setdefault("replicas", 1)
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    strategy = spec.setdefault("strategy", {})
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.get("rollingUpdate") or {}
        strategy["rollingUpdate"] = {"maxUnavailable": "25%", "maxSurge": "25%", **rolling}
    _template(spec)


def _replicaset(replicaset: Obj) -> None:
    replicaset["spec"].setdefault("replicas", 1)
    _template(replicaset["spec"])


def _job(job: Obj) -> None:
    spec = job["spec"]
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = spec["parallelism"] = 1
    if spec.get("parallelism") is None:
        spec["parallelism"] = 1
    spec.setdefault("backoffLimit", 6)
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    spec.setdefault("manualSelector", False)
    spec.setdefault("podReplacementPolicy", "Failed" if spec.get("podFailurePolicy") else "TerminatingOrFailed")
    _template(spec)


def _service(service: Obj) -> None:
    spec = service["spec"]
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    for port in _each(spec, "ports"):
        port.setdefault("protocol", "TCP")
        if port.get("targetPort") in (None, "", 0):
            port["targetPort"] = port.get("port")
    if spec["type"] == "ExternalName":
        return
    spec.setdefault("internalTrafficPolicy", "Cluster")
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")


def _claim(claim: Obj) -> None:
    claim["spec"].setdefault("volumeMode", "Filesystem")


def _secret(secret: Obj) -> None:
    secret.setdefault("type", "Opaque")
    text = secret.pop("stringData", None) or {}
    encoded = {key: base64.b64encode(str(value).encode()).decode() for key, value in text.items()}
    if encoded:
        secret["data"] = {**(secret.get("data") or {}), **encoded}


def _namespace(namespace: Obj) -> None:
    metadata = namespace["metadata"]
    if name := metadata.get("name"):
        metadata["labels"] = {**(metadata.get("labels") or {}), "kubernetes.io/metadata.name": name}
    namespace.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])


def _ports(holder: Obj) -> None:
    for port in _each(holder, "ports"):
        port.setdefault("protocol", "TCP")


def _endpoints(endpoints: Obj) -> None:
    for subset in _each(endpoints, "subsets"):
        _ports(subset)


def _autoscaler(autoscaler: Obj) -> None:
    spec = autoscaler["spec"]
    spec.setdefault("minReplicas", 1)
    if not spec.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": 80}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]


def _binding(binding: Obj) -> None:
    binding.setdefault("roleRef", {}).setdefault("apiGroup", "rbac.authorization.k8s.io")
    for subject in _each(binding, "subjects"):
        subject.setdefault("apiGroup", "" if subject.get("kind") == "ServiceAccount" else "rbac.authorization.k8s.io")


_WITH_SPEC = {"pods", "deployments", "replicasets", "jobs", "services", "nodes"} | {
    "horizontalpodautoscalers",
    "poddisruptionbudgets",
    "persistentvolumeclaims",
}

_DEFAULTS: dict[str, Callable[[Obj], None]] = {
    "pods": _pod,
    "deployments": _deployment,
    "replicasets": _replicaset,
    "jobs": _job,
    "services": _service,
    "secrets": _secret,
    "persistentvolumeclaims": _claim,
    "namespaces": _namespace,
    "endpointslices": _ports,
    "horizontalpodautoscalers": _autoscaler,
    "endpoints": _endpoints,
    "rolebindings": _binding,
    "clusterrolebindings": _binding,
    "limitranges": limitranges.complete,
    "customresourcedefinitions": definitions.fill_defaults,
}


def apply_defaults(row: Resource, obj: Obj) -> None:
    """Fill in what ``obj`` leaves open, in place."""
    if row.custom:
        structural.fill_defaults(obj, row.custom.schema)
        return
    if row.key in _WITH_SPEC and obj.get("spec") is None:
        obj["spec"] = {}
    if fill := _DEFAULTS.get(row.key):
        fill(obj)

"""From an object's apiVersion and kind to its URL. Pure.

A table instead of discovery: these are the kinds that Flotilla reads or writes, and each call costs one request only.
"""

from urllib.parse import quote, unquote

from apps.clusters.kube.errors import Invalid, Subject

_CLUSTER_WIDE = {
    ("v1", "Namespace"): "namespaces",
    ("v1", "Node"): "nodes",
    ("metrics.k8s.io/v1beta1", "NodeMetrics"): "nodes",
    ("authorization.k8s.io/v1", "SelfSubjectAccessReview"): "selfsubjectaccessreviews",
    ("storage.k8s.io/v1", "StorageClass"): "storageclasses",
    ("rbac.authorization.k8s.io/v1", "ClusterRole"): "clusterroles",
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"): "customresourcedefinitions",
    ("gateway.networking.k8s.io/v1", "GatewayClass"): "gatewayclasses",
    ("kueue.x-k8s.io/v1beta1", "ClusterQueue"): "clusterqueues",
}
_NAMESPACED = {
    ("v1", "Pod"): "pods",
    ("v1", "Service"): "services",
    ("v1", "Endpoints"): "endpoints",
    ("v1", "ConfigMap"): "configmaps",
    ("v1", "Secret"): "secrets",
    ("v1", "Event"): "events",
    ("v1", "ServiceAccount"): "serviceaccounts",
    ("v1", "PersistentVolumeClaim"): "persistentvolumeclaims",
    ("v1", "ResourceQuota"): "resourcequotas",
    ("v1", "LimitRange"): "limitranges",
    ("apps/v1", "Deployment"): "deployments",
    ("apps/v1", "ReplicaSet"): "replicasets",
    ("apps/v1", "StatefulSet"): "statefulsets",
    ("apps/v1", "DaemonSet"): "daemonsets",
    ("batch/v1", "Job"): "jobs",
    ("batch/v1", "CronJob"): "cronjobs",
    ("autoscaling/v2", "HorizontalPodAutoscaler"): "horizontalpodautoscalers",
    ("discovery.k8s.io/v1", "EndpointSlice"): "endpointslices",
    ("networking.k8s.io/v1", "Ingress"): "ingresses",
    ("networking.k8s.io/v1", "NetworkPolicy"): "networkpolicies",
    ("policy/v1", "PodDisruptionBudget"): "poddisruptionbudgets",
    ("coordination.k8s.io/v1", "Lease"): "leases",
    ("rbac.authorization.k8s.io/v1", "Role"): "roles",
    ("rbac.authorization.k8s.io/v1", "RoleBinding"): "rolebindings",
    ("metrics.k8s.io/v1beta1", "PodMetrics"): "pods",
    ("gateway.networking.k8s.io/v1", "HTTPRoute"): "httproutes",
    ("gateway.networking.k8s.io/v1", "Gateway"): "gateways",
    ("kueue.x-k8s.io/v1beta1", "LocalQueue"): "localqueues",
    ("kueue.x-k8s.io/v1beta1", "Workload"): "workloads",
    ("keda.sh/v1alpha1", "ScaledObject"): "scaledobjects",
    ("serving.kserve.io/v1beta1", "InferenceService"): "inferenceservices",
    ("trainer.kubeflow.org/v1alpha1", "TrainJob"): "trainjobs",
}


def collection(api_version: str, kind: str, namespace: str | None = None) -> str:
    """The path of a kind's collection; of all namespaces when `namespace` is None.

    Raises Invalid for a kind that the table does not have, and for an empty or impossible namespace.
    """
    root = f"/api/{api_version}" if "/" not in api_version else f"/apis/{api_version}"
    plural = _CLUSTER_WIDE.get((api_version, kind))
    if plural is not None:
        return f"{root}/{plural}"
    plural = _NAMESPACED.get((api_version, kind))
    if plural is None:
        raise Invalid(0, "UnknownKind", f"Flotilla knows no {kind} of {api_version}.")
    if namespace is None:
        return f"{root}/{plural}"
    return f"{root}/namespaces/{segment(namespace, 'namespace')}/{plural}"


def item(api_version: str, kind: str, name: str, namespace: str | None = None, subresource: str | None = None) -> str:
    """The path of one object, or of its subresource. Raises Invalid for an empty name or a missing namespace."""
    if namespace is None and (api_version, kind) in _NAMESPACED:
        raise Invalid(0, "NamespaceRequired", f"A {kind} lives in a namespace; none was given.")
    path = f"{collection(api_version, kind, namespace)}/{segment(name, 'name')}"
    return f"{path}/{segment(subresource, 'subresource')}" if subresource else path


def subject(path: str) -> Subject:
    """The subject of a path of this module, or of one below it; an empty one for a path that names no resource."""
    parts = [unquote(part) for part in path.partition("?")[0].split("/")[1:]]
    if parts[:2] == ["api", "v1"]:
        group, parts = "", parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, parts = parts[1], parts[3:]
    else:
        return Subject()
    namespace = ""
    if parts[:1] == ["namespaces"] and len(parts) > 2:
        namespace, parts = parts[1], parts[2:]
    resource, name, subresource = (*parts[:3], "", "", "")[:3]
    return Subject(group, resource, namespace, name, subresource)


def segment(value: str, part: str) -> str:
    """One safe path segment. An empty name would turn "delete this" into "delete all", so it raises Invalid."""
    if not value or value in {".", ".."} or "/" in value or "%" in value:
        raise Invalid(0, "BadName", f"{value!r} can't be the {part} of an object.")
    return quote(value, safe=":-._~")

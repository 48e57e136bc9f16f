"""The table of kinds that the API serves. The plural is the key everywhere: it is unique among them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Resource:
    """One row: what discovery tells, and how the registry treats the kind."""

    plural: str
    kind: str
    group: str = ""
    version: str = "v1"
    short: tuple[str, ...] = ()
    namespaced: bool = True
    subresources: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    #: Does ``metadata.generation`` count the changes of ``spec``?
    counts_generations: bool = False
    #: Is the status that a creator sends thrown away? (Kubelets register nodes with theirs.)
    resets_status: bool = True
    #: The group's name inside OpenAPI definition names, e.g. ``io.k8s.api.rbac.v1.Role``.
    package: str = "core"

    @property
    def singular(self) -> str:
        """The name as ``kubectl get pod`` takes it."""
        return self.kind.lower()

    @property
    def api_version(self) -> str:
        """``v1`` or ``apps/v1``, as objects carry it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def has_status(self) -> bool:
        """Is ``status`` written through its own subresource?"""
        return "status" in self.subresources

    @property
    def definition(self) -> str:
        """The name of the kind's OpenAPI definition."""
        return f"io.k8s.api.{self.package}.{self.version}.{self.kind}"


_RBAC = "rbac.authorization.k8s.io"

RESOURCES: tuple[Resource, ...] = (
    Resource("namespaces", "Namespace", short=("ns",), namespaced=False, subresources=("status", "finalize")),
    Resource("nodes", "Node", short=("no",), namespaced=False, subresources=("status",), resets_status=False),
    Resource(
        "pods",
        "Pod",
        short=("po",),
        subresources=("status", "log", "proxy", "eviction", "binding"),
        categories=("all",),
    ),
    Resource("services", "Service", short=("svc",), subresources=("status", "proxy"), categories=("all",)),
    Resource("endpoints", "Endpoints", short=("ep",)),
    Resource("configmaps", "ConfigMap", short=("cm",)),
    Resource("secrets", "Secret"),
    Resource("events", "Event", short=("ev",)),
    Resource("serviceaccounts", "ServiceAccount", short=("sa",), subresources=("token",)),
    Resource(
        "deployments",
        "Deployment",
        "apps",
        short=("deploy",),
        subresources=("status", "scale"),
        categories=("all",),
        counts_generations=True,
        package="apps",
    ),
    Resource(
        "replicasets",
        "ReplicaSet",
        "apps",
        short=("rs",),
        subresources=("status", "scale"),
        categories=("all",),
        counts_generations=True,
        package="apps",
    ),
    Resource(
        "jobs",
        "Job",
        "batch",
        subresources=("status",),
        categories=("all",),
        counts_generations=True,
        package="batch",
    ),
    Resource("endpointslices", "EndpointSlice", "discovery.k8s.io", counts_generations=False, package="discovery"),
    Resource(
        "horizontalpodautoscalers",
        "HorizontalPodAutoscaler",
        "autoscaling",
        "v2",
        short=("hpa",),
        subresources=("status",),
        categories=("all",),
        package="autoscaling",
    ),
    Resource(
        "poddisruptionbudgets",
        "PodDisruptionBudget",
        "policy",
        short=("pdb",),
        subresources=("status",),
        counts_generations=True,
        package="policy",
    ),
    Resource("resourcequotas", "ResourceQuota", short=("quota",), subresources=("status",)),
    Resource("limitranges", "LimitRange", short=("limits",)),
    Resource(
        "priorityclasses", "PriorityClass", "scheduling.k8s.io", short=("pc",), namespaced=False, package="scheduling"
    ),
    Resource("leases", "Lease", "coordination.k8s.io", package="coordination"),
    Resource("roles", "Role", _RBAC, package="rbac"),
    Resource("rolebindings", "RoleBinding", _RBAC, package="rbac"),
    Resource("clusterroles", "ClusterRole", _RBAC, namespaced=False, package="rbac"),
    Resource("clusterrolebindings", "ClusterRoleBinding", _RBAC, namespaced=False, package="rbac"),
)

BY_PLURAL: dict[str, Resource] = {resource.plural: resource for resource in RESOURCES}
BY_KIND: dict[tuple[str, str], Resource] = {(resource.api_version, resource.kind): resource for resource in RESOURCES}
BY_PATH: dict[tuple[str, str, str], Resource] = {
    (resource.group, resource.version, resource.plural): resource for resource in RESOURCES
}


def for_kind(api_version: str, kind: str) -> Resource | None:
    """The row of an object's or an ownerReference's kind, or None when it is not served here."""
    return BY_KIND.get((api_version, kind))

"""The table of kinds that are built in. A cluster's :class:`localcluster.catalog.Catalog` adds the custom ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Obj = dict[str, Any]


@dataclass(frozen=True, slots=True)
class CustomKind:
    """The facts that a version of a custom kind has beyond those of a built-in one."""

    singular: str
    list_kind: str
    #: The structural schema, with the fields that every object has.
    schema: Obj
    columns: tuple[Obj, ...] = ()
    #: specReplicasPath, statusReplicasPath and labelSelectorPath, where there is a scale subresource.
    scale: Obj = field(default_factory=dict)
    stored: bool = True
    served: bool = True
    #: Is the definition being deleted? Then nothing new is made.
    terminating: bool = False


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
    #: The part of those names before it.
    prefix: str = "io.k8s.api"
    #: Fields that can be selected on, beyond those that the server knows.
    selectable: tuple[str, ...] = ()
    #: The additional facts of a custom kind.
    custom: CustomKind | None = field(default=None, compare=False, repr=False)

    @property
    def key(self) -> str:
        """The name of the kind in the registry and the store: the plural, or the name of a CustomResourceDefinition."""
        return self.plural if self.custom is None else f"{self.plural}.{self.group}"

    @property
    def singular(self) -> str:
        """The name as ``kubectl get pod`` takes it."""
        return self.custom.singular if self.custom else self.kind.lower()

    @property
    def list_kind(self) -> str:
        """The kind of a list of them."""
        return self.custom.list_kind if self.custom else f"{self.kind}List"

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
        if self.custom:
            return ".".join((*reversed(self.group.split(".")), self.version, self.kind))
        return f"{self.prefix}.{self.package}.{self.version}.{self.kind}"


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
    Resource("persistentvolumeclaims", "PersistentVolumeClaim", short=("pvc",), subresources=("status",)),
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
    Resource(
        "customresourcedefinitions",
        "CustomResourceDefinition",
        "apiextensions.k8s.io",
        short=("crd", "crds"),
        namespaced=False,
        subresources=("status",),
        categories=("api-extensions",),
        counts_generations=True,
        resets_status=False,
        package="apiextensions",
        prefix="io.k8s.apiextensions-apiserver.pkg.apis",
    ),
)

BY_PLURAL: dict[str, Resource] = {resource.plural: resource for resource in RESOURCES}

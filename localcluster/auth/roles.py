"""The roles that every cluster has.

https://kubernetes.io/docs/reference/access-authn-authz/rbac/#default-roles-and-role-bindings
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localcluster.auth.users import AUTHENTICATED, MASTERS, UNAUTHENTICATED

if TYPE_CHECKING:
    from localcluster.registry import Registry

Obj = dict[str, Any]

_PUBLIC = ("/healthz", "/livez", "/readyz", "/version", "/version/")
_DISCOVERY = ("/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*", *_PUBLIC)
_READ, _WRITE = ("get", "list", "watch"), ("create", "delete", "deletecollection", "patch", "update")
_CORE = ("configmaps", "endpoints", "pods", "pods/log", "pods/status", "serviceaccounts", "services")
_CLAIMS = ("persistentvolumeclaims", "persistentvolumeclaims/status")
_SEEN = (
    ("", (*_CORE, "events", "limitranges", "namespaces", "resourcequotas", "resourcequotas/status", *_CLAIMS)),
    ("apps", ("deployments", "deployments/scale", "deployments/status", "replicasets", "replicasets/status")),
    ("autoscaling", ("horizontalpodautoscalers", "horizontalpodautoscalers/status")),
    ("batch", ("jobs", "jobs/status")),
    ("discovery.k8s.io", ("endpointslices",)),
    ("policy", ("poddisruptionbudgets", "poddisruptionbudgets/status")),
)
_EDITED = (
    ("", ("configmaps", "endpoints", "pods", "pods/eviction", "secrets", "serviceaccounts", "services", _CLAIMS[0])),
    ("apps", ("deployments", "deployments/scale", "replicasets")),
    ("autoscaling", ("horizontalpodautoscalers",)),
    ("batch", ("jobs",)),
    ("policy", ("poddisruptionbudgets",)),
)


def _rule(group: str, resources: tuple[str, ...], verbs: tuple[str, ...]) -> Obj:
    return {"apiGroups": [group], "resources": list(resources), "verbs": list(verbs)}


def _paths(urls: tuple[str, ...]) -> list[Obj]:
    return [{"nonResourceURLs": list(urls), "verbs": ["get"]}]


def _roles() -> dict[str, list[Obj]]:
    reviews = [
        _rule("authorization.k8s.io", ("selfsubjectaccessreviews", "selfsubjectrulesreviews"), ("create",)),
        _rule("authentication.k8s.io", ("selfsubjectreviews",), ("create",)),
    ]
    view = [_rule(group, resources, _READ) for group, resources in _SEEN]
    edit = [
        *view,
        _rule("", ("secrets", "pods/proxy", "services/proxy"), _READ),
        _rule("", ("pods/proxy", "services/proxy", "serviceaccounts/token"), ("create",)),
        *(_rule(group, resources, _WRITE) for group, resources in _EDITED),
    ]
    rbac = ("roles", "rolebindings")
    return {
        "cluster-admin": [
            {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
            {"nonResourceURLs": ["*"], "verbs": ["*"]},
        ],
        "system:discovery": _paths(_DISCOVERY),
        "system:public-info-viewer": _paths(_PUBLIC),
        "system:basic-user": reviews,
        "view": view,
        "edit": edit,
        "admin": [*edit, _rule("rbac.authorization.k8s.io", rbac, (*_READ, *_WRITE))],
    }


_BINDINGS = {
    "cluster-admin": (MASTERS,),
    "system:discovery": (AUTHENTICATED,),
    "system:basic-user": (AUTHENTICATED,),
    "system:public-info-viewer": (AUTHENTICATED, UNAUTHENTICATED),
}


def _metadata(name: str) -> Obj:
    return {
        "name": name,
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
    }


def ensure_roles(registry: Registry) -> None:
    """Make the default roles and bindings that are missing. Those that somebody changed stay as they are."""
    for name, rules in _roles().items():
        if not registry.exists("clusterroles", name):
            registry.create("clusterroles", {"metadata": _metadata(name), "rules": rules})
    for name, groups in _BINDINGS.items():
        if not registry.exists("clusterrolebindings", name):
            role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
            subjects = [{"kind": "Group", "name": group} for group in groups]
            registry.create("clusterrolebindings", {"metadata": _metadata(name), "roleRef": role, "subjects": subjects})

"""The permissions that Flotilla needs on a cluster, as data: the chart's manager ClusterRole and the connection test
are both made from this list. Pure."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Permission:
    """`verbs` on one resource ("pods/log" names a subresource); `why` says what does not work without it."""

    group: str
    resource: str
    verbs: tuple[str, ...]
    why: str
    optional: bool = False

    @property
    def plural(self) -> str:
        """The resource without its subresource."""
        return self.resource.partition("/")[0]

    @property
    def subresource(self) -> str:
        """The part after the slash, or ""."""
        return self.resource.partition("/")[2]


_READ = ("get", "list", "watch")
_WRITE = ("create", "patch", "delete")

NEEDED: tuple[Permission, ...] = (
    Permission("", "nodes", _READ, "Nodes and their capacity are shown."),
    Permission("", "pods", (*_READ, "delete"), "Runs and replicas are followed; a stuck pod is removed."),
    Permission("", "pods/log", ("get",), "Logs are shown."),
    Permission("", "pods/proxy", ("get", "create"), "Predictions reach replicas."),
    Permission("", "events", _READ, "Pages say why something waits or fails."),
    Permission("", "namespaces", ("get", "list", "create", "patch"), "Each project has a namespace."),
    Permission("", "services", (*_READ, *_WRITE), "A deployment has a stable address."),
    Permission("", "secrets", ("get", *_WRITE), "Runs and replicas get their tokens."),
    Permission("batch", "jobs", (*_READ, *_WRITE), "Runs are launched and cancelled."),
    Permission("apps", "deployments", (*_READ, *_WRITE), "Models are served."),
    Permission("apps", "replicasets", _READ, "Rollouts are followed."),
    Permission("autoscaling", "horizontalpodautoscalers", _READ, "Autoscaling is shown.", optional=True),
    Permission("metrics.k8s.io", "nodes", ("get", "list"), "Used CPU and memory of nodes is shown.", optional=True),
    Permission("metrics.k8s.io", "pods", ("get", "list"), "Used CPU and memory of pods is shown.", optional=True),
)


def cluster_role(name: str = "flotilla-manager") -> dict[str, Any]:
    """The ClusterRole that grants exactly `NEEDED`."""
    rules = [
        {"apiGroups": [needed.group], "resources": [needed.resource], "verbs": list(needed.verbs)} for needed in NEEDED
    ]
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name},
        "rules": rules,
    }

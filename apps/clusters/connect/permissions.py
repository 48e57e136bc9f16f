"""The permissions that Flotilla needs on a cluster, as data: exactly those of the calls that the adapter makes. Pure.

The role that is offered, the check, the chart's manager ClusterRole and the table in the docs are all made from this
list or compared with it. tests/architecture/test_role.py does everything that Flotilla does on a cluster under this
role, records the calls, and compares: nothing is missing, nothing is superfluous.
"""

from dataclasses import dataclass

from apps.clusters.connect.engines import KNOWN


@dataclass(frozen=True)
class Permission:
    """`verbs` on one resource ("pods/log" names a subresource), or on its objects of these `names` alone; `why` says
    what does not work without it."""

    group: str
    resource: str
    verbs: tuple[str, ...]
    why: str
    optional: bool = False
    names: tuple[str, ...] = ()

    @property
    def plural(self) -> str:
        """The resource without its subresource."""
        return self.resource.partition("/")[0]

    @property
    def subresource(self) -> str:
        """The part after the slash, or ""."""
        return self.resource.partition("/")[2]


_WATCH = ("list", "watch")
# Server-side apply asks for both: to change, and where nothing is there to create.
_APPLY = ("create", "patch")

NEEDED: tuple[Permission, ...] = (
    Permission("", "nodes", _WATCH, "Nodes and their capacity are shown."),
    Permission("", "pods", _WATCH, "Runs and replicas are followed."),
    Permission("", "pods/log", ("get",), "Logs are shown."),
    Permission("", "pods/proxy", ("get", "create"), "Predictions reach replicas."),
    Permission("", "events", _WATCH, "Pages say why something waits or fails."),
    Permission("", "namespaces", _APPLY, "Each project has a namespace."),
    Permission("", "namespaces", ("get",), "The cluster is known by this one's uid.", names=("kube-system",)),
    Permission("", "services", ("get", *_WATCH, *_APPLY, "delete"), "A deployment has a stable address."),
    Permission("", "secrets", ("get", "list", *_APPLY, "delete"), "Runs and replicas get their tokens."),
    Permission("batch", "jobs", ("get", *_WATCH, "create", "delete"), "Runs are launched and cancelled."),
    Permission(
        "",
        "persistentvolumeclaims",
        ("get", "list", "create", "delete"),
        "Runs keep checkpoints, where they ask for it.",
        optional=True,
    ),
    Permission("apps", "deployments", (*_WATCH, *_APPLY, "delete"), "Models are served."),
    Permission(
        "autoscaling",
        "horizontalpodautoscalers",
        (*_WATCH, *_APPLY, "delete"),
        "Autoscaling is shown, and deployments are autoscaled.",
        optional=True,
    ),
    Permission(
        "keda.sh",
        "scaledobjects",
        (*_WATCH, *_APPLY, "delete"),
        "Deployments are scaled to zero and by triggers, where KEDA is found.",
        optional=True,
    ),
    Permission(
        "policy",
        "poddisruptionbudgets",
        ("get", "list", *_APPLY, "delete"),
        "Drains of nodes leave as many replicas as a deployment's budget says.",
        optional=True,
    ),
    Permission(
        "gateway.networking.k8s.io",
        "httproutes",
        ("get", "list", *_APPLY, "delete"),
        "Gateways give revisions their weights.",
        optional=True,
    ),
    Permission(
        "serving.kserve.io",
        "inferenceservices",
        (*_WATCH, *_APPLY, "delete"),
        "KServe serves models, where a revision asks for it.",
        optional=True,
    ),
    Permission(
        "trainer.kubeflow.org",
        "trainjobs",
        ("get", *_WATCH, "create", "delete"),
        "Kubeflow Trainer runs what asks for it.",
        optional=True,
    ),
    Permission(
        "apps", "replicasets", ("list",), "A deployment's resources tell what its objects have made.", optional=True
    ),
    Permission(
        "discovery.k8s.io", "endpointslices", ("list",), "A deployment's resources tell its addresses.", optional=True
    ),
    Permission("metrics.k8s.io", "nodes", ("list",), "Used CPU and memory of nodes is shown.", optional=True),
    Permission("metrics.k8s.io", "pods", ("list",), "Used CPU and memory of pods is shown.", optional=True),
    Permission(
        "apiextensions.k8s.io",
        "customresourcedefinitions",
        ("get",),
        "Versions of engines are shown.",
        optional=True,
        names=tuple(known.crd for known in KNOWN if known.crd),
    ),
)

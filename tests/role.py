"""The ClusterRole that grants exactly what Flotilla needs: the check page offers it, and the chart makes it."""

from typing import Any

import yaml

from apps.clusters.connect import grants, kubeconfig
from apps.clusters.connect.permissions import NEEDED, Permission
from apps.clusters.kube.client import KubeClient
from apps.clusters.kube.connection import Connection
from tests.clusters.conftest import eventually
from tests.stack import LocalCluster

RBAC = "rbac.authorization.k8s.io/v1"


def administrator(local_cluster: LocalCluster) -> KubeClient:
    """The local cluster's administrator."""
    access = local_cluster.access
    return KubeClient(Connection(access.server, "127.0.0.1", access.ca, token=access.token))


def apply_offered(kube: KubeClient) -> None:
    """Apply everything that the check page offers, as `kubectl` would."""
    for obj in yaml.safe_load_all("\n".join(line.text for line in grants.lines())):
        if obj["kind"] == "ClusterRoleBinding":  # nothing that Flotilla itself would write
            path, query = f"/apis/{RBAC}/clusterrolebindings/{grants.NAME}", {"fieldManager": "test", "force": "true"}
            kube._transport.call("PATCH", path, query=query, body=obj, content_type="application/apply-patch+yaml")
        else:
            kube.apply(obj)


def offered_token(kube: KubeClient) -> str:
    """The token of the ServiceAccount, after everything that the check page offers was applied."""
    apply_offered(kube)
    issued: dict[str, Any] = {}

    def is_issued() -> bool:
        issued.update(kube.get("v1", "Secret", grants.NAME, grants.NAMESPACE).get("data") or {})
        return bool(issued.get("token"))

    eventually(is_issued, "the token is in its Secret")
    return kubeconfig._decoded(issued, "token").decode()


def _rule(needed: Permission) -> dict[str, Any]:
    """The rule of a role that grants one permission."""
    named = {"resourceNames": list(needed.names)} if needed.names else {}
    return {"apiGroups": [needed.group], "resources": [needed.resource], **named, "verbs": list(needed.verbs)}


def cluster_role(name: str = "flotilla-manager") -> dict[str, Any]:
    """The ClusterRole that grants exactly `NEEDED`."""
    return {
        "apiVersion": RBAC,
        "kind": "ClusterRole",
        "metadata": {"name": name},
        "rules": [_rule(needed) for needed in NEEDED],
    }

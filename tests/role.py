"""The ClusterRole that grants exactly what Flotilla needs: the check page offers it, and the chart makes it."""

from typing import Any

from apps.clusters.connect.permissions import NEEDED, Permission


def _rule(needed: Permission) -> dict[str, Any]:
    """The rule of a role that grants one permission."""
    named = {"resourceNames": list(needed.names)} if needed.names else {}
    return {"apiGroups": [needed.group], "resources": [needed.resource], **named, "verbs": list(needed.verbs)}


def cluster_role(name: str = "flotilla-manager") -> dict[str, Any]:
    """The ClusterRole that grants exactly `NEEDED`."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name},
        "rules": [_rule(needed) for needed in NEEDED],
    }

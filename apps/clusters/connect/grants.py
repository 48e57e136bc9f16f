"""The objects that give Flotilla exactly the permissions that it needs, as YAML ready to apply. Pure.

Written by hand and not dumped, so that a line can say which of its verbs a cluster has not granted yet.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apps.clusters.connect.permissions import NEEDED, Permission

NAME = "flotilla-manager"
NAMESPACE = "flotilla"


@dataclass(frozen=True)
class Line:
    """One line of YAML; `missing` where the cluster lacks what it grants."""

    text: str
    missing: bool = False


# A permission by its group, resource and names.
Key = tuple[str, str, tuple[str, ...]]


def lines(missing: Mapping[Key, Sequence[str]] | None = None) -> list[Line]:
    """Namespace, ServiceAccount, ClusterRole, binding, and a Secret with a token that does not expire.

    `missing` maps permissions to the verbs that are not granted; their rules are marked.
    https://kubernetes.io/docs/concepts/security/service-accounts/#manually-create-a-service-account-token
    """
    manifest = [Line(text) for text in _HEAD.splitlines()]
    for needed in NEEDED:
        verbs = (missing or {}).get((needed.group, needed.resource, needed.names), ())
        manifest += _rule(needed, verbs)
    return manifest + [Line(text) for text in _TAIL.splitlines()]


def missing_of(permissions: Sequence[Mapping[str, Any]]) -> dict[Key, Sequence[str]]:
    """The argument of `lines`, out of the permissions of a stored report; an old one has no names."""
    return {
        (each["group"], each["resource"], tuple(each.get("names", ()))): each["missing"]
        for each in permissions
        if each["missing"]
    }


def _rule(needed: Permission, missing: Sequence[str]) -> list[Line]:
    group = f'"{needed.group}"'
    remark = f"  # missing: {', '.join(missing)}" if missing else ""
    named = [Line(f"    resourceNames: [{', '.join(needed.names)}]", bool(missing))] if needed.names else []
    return [
        Line(f"  - apiGroups: [{group}]", bool(missing)),
        Line(f"    resources: [{needed.resource}]", bool(missing)),
        *named,
        Line(f"    verbs: [{', '.join(needed.verbs)}]{remark}", bool(missing)),
    ]


_HEAD = f"""\
apiVersion: v1
kind: Namespace
metadata:
  name: {NAMESPACE}
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {NAME}
  namespace: {NAMESPACE}
automountServiceAccountToken: false
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: {NAME}
rules:"""

_TAIL = f"""\
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: {NAME}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: {NAME}
subjects:
  - kind: ServiceAccount
    name: {NAME}
    namespace: {NAMESPACE}
---
apiVersion: v1
kind: Secret
metadata:
  name: {NAME}
  namespace: {NAMESPACE}
  annotations:
    kubernetes.io/service-account.name: {NAME}
type: kubernetes.io/service-account-token"""

# Makes a kubeconfig out of the above, on a machine whose kubectl administers the cluster.
KUBECONFIG_COMMAND = f"""\
get() {{ kubectl -n {NAMESPACE} get secret {NAME} -o jsonpath="{{.data.$1}}"; }}
server=$(kubectl config view --minify -o jsonpath='{{.clusters[0].cluster.server}}')
(umask 077; cat > flotilla.yaml) <<END
{{apiVersion: v1, kind: Config, current-context: c, contexts: [{{name: c, context: {{cluster: c, user: u}}}}],
 clusters: [{{name: c, cluster: {{server: "$server", certificate-authority-data: $(get 'ca\\.crt')}}}}],
 users: [{{name: u, user: {{token: $(get token | base64 -d)}}}}]}}
END"""

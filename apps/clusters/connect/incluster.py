"""The pod's own service account: how Flotilla reaches the cluster that it runs in without storing a secret.

The kubelet mounts a token, bound to the pod and short-lived, and replaces the file before it ends; so the file is
read at each use and never kept.
https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
"""

import os
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from apps.clusters.connect.credentials import IN_CLUSTER
from apps.clusters.connect.kubeconfig import pem_blocks
from apps.core.errors import Invalid
from apps.core.text.numbers import whole

FOLDER = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_HINT = (
    "Only a Flotilla whose web, worker and watcher run as pods with a mounted service account can do that "
    "(Helm: manager.inCluster=true). Register by kubeconfig instead."
)


@dataclass(frozen=True)
class InCluster:
    """The API server of the cluster that this process runs in, and its CA. The token stays in its file."""

    server: str
    ca: str
    token_file: str
    tls_server_name: str = ""
    token: str = field(default="", repr=False)
    client_certificate: str = ""
    client_key: str = ""
    credential_kind: str = IN_CLUSTER


def here() -> InCluster:
    """The connection that the kubelet gave to this pod. Raises Invalid with the reason outside a cluster."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST", ""), os.environ.get("KUBERNETES_SERVICE_PORT", "")
    if not host or whole(port) is None:
        raise Invalid(
            "Flotilla does not run in a cluster: KUBERNETES_SERVICE_HOST is not set.", hint=_HINT, field="in_cluster"
        )
    token, ca = FOLDER / "token", FOLDER / "ca.crt"
    try:
        authority = pem_blocks(ca.read_bytes())
        has_token = bool(token.read_text().strip())
    except (OSError, ValueError) as error:
        raise Invalid(
            f"This pod has no usable service account: {FOLDER} has no token and CA ({type(error).__name__}).",
            hint=_HINT,
            field="in_cluster",
        ) from None
    if not has_token:
        raise Invalid("The pod's service account token is empty.", hint=_HINT, field="in_cluster")
    name = f"[{host}]" if ":" in host else host
    return InCluster(f"https://{name}:{port}", authority, str(token))


def same_authority(bundle: str, other: str) -> bool:
    """Whether two CA bundles share a certificate: a cluster that rotates its CA serves old and new side by side."""
    try:
        return bool(_certificates(bundle) & _certificates(other))
    except ValueError:
        return False


def _certificates(bundle: str) -> set[bytes]:
    return {
        certificate.fingerprint(hashes.SHA256()) for certificate in x509.load_pem_x509_certificates(bundle.encode())
    }

"""Every write to clusters, and the way to talk to one."""

import json
from typing import Any

from django.conf import settings

from apps.clusters import addresses
from apps.clusters.kube import pool
from apps.clusters.kube.client import KubeClient
from apps.clusters.kube.connection import Connection
from apps.clusters.models import Cluster
from apps.core import crypto
from apps.core.errors import Unavailable


def connection_of(cluster: Cluster) -> Connection:
    """The cluster's connection, its address resolved and checked now.

    Raises Unavailable for a disabled cluster or a name that does not resolve, Invalid for a refused address.
    """
    if not cluster.enabled:
        raise Unavailable(f"Cluster {cluster.name} is disabled.", hint="An administrator can enable it.")
    address = addresses.checked_address(cluster.server, settings.CLUSTER_ALLOWED_NETWORKS)
    secret: dict[str, Any] = json.loads(crypto.decrypt(cluster.credential_encrypted))
    return Connection(
        server=cluster.server,
        address=address,
        ca=cluster.ca,
        tls_server_name=cluster.tls_server_name,
        token=secret.get("token", ""),
        client_certificate=secret.get("client_certificate", ""),
        client_key=secret.get("client_key", ""),
    )


def connect(cluster: Cluster) -> KubeClient:
    """A client for the cluster, out of this process's pool. No call is made yet.

    Raises Unavailable for a disabled cluster or a name that does not resolve, Invalid for a refused address.
    """
    if not cluster.enabled:
        raise Unavailable(f"Cluster {cluster.name} is disabled.", hint="An administrator can enable it.")
    return pool.pooled(cluster.pk, cluster.generation, lambda: KubeClient(connection_of(cluster)))

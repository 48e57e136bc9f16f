"""From a cluster's row to a connection whose address is checked now."""

import hashlib
import json
import logging
from typing import Any

from django.conf import settings
from django.db.models import F

from apps.clusters.connect import addresses, incluster
from apps.clusters.connect.credentials import IN_CLUSTER, Validity, validity
from apps.clusters.kube import pool
from apps.clusters.kube.client import KubeClient
from apps.clusters.kube.connection import Connection
from apps.clusters.kube.errors import Unreachable
from apps.clusters.kube.identity import Identity
from apps.clusters.models import Cluster
from apps.clusters.services.asking import look_again
from apps.core.database.transactions import refuse_open_transaction
from apps.core.errors import Conflict, FlotillaError, Invalid, Unavailable
from apps.core.secrets import crypto
from apps.core.text.subjects import about

logger = logging.getLogger(__name__)


def connection_of(cluster: Cluster) -> Connection:
    """The cluster's connection, its address resolved and checked now.

    Raises Unavailable for a disabled cluster or a name that does not resolve, Invalid for a refused address, Conflict
    when its credential can't be had: no key decrypts it, or Flotilla runs in another cluster by now.
    """
    refuse_disabled(cluster)
    if cluster.credential_kind == IN_CLUSTER:
        return own_connection(cluster)
    return connection_with(cluster, secret_of(cluster))


def connection_with(cluster: Cluster, secret: dict[str, Any]) -> Connection:
    """A connection to the cluster's server with a credential that may not be stored yet. Raises as `connection_of`."""
    refuse_open_transaction()
    return Connection(
        server=cluster.server,
        address=addresses.checked_address(cluster.server, settings.CLUSTER_ALLOWED_NETWORKS),
        ca=cluster.ca,
        tls_server_name=cluster.tls_server_name,
        token=secret.get("token", ""),
        client_certificate=secret.get("client_certificate", ""),
        client_key=secret.get("client_key", ""),
    )


def own_connection(cluster: Cluster) -> Connection:
    """A connection with this pod's own service account. Raises as `connection_of`.

    A back-up restored into another cluster must not hand that cluster's work to this one's API server: the address
    and the CA must still be those that were registered.
    """
    refuse_open_transaction()
    own = incluster.here()
    if own.server != cluster.server or not incluster.same_authority(own.ca, cluster.ca):
        raise Conflict(
            f"Cluster {cluster.name} is no longer the one that Flotilla runs in.",
            hint="Register the one that it runs in anew, and this one by kubeconfig.",
        )
    address = addresses.checked_address(own.server, settings.CLUSTER_ALLOWED_NETWORKS)
    # The mounted CA, not the stored one: it follows the cluster's when that is rotated.
    return Connection(server=own.server, address=address, ca=own.ca, token_file=own.token_file)


def follow_authority(cluster: Cluster) -> None:
    """Take over the CA that the kubelet mounts now, where it overlaps with the registered one.

    While a cluster's CA is rotated, old and new are mounted side by side; later the new one stands alone, and would not
    be known again. The streams begin again, to trust both before the server's certificate changes.
    """
    if cluster.credential_kind != IN_CLUSTER:
        return
    try:
        own = incluster.here()
    except Invalid:
        return  # the check itself says so
    if own.server == cluster.server and own.ca != cluster.ca and incluster.same_authority(own.ca, cluster.ca):
        known = Cluster.objects.filter(pk=cluster.pk, generation=cluster.generation, ca=cluster.ca)
        if known.update(ca=own.ca, generation=F("generation") + 1):
            logger.info("cluster %s: its certificate authority is being rotated", cluster.pk)
        cluster.refresh_from_db()


def secret_of(cluster: Cluster) -> dict[str, Any]:
    """The decrypted credential. Raises Conflict when no key fits."""
    secret: dict[str, Any] = json.loads(crypto.decrypt(cluster.credential_encrypted))
    return secret


def validity_of(cluster: Cluster) -> Validity:
    """The kind and the end of the stored credential. Raises Conflict when no key decrypts it."""
    if cluster.credential_kind == IN_CLUSTER:
        return Validity(IN_CLUSTER)
    secret = secret_of(cluster)
    return validity(
        cluster.credential_kind, token=secret.get("token", ""), certificate=secret.get("client_certificate", "")
    )


def refuse_disabled(cluster: Cluster) -> None:
    """Raise Unavailable for a disabled cluster."""
    if not cluster.enabled:
        raise Unavailable(f"Cluster {cluster.name} is disabled.", hint="An administrator can enable it.")


def impossible(error: FlotillaError) -> tuple[str, str]:
    """Why no connection can even be tried, without the address: everyone signed in reads it."""
    if isinstance(error, Conflict):
        return error.message, "CredentialUnusable"
    if isinstance(error, Invalid):
        if error.field == "in_cluster":
            return error.message, "NotInCluster"
        return "Flotilla may not connect to the address that the server's name points to.", "AddressRefused"
    return "The server's name can't be resolved.", "NameNotResolved"


def connect(cluster: Cluster) -> KubeClient:
    """A client for the cluster, out of this process's pool. No call is made yet.

    It reads and writes objects only while the registered cluster answers. Raises Unavailable for a disabled cluster, a
    name that does not resolve or a certificate that can't be read, Invalid for a refused address.
    """
    refuse_open_transaction()
    refuse_disabled(cluster)

    def make() -> KubeClient:
        return KubeClient(connection_of(cluster), identity=identity_of(cluster))

    try:
        client = pool.pooled(cluster.pk, cluster.generation, make)
    except Unreachable as error:
        raise Unavailable(about(cluster.name, error.message)) from error
    client.credential_is_known_to_be_refused(cluster.refuses_us)
    return client


def identity_of(cluster: Cluster) -> Identity:
    """The identity of the cluster that must answer; the first that answers gives it, where none has yet."""
    pk, generation = cluster.pk, cluster.generation
    return Identity(cluster.identity, lambda uid: remember_identity(pk, generation, uid))


def remember_identity(pk: int, generation: int, uid: str) -> str:
    """Store which cluster has answered, if that is not known yet; returns which is registered."""
    if Cluster.objects.filter(pk=pk, generation=generation, identity="").update(identity=uid):
        logger.info("cluster %s: registered as the one whose uid is %s", pk, uid)
        if Cluster.objects.filter(identity=uid).exclude(pk=pk).exists():
            # The others have been checked, and know nothing of this one.
            look_again([uid])
        return uid
    return Cluster.objects.filter(pk=pk).values_list("identity", flat=True).first() or uid


def ca_fingerprint(cluster: Cluster) -> str:
    """The start of the CA's SHA-256; "" when the system's own authorities are trusted."""
    return hashlib.sha256(cluster.ca.encode()).hexdigest()[:16] if cluster.ca else ""

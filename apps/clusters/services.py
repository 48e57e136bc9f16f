"""Every write to clusters, and the way to talk to one."""

import hashlib
import json
import re
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError

from apps.clusters import addresses, diagnosis, kubeconfig
from apps.clusters.kube import pool
from apps.clusters.kube.client import KubeClient
from apps.clusters.kube.connection import Connection
from apps.clusters.kube.errors import Forbidden, KubeError, NotFound, Unreachable
from apps.clusters.models import Cluster, Pod, validate_cluster_name
from apps.clusters.states import MOVES, ClusterState
from apps.core import audit, crypto, transitions
from apps.core.access import Principal, require_platform_admin
from apps.core.errors import Conflict, Invalid, Missing, Unavailable
from apps.core.hints import hint

MAX_LABELS = 32
_LABEL_KEY = re.compile(r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$")
_LABEL_VALUE = re.compile(r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$")


def register(
    *,
    principal: Principal,
    name: str,
    kubeconfig_text: str | bytes,
    labels: dict[str, str] | None = None,
    context: str = "",
) -> Cluster:
    """Register a cluster; the watcher connects within seconds.

    Raises NotAllowed for all but platform administrators, Invalid for what is refused in the kubeconfig, the address
    or the name, Conflict when the name is taken.
    """
    require_platform_admin(principal)
    cluster = Cluster(name=_name(name), labels=clean_labels(labels or {}))
    _take(cluster, kubeconfig.parse(kubeconfig_text, context))
    try:
        with transaction.atomic():
            cluster.save(force_insert=True)
            transitions.log(cluster, from_state="", to_state=cluster.state, actor=principal.label)
            audit.record(principal=principal, action="cluster.register", obj=cluster, after=_described(cluster))
    except IntegrityError as error:
        raise Conflict(f"There is already a cluster {name!r}.", field="name") from error
    _announce(cluster)
    return cluster


def replace_kubeconfig(
    *, principal: Principal, cluster: Cluster, kubeconfig_text: str | bytes, context: str = ""
) -> Cluster:
    """Change address, CA and credential together: a new address never gets the old credential.

    Nothing changes, and no stream restarts, when the kubeconfig says what is known already.
    """
    require_platform_admin(principal)
    parsed = kubeconfig.parse(kubeconfig_text, context)
    with transaction.atomic():
        cluster = Cluster.objects.select_for_update().get(pk=cluster.pk)
        before, secret = _described(cluster), crypto.decrypt(cluster.credential_encrypted)
        _take(cluster, parsed)
        if before == _described(cluster) and secret == crypto.decrypt(cluster.credential_encrypted):
            return cluster
        cluster.generation += 1
        cluster.save()
        audit.record(
            principal=principal, action="cluster.reconnect", obj=cluster, before=before, after=_described(cluster)
        )
    _announce(cluster)
    return cluster


def ensure_registered(
    *, principal: Principal, name: str, kubeconfig_text: str | bytes, labels: dict[str, str] | None = None
) -> Cluster:
    """Register the cluster, or bring a registered one of this name up to date; may be repeated."""
    known = Cluster.objects.filter(name=name).first()
    if known is None:
        return register(principal=principal, name=name, kubeconfig_text=kubeconfig_text, labels=labels)
    return replace_kubeconfig(principal=principal, cluster=known, kubeconfig_text=kubeconfig_text)


def update_cluster(
    *, principal: Principal, cluster: Cluster, labels: dict[str, str] | None = None, enabled: bool | None = None
) -> Cluster:
    """Change labels, or stop and resume watching. None leaves a value as it is."""
    require_platform_admin(principal)
    with transaction.atomic():
        cluster = Cluster.objects.select_for_update().get(pk=cluster.pk)
        before = _described(cluster)
        if labels is not None:
            cluster.labels = clean_labels(labels)
        if enabled is not None and enabled != cluster.enabled:
            cluster.enabled = enabled
            cluster.generation += 1
        cluster.save()
        if before != _described(cluster):
            audit.record(
                principal=principal, action="cluster.update", obj=cluster, before=before, after=_described(cluster)
            )
        _follow_switch(cluster, principal)
    _announce(cluster)
    return cluster


def delete_cluster(*, principal: Principal, cluster: Cluster) -> None:
    """Forget a cluster and what was observed on it; nothing on the cluster itself is touched.

    Raises Conflict while targets or runs refer to it.
    """
    require_platform_admin(principal)
    pk = cluster.pk
    try:
        with transaction.atomic():
            audit.record(principal=principal, action="cluster.delete", obj=cluster, before=_described(cluster))
            cluster.delete()
    except ProtectedError as error:
        kinds = sorted({str(obj._meta.verbose_name_plural) for obj in error.protected_objects})
        raise Conflict(
            f"Cluster {cluster.name} is still used by {', '.join(kinds)}.", hint="Delete these first, or disable it."
        ) from error
    pool.forget(pk)
    hint("clusters")
    hint(f"cluster:{pk}")


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

    Raises Unavailable for a disabled cluster, a name that does not resolve or a certificate that can't be read,
    Invalid for a refused address.
    """
    if not cluster.enabled:
        raise Unavailable(f"Cluster {cluster.name} is disabled.", hint="An administrator can enable it.")
    try:
        return pool.pooled(cluster.pk, cluster.generation, lambda: KubeClient(connection_of(cluster)))
    except Unreachable as error:
        raise Unavailable(f"{cluster.name}: {error.message}") from error


def check_connection(*, principal: Principal, cluster: Cluster) -> diagnosis.Report:
    """What works with the cluster now; for platform administrators."""
    require_platform_admin(principal)
    # A fresh client: the test must see today's address and certificate, not a connection that is still open.
    client = KubeClient(connection_of(cluster))
    try:
        return diagnosis.diagnose(client)
    finally:
        client.close()


def pod_log(pod: Pod, *, container: str | None = None, tail_lines: int = 200, previous: bool = False) -> str:
    """The end of a container's log, asked of the cluster. The caller has checked who may see the pod.

    Raises Missing when the pod or its log is gone, Unavailable when the cluster does not answer.
    """
    client = connect(pod.cluster)
    try:
        return client.pod_log(
            pod.namespace, pod.name, container=container, tail_lines=tail_lines, previous=previous, limit_bytes=512_000
        )
    except NotFound as error:
        raise Missing(f"The log of {pod.name} is gone with its pod.") from error
    except Forbidden as error:
        raise Unavailable("Flotilla's credential may not read logs on this cluster.", hint=error.message) from error
    except KubeError as error:
        raise Unavailable(f"{pod.cluster.name} gives no log now.", hint=error.message) from error


def ca_fingerprint(cluster: Cluster) -> str:
    """The start of the CA's SHA-256; "" when the system's own authorities are trusted."""
    return hashlib.sha256(cluster.ca.encode()).hexdigest()[:16] if cluster.ca else ""


def _take(cluster: Cluster, parsed: kubeconfig.Kubeconfig) -> None:
    addresses.checked_address(parsed.server, settings.CLUSTER_ALLOWED_NETWORKS)
    cluster.server, cluster.ca, cluster.tls_server_name = parsed.server, parsed.ca, parsed.tls_server_name
    cluster.credential_kind = parsed.credential_kind
    secret = {
        "token": parsed.token,
        "client_certificate": parsed.client_certificate,
        "client_key": parsed.client_key,
    }
    cluster.credential_encrypted = crypto.encrypt(json.dumps(secret, sort_keys=True).encode())


def _follow_switch(cluster: Cluster, principal: Principal) -> None:
    """Show at once what the watcher will observe within seconds."""
    if cluster.enabled and cluster.state == ClusterState.DISABLED:
        transitions.advance(
            cluster, to=ClusterState.PENDING, allowed=MOVES, actor=principal.label, reason="Enabled", message=""
        )
    elif not cluster.enabled and cluster.state != ClusterState.DISABLED:
        transitions.advance(
            cluster, to=ClusterState.DISABLED, allowed=MOVES, actor=principal.label, reason="Disabled", message=""
        )
        pool.forget(cluster.pk)


def _described(cluster: Cluster) -> dict[str, Any]:
    """What an audit row may say: the CA by its fingerprint, the credential by its kind only."""
    return {
        "name": cluster.name,
        "labels": cluster.labels,
        "server": cluster.server,
        "ca_sha256": ca_fingerprint(cluster),
        "tls_server_name": cluster.tls_server_name,
        "authentication": cluster.credential_kind,
        "enabled": cluster.enabled,
    }


def _announce(cluster: Cluster) -> None:
    hint("clusters")
    hint(f"cluster:{cluster.pk}")


def _name(name: str) -> str:
    try:
        validate_cluster_name(name)
    except ValidationError as error:
        raise Invalid(f"{name[:100]!r} can't name a cluster. {error.messages[0]}", field="name") from error
    return name


def clean_labels(labels: Any) -> dict[str, str]:
    """The labels, when Kubernetes would take them. Raises Invalid with what is wrong."""
    if not isinstance(labels, dict) or len(labels) > MAX_LABELS:
        raise Invalid(f"Labels are at most {MAX_LABELS} pairs of a name and a value.", field="labels")
    for key, value in labels.items():
        if not isinstance(key, str) or not _LABEL_KEY.match(key):
            raise Invalid(
                f"{str(key)[:80]!r} is no label name.", hint="Such as region or example.org/team.", field="labels"
            )
        if not isinstance(value, str) or not _LABEL_VALUE.match(value):
            raise Invalid(
                f"{str(value)[:80]!r} is no value for label {key}.",
                hint="Use at most 63 letters, digits, '-', '_' and '.'.",
                field="labels",
            )
    return dict(labels)

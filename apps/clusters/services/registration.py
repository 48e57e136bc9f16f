"""Registering a cluster, and giving it another connection or credential."""

import json
from typing import Any, Protocol

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from apps.clusters.connect import addresses, incluster, kubeconfig, twins
from apps.clusters.connect.credentials import IN_CLUSTER
from apps.clusters.kube.client import KubeClient
from apps.clusters.kube.connection import Connection
from apps.clusters.kube.errors import Forbidden, KubeError, NotServed, Unauthorized
from apps.clusters.models import Cluster
from apps.clusters.observed import conditions
from apps.clusters.observed.conditions import UNTRIED
from apps.clusters.services.asking import CHECK
from apps.clusters.services.connecting import ca_fingerprint, connection_with, own_connection
from apps.clusters.services.following import follow_state
from apps.clusters.services.labels import clean_labels, clean_name
from apps.core import audit, work
from apps.core.access import Principal, require_platform_admin
from apps.core.database import transitions
from apps.core.database.rows import Expect, held, put
from apps.core.database.transactions import refuse_open_transaction
from apps.core.errors import Conflict, Invalid, Unavailable
from apps.core.hints import hint
from apps.core.secrets import crypto


class Source(Protocol):
    """Where a connection comes from: a parsed kubeconfig, or the pod's own service account."""

    @property
    def server(self) -> str: ...
    @property
    def ca(self) -> str: ...
    @property
    def tls_server_name(self) -> str: ...
    @property
    def token(self) -> str: ...
    @property
    def client_certificate(self) -> str: ...
    @property
    def client_key(self) -> str: ...
    @property
    def credential_kind(self) -> str: ...


def register(
    *,
    principal: Principal,
    name: str,
    kubeconfig_text: str | bytes,
    labels: dict[str, str] | None = None,
    context: str = "",
    again: bool = False,
) -> Cluster:
    """Register a cluster by its kubeconfig; the watcher connects within seconds.

    Raises Invalid for what is refused in the kubeconfig, the address or the name, Conflict when the name is taken, and
    unless it is wanted `again` when the same server is registered under another name. Needs a platform administrator.
    """
    require_platform_admin(principal)
    return _register(principal, name, labels, kubeconfig.parse(kubeconfig_text, context), again=again)


def register_in_cluster(
    *, principal: Principal, name: str, labels: dict[str, str] | None = None, again: bool = False
) -> Cluster:
    """Register the cluster that Flotilla runs in, by its pod's own service account. No secret is stored.

    Raises Invalid with the reason where this process is in no cluster, and what `register` raises.
    Needs a platform administrator.
    """
    require_platform_admin(principal)
    return _register(principal, name, labels, incluster.here(), again=again)


def replace_kubeconfig(
    *,
    principal: Principal,
    cluster: Cluster,
    kubeconfig_text: str | bytes,
    context: str = "",
    force: bool = False,
    expect: Expect | None = None,
) -> Cluster:
    """Change address, CA and credential together: a new address never gets the old credential.

    Nothing changes, and no stream restarts, when the kubeconfig says what is known already. Where only the credential
    is new it is tried first, as `replace_credential` does. Needs a platform administrator.
    """
    require_platform_admin(principal)
    return _reconnect(principal, cluster, kubeconfig.parse(kubeconfig_text, context), force, expect)


def replace_by_in_cluster(
    *, principal: Principal, cluster: Cluster, force: bool = False, expect: Expect | None = None
) -> Cluster:
    """Reach the cluster by the pod's own service account from now on, and forget the stored credential.

    Needs a platform administrator.
    """
    require_platform_admin(principal)
    return _reconnect(principal, cluster, incluster.here(), force, expect)


def replace_credential(
    *,
    principal: Principal,
    cluster: Cluster,
    token: str = "",
    client_certificate: str = "",
    client_key: str = "",
    force: bool = False,
    expect: Expect | None = None,
) -> Cluster:
    """Give the same server another token, or another client certificate with its key (PEM).

    It is tried before it is stored: Invalid says that the server refuses it, Unavailable that it could not be tried;
    the old one stays in both cases. `force` stores it untried. Only this cluster's streams begin again.
    Needs a platform administrator.
    """
    require_platform_admin(principal)
    secret = kubeconfig.credential(token, client_certificate, client_key)
    same = kubeconfig.Kubeconfig(cluster.server, cluster.ca, cluster.tls_server_name, *secret)
    return _reconnect(principal, cluster, same, force, expect)


def ensure_registered(
    *, principal: Principal, name: str, kubeconfig_text: str | bytes, labels: dict[str, str] | None = None
) -> Cluster:
    """Register the cluster, or bring a registered one of this name up to date; may be repeated.

    Needs a platform administrator.
    """
    known = Cluster.objects.filter(name=name).first()
    if known is None:
        require_platform_admin(principal)
        source = kubeconfig.parse(kubeconfig_text, "")
        return _register(principal, name, labels, source, again=False, ask=False)
    # The caller starts the cluster and knows its credential; the cluster may not answer yet.
    return replace_kubeconfig(principal=principal, cluster=known, kubeconfig_text=kubeconfig_text, force=True)


def described(cluster: Cluster) -> dict[str, Any]:
    """The values for an audit row: the CA by its fingerprint, the credential by its kind only."""
    return {
        "name": cluster.name,
        "labels": cluster.labels,
        "server": cluster.server,
        "identity": cluster.identity,
        "ca_sha256": ca_fingerprint(cluster),
        "tls_server_name": cluster.tls_server_name,
        "authentication": cluster.credential_kind,
        "enabled": cluster.enabled,
        "model_cache": cluster.model_cache,
    }


def announce(cluster: Cluster) -> None:
    """Let pages that show the cluster look again."""
    hint("clusters")
    hint(f"cluster:{cluster.pk}")


def _register(
    principal: Principal, name: str, labels: dict[str, str] | None, source: Source, *, again: bool, ask: bool = True
) -> Cluster:
    """Register what the source says. Unless it is wanted `again`, a server that is known is asked about, or, where
    there is nobody to `ask`, told of by its checks."""
    cluster = Cluster(name=clean_name(name), labels=clean_labels(labels or {}), registered_again=again)
    addresses.checked_address(source.server, settings.CLUSTER_ALLOWED_NETWORKS)
    twin = (
        ""
        if again or not ask or Cluster.objects.filter(name=cluster.name).exists()
        else twins.known_as(source.server, source.ca)
    )
    if twin:
        hint = f'Give {twin} the new credential; or say that you want it twice ("again": true).'
        raise Conflict(twins.twice(twin), hint=hint, field="kubeconfig")
    for column, value in _columns(source).items():
        setattr(cluster, column, value)
    try:
        with transaction.atomic():
            cluster.save(force_insert=True)
            transitions.log(cluster, from_state="", to_state=cluster.state, actor=principal.label)
            audit.record(principal=principal, action="cluster.register", obj=cluster, after=described(cluster))
            work.ask(CHECK, cluster.pk, cluster=cluster.pk)
    except IntegrityError as error:
        raise Conflict(f"There is already a cluster {name!r}.", field="name") from error
    announce(cluster)
    return cluster


def _reconnect(principal: Principal, cluster: Cluster, source: Source, force: bool, expect: Expect | None) -> Cluster:
    """Take another connection, after a trial where the server stays the same. No lock is held during the trial."""
    earlier = Cluster.objects.get(pk=cluster.pk)
    if expect is not None:
        expect(earlier)
    if _known(earlier, source):
        return earlier
    only_credential = _server_of(earlier) == _server_of(source)
    if not only_credential:
        addresses.checked_address(source.server, settings.CLUSTER_ALLOWED_NETWORKS)
    elif not force:
        _try(earlier, source)
    with transaction.atomic():
        cluster = held(cluster, expect=expect)
        if _server_of(cluster) != _server_of(earlier):
            # Else a credential for one server would be stored for another that was set meanwhile.
            raise Conflict("The cluster's address was changed meanwhile.", hint="Look at it, and try again.")
        before = described(cluster)
        put(cluster, **_columns(source), generation=cluster.generation + 1)
        action = "cluster.credential" if only_credential else "cluster.reconnect"
        audit.record(principal=principal, action=action, obj=cluster, before=before, after=described(cluster))
        _forget_refusal(cluster)
        work.ask(CHECK, cluster.pk, cluster=cluster.pk)
        if cluster.enabled:
            work.open_up(cluster.pk)
    announce(cluster)
    return cluster


def _forget_refusal(cluster: Cluster) -> None:
    """It was of the credential before: without this the next watcher would go on from it."""
    if not cluster.refuses_us:
        return
    if cluster.is_locked_out:
        put(cluster, reason=UNTRIED.reason, message=UNTRIED.message)
    put(cluster, conditions=conditions.replaced(cluster.conditions, UNTRIED, timezone.now()))
    if cluster.enabled:
        follow_state(cluster)


def _known(cluster: Cluster, source: Source) -> bool:
    if _server_of(cluster) != _server_of(source) or cluster.credential_kind != source.credential_kind:
        return False
    try:
        return crypto.decrypt(cluster.credential_encrypted) == _secret(source)
    except Conflict:
        return False  # the key is lost: giving the credential again is the way out


def _server_of(source: Cluster | Source) -> tuple[str, str, str]:
    return source.server, source.ca, source.tls_server_name


def _columns(source: Source) -> dict[str, Any]:
    return {
        "server": source.server,
        "ca": source.ca,
        "tls_server_name": source.tls_server_name,
        "credential_kind": source.credential_kind,
        "credential_encrypted": crypto.encrypt(_secret(source)),
    }


def _secret(source: Source) -> bytes:
    secret = {
        "token": source.token,
        "client_certificate": source.client_certificate,
        "client_key": source.client_key,
    }
    return json.dumps(secret, sort_keys=True).encode()


def _try(cluster: Cluster, source: Source) -> None:
    """Ask one authenticated question with the credential that may replace the stored one."""
    refuse_open_transaction()
    if source.credential_kind == IN_CLUSTER:
        connection: Connection = own_connection(cluster)
    else:
        connection = connection_with(cluster, json.loads(_secret(source)))
    hint = "The old one stays in use. Force it only if you know better."
    try:
        client = KubeClient(connection, budget=8.0)
        try:
            # Every authenticated user may ask this, and nobody else: /version alone is public on many clusters.
            client.access_review("list", "", "pods", timeout=5.0)
        finally:
            client.close()
    except NotServed:
        return  # no access reviews, but it answered
    except (Unauthorized, Forbidden) as error:
        raise Invalid(
            f"The API server refuses the new credential: {error.message}", hint=hint, field="credential"
        ) from error
    except KubeError as error:
        raise Unavailable(f"The new credential can't be tried: {error.message}", hint=hint) from error

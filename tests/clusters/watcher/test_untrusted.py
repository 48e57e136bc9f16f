"""A cluster that can't be trusted any more, or that we fail to watch: its state says so, with what both sides hold."""

import json
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.db.models import F

from apps.clusters import services
from apps.clusters.kube.client import KubeClient
from apps.clusters.kube.stream import StreamClient
from apps.clusters.models import Cluster, Pod
from apps.clusters.observed import store
from apps.clusters.observed.clusterstate import derive
from apps.clusters.observed.observation import Observation, defect_of
from apps.clusters.watcher import supervisor
from apps.clusters.watcher.cluster import ClusterWatch
from apps.clusters.watcher.timing import Timing
from apps.core.access import Principal
from apps.core.secrets import crypto
from tests.clusters.conftest import eventually
from tests.clusters.fakeapi import FakeApi, certificate, node, pod, server_context
from tests.clusters.watching import Watching

pytestmark = pytest.mark.django_db(transaction=True)
HTML = (200, "text/html", b"<html>Please log in</html>")


@dataclass(frozen=True)
class Break:
    """What is done to a server that was well, and what both the cluster's state and a check say of it then."""

    staged: Callable[[FakeApi], Any]
    reason: str
    says: tuple[str, ...]

    def is_told_of(self, cluster: Cluster) -> bool:
        told = (cluster.state, cluster.reason) == ("Unreachable", self.reason)
        return told and all(words in cluster.message for words in self.says)


def another(**changes: Any) -> Callable[[FakeApi], None]:
    return lambda api: api.listen_with(server_context(*certificate(**changes)))


def under_its_own_ca(api: FakeApi, **changes: Any) -> None:
    """Another certificate that is trusted all the same, but for what has changed."""
    pem, key = certificate(**changes)
    api.ca = pem
    Cluster.objects.update(ca=pem.decode(), generation=F("generation") + 1)
    api.listen_with(server_context(pem, key))


def a_page_of_a_proxy(api: FakeApi) -> None:
    under_its_own_ca(api)
    api.proxy = HTML


BREAKS = {
    "another authority": Break(
        another(called="new-ca"),
        "CertificateInvalid",
        ("issued by new-ca (self-signed certificate)", "the registered certificate authority is fake.", "kubeconfig"),
    ),
    "another authority of the same name": Break(
        another(), "CertificateInvalid", ("issued by another authority of the name fake", "authority is fake.")
    ),
    "another host name": Break(
        lambda api: under_its_own_ca(api, host="kube.example"),
        "CertificateInvalid",
        ("certificate is for kube.example, and Flotilla asks for the registered address.", "tls-server-name"),
    ),
    "expired": Break(
        lambda api: under_its_own_ca(api, days=-1),
        "CertificateInvalid",
        ("The server's certificate expired on 20", "by Flotilla's clock it is 20", "Renew it"),
    ),
    "plain HTTP": Break(lambda api: api.listen_with(None), "PlainHttp", ("by TLS, but the server", "in plain text")),
    "a proxy's page": Break(a_page_of_a_proxy, "NotTheApiServer", ("but a web page answered (HTTP 200)",)),
}


@pytest.fixture
def watching(api: FakeApi, admin: Principal, sent: object) -> Iterator[Watching]:
    api.put("nodes", node("n1"))
    services.register(principal=admin, name="gke-eu", kubeconfig_text=api.kubeconfig)
    made = Watching()
    eventually(lambda: cluster().state == "Healthy", "the cluster is Healthy")
    yield made
    made.stop()


def cluster(name: str = "gke-eu") -> Cluster:
    return Cluster.objects.get(name=name)


def test_a_server_that_is_trusted_no_more_is_unreachable_and_says_why(
    api: FakeApi, watching: Watching, admin: Principal
) -> None:
    for number, (name, staged) in enumerate(BREAKS.items()):
        # What stands goes on standing: only who comes anew sees another certificate.
        staged.staged(api)
        new = f"new-{number}"
        services.register(principal=admin, name=new, kubeconfig_text=api.kubeconfig, again=True)
        for one in ("gke-eu", new):
            eventually(lambda one=one, staged=staged: staged.is_told_of(cluster(one)), f"{name}: {one} says so")  # type: ignore[misc]
        report = services.check_connection(principal=admin, cluster=cluster(new))
        assert not report.reachable and report.reason == staged.reason
        assert report.sentence == cluster(new).message
        services.delete_cluster(principal=admin, cluster=cluster(new))


def with_an_expired_certificate(api: FakeApi) -> None:
    """As if it had ended since: one that has ended is not even taken."""
    pem, key = certificate(days=-1)
    secret = {"token": "", "client_certificate": pem.decode(), "client_key": key.decode()}
    Cluster.objects.update(
        credential_encrypted=crypto.encrypt(json.dumps(secret).encode()),
        credential_kind="certificate",
        generation=F("generation") + 1,
    )


def test_a_client_certificate_that_has_ended_is_told_with_its_end(api: FakeApi, watching: Watching) -> None:
    with_an_expired_certificate(api)
    ended = "Flotilla's client certificate expired on 20"
    eventually(lambda: cluster().reason == "CredentialRefused" and ended in cluster().message, "it is refused")
    assert cluster().state == "Degraded"
    # As servers do that end TLS in its place.
    context = server_context(api.ca, api.key)
    context.load_verify_locations(cadata=certificate()[0].decode())
    context.verify_mode = ssl.CERT_REQUIRED
    api.listen_with(context)
    eventually(lambda: cluster().reason == "ClientCertificateRefused", "the handshake refuses it")
    assert cluster().state == "Unreachable" and ended in cluster().message
    assert cluster().message.endswith("Give the cluster a new credential.")


def broken(*_: Any, **__: Any) -> Any:
    raise AttributeError("verify_message")


def tells_of_the_defect() -> bool:
    """Whether the cluster's state, words and condition say all together that Flotilla fails."""
    row = cluster()
    words = "Flotilla itself fails" in row.message and "(AttributeError)" in row.message
    return words and (row.state, row.reason, row.condition("Synced")) == ("Degraded", "WatcherFailing", "False")


def test_what_of_ours_fails_while_a_cluster_is_watched_is_its_state(
    api: FakeApi, watching: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours: list[tuple[Any, str]] = [(StreamClient, name) for name in ("version", "list", "usage")]
    for where, name in [*ours, (store, "write_many"), (supervisor, "_start"), (ClusterWatch, "run")]:
        with monkeypatch.context() as patched:
            patched.setattr(where, name, broken)
            Cluster.objects.update(generation=F("generation") + 1)
            eventually(tells_of_the_defect, f"it is told when {name} fails")
        eventually(lambda: cluster().state == "Healthy", "it goes on by itself")
        put = f"after-{name.strip('_')}"
        api.put("pods", pod(put))
        eventually(lambda put=put: Pod.objects.filter(name=put).exists(), "and nothing is lost")  # type: ignore[misc]


def test_what_of_ours_fails_while_a_cluster_is_checked_is_its_report(
    api: FakeApi, admin: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = services.register(principal=admin, name="gke-eu", kubeconfig_text=api.kubeconfig)
    monkeypatch.setattr(KubeClient, "groups", broken)
    report = services.check_connection(principal=admin, cluster=made)
    assert report.reason == "CheckFailing" and "fails while it checks this cluster (AttributeError)" in report.sentence


def test_it_is_told_of_a_cluster_that_could_not_be_reached_before() -> None:
    words = defect_of(KeyError("x"))
    assert derive(Observation(was="Unreachable", defect=words, successes=1)) == ("Unreachable", "WatcherFailing", words)
    assert derive(Observation(defect=words))[:2] == ("Degraded", "WatcherFailing")


def test_a_certificate_that_changes_is_seen_within_half_a_minute() -> None:
    timing = Timing()
    # The one connection of its own, the pause until the probe after it, and both of its questions.
    assert timing.handshake + timing.probe + 2 * timing.probe_limit <= 30

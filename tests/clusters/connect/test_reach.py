"""Do a cluster's pods reach Flotilla? What a pod's words mean, the Job that asks, who may ask, and what is shown."""

import http.server
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from apps.clusters import services
from apps.clusters.connect import reach
from apps.clusters.connect.reach import Outcome, advice, explained, heard, silent
from apps.clusters.kube.client import KubeClient
from apps.clusters.kube.errors import NotFound
from apps.clusters.models import Cluster, Reach
from apps.core.access import Principal
from apps.core.errors import Unavailable
from apps.core.models import AuditEntry, User
from apps.core.work.kinds import Lane
from apps.core.work.worker import drain
from tests.clusters.conftest import eventually
from tests.clusters.fakeapi import FakeApi, certificate, server_context
from tests.clusters.test_api import Rest
from tests.stack import LocalCluster

HEALTH = '{"status": "ok", "checks": {"postgres": "ok"}}'


@pytest.mark.parametrize(
    ("words", "outcome"),
    [
        (f"HTTP 200 {HEALTH}", Outcome.REACHED),
        (f"{HEALTH}\nHTTP 200\n", Outcome.REACHED),
        ("URLError: <urlopen error [Errno 111] Connection refused>", Outcome.REFUSED),
        (
            "curl: (7) Failed to connect to tls.ssl.example port 1 after 0 ms: Couldn't connect to server\n\nHTTP 000",
            Outcome.REFUSED,
        ),
        ("wget: can't connect to remote host (10.0.0.9): Connection refused", Outcome.REFUSED),
        ("URLError: <urlopen error [Errno 113] No route to host>", Outcome.REFUSED),
        ("RemoteDisconnected: Remote end closed connection without response", Outcome.REFUSED),
        ("URLError: <urlopen error [Errno -2] Name or service not known>", Outcome.NO_NAME),
        ("URLError: <urlopen error [Errno -3] Temporary failure in name resolution>", Outcome.NO_NAME),
        ("curl: (6) Could not resolve host: certificate.ssl.example", Outcome.NO_NAME),
        ("wget: bad address 'nosuch.invalid'", Outcome.NO_NAME),
        ("URLError: <urlopen error timed out>", Outcome.TIMEOUT),
        ("curl: (28) SSL connection timeout\n\nHTTP 000", Outcome.TIMEOUT),
        ("Connecting to 10.0.0.9:80... connected.\nRead error (Connection timed out) in headers.", Outcome.TIMEOUT),
        ("URLError: <urlopen error [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed>", Outcome.TLS),
        ("curl: (60) SSL certificate problem: self-signed certificate", Outcome.TLS),
        ("curl: (35) OpenSSL/3.0: error:0A00010B:SSL routines::wrong version number", Outcome.TLS),
        ("HTTPError: HTTP Error 400: Bad Request", Outcome.OTHER),
        ("<html>Hello</html>\nHTTP 200", Outcome.OTHER),
        ("wget: server returned error: HTTP/1.1 404 Not Found", Outcome.OTHER),
        ("This image has neither python3 nor curl nor wget.", Outcome.NOT_RUN),
        ("curl: (2) Failed initialization\n\nHTTP 000", Outcome.NOT_RUN),
        ("", Outcome.NOT_RUN),
    ],
)
def test_what_the_words_of_a_pod_amount_to(words: str, outcome: Outcome) -> None:
    verdict = heard(words)
    assert verdict.outcome == outcome
    assert verdict.words == (" ".join(words.split()) or "The pod ended without a word.")


def waiting(reason: str, message: str = "no") -> dict[str, Any]:
    return {"status": {"containerStatuses": [{"state": {"waiting": {"reason": reason, "message": message}}}]}}


UNPLACED = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}


@pytest.mark.parametrize(
    ("job", "pods", "waited", "verdict"),
    [
        ({}, [], 5, None),
        ({}, [waiting("ContainerCreating")], 5, None),
        ({}, [waiting("ErrImagePull")], 5, None),
        ({}, [waiting("ImagePullBackOff", "not there")], 5, (Outcome.NOT_RUN, "ImagePullBackOff: not there")),
        ({}, [waiting("ErrImagePull")], 95, (Outcome.NOT_RUN, "ErrImagePull: no")),
        ({}, [{"status": {"conditions": [UNPLACED]}}], 5, None),
        ({}, [{"status": {"conditions": [UNPLACED]}}], 95, (Outcome.NOT_RUN, "Unschedulable: 0/3 nodes")),
        ({}, [{"status": {"phase": "Running"}}], 95, (Outcome.NOT_RUN, "The pod had not ended after 95 s.")),
        (
            {},
            [],
            95,
            (Outcome.NOT_RUN, "The cluster made no pod in 95 s: a quota or an admission policy may forbid it."),
        ),
    ],
)
def test_a_pod_that_says_nothing_is_waited_for_while_that_is_of_use(
    job: Any, pods: list[Any], waited: float, verdict: tuple[Outcome, str] | None
) -> None:
    seen = silent(job, pods, waited)
    assert (seen and (seen.outcome, seen.words)) == verdict


def test_a_job_past_its_deadline_is_a_timeout() -> None:
    failed = {"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "message": "too long"}
    seen = silent({"status": {"conditions": [failed]}}, [], 60)
    assert seen and (seen.outcome, seen.words) == (Outcome.TIMEOUT, "DeadlineExceeded: too long")


@pytest.mark.parametrize(
    ("server", "public_url", "warned"),
    [
        ("https://10.0.0.9:6443", "http://127.0.0.1:8000", True),
        ("https://kubernetes.default.svc", "http://localhost:8000", True),
        ("https://127.0.0.1:6443", "http://127.0.0.1:8000", False),
        ("https://10.0.0.9:6443", "https://flotilla.example", False),
    ],
)
def test_pods_elsewhere_can_not_reach_a_loopback_address(server: str, public_url: str, warned: bool) -> None:
    assert bool(advice(server, public_url)) is warned
    assert not warned or (
        public_url in advice(server, public_url) and "FLOTILLA_PUBLIC_URL" in advice(server, public_url)
    )


def test_each_outcome_says_what_to_do() -> None:
    for outcome in Outcome:
        assert "https://f.example" in explained(outcome, "https://f.example")
    assert "the pod itself" in explained(Outcome.REFUSED, "http://127.0.0.1:8000")
    assert explained("", "https://f.example") == ""


def test_the_job_keeps_to_what_our_pods_keep_to_and_ends_by_itself() -> None:
    spec = reach.job("flotilla", 7, "curlimages/curl:8.11.1", "https://f.example")["spec"]
    pod = spec["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] and not pod["automountServiceAccountToken"]
    (container,) = pod["containers"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert set(container["resources"]["limits"]) == {"cpu", "memory"}
    assert (spec["backoffLimit"], spec["activeDeadlineSeconds"], spec["ttlSecondsAfterFinished"]) == (0, 60, 300)


@pytest.fixture
def local(local_cluster: LocalCluster, admin: Principal) -> Cluster:
    made = services.register(principal=admin, name="local", kubeconfig_text=local_cluster.kubeconfig.read_text())

    def takes_jobs() -> bool:
        """Another test may have deleted the namespace a moment ago."""
        try:
            namespace = services.connect(made).get("v1", "Namespace", "flotilla")
        except NotFound:
            return True
        return "deletionTimestamp" not in namespace["metadata"]

    eventually(takes_jobs, "the namespace is not being deleted", 30)
    return made


class Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/healthz" else 404)
        self.end_headers()
        self.wfile.write(HEALTH.encode())

    def log_message(self, *args: object) -> None:
        """Silent."""


@pytest.fixture
def served() -> Iterator[Callable[..., str]]:
    """Serves Flotilla's health on a port of its own, by TLS if asked to; returns where."""
    servers = []

    def serve(context: ssl.SSLContext | None = None) -> str:
        server = http.server.HTTPServer(("127.0.0.1", 0), Healthy)
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return f"{'https' if context else 'http'}://127.0.0.1:{server.server_port}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def asked(cluster: Cluster, admin: Principal, settings: Any, url: str) -> Reach:
    """Ask, and do what workers would, until there is an outcome."""
    settings.PUBLIC_URL = url
    services.ask_for_reach(principal=admin, cluster=cluster)

    def has_outcome() -> bool:
        drain(Lane.PERSON)
        return Reach.objects.get(cluster=cluster).outcome != ""

    eventually(has_outcome, f"an outcome for {url}", 60)
    return Reach.objects.get(cluster=cluster)


def jobs(cluster: Cluster) -> list[Any]:
    client: KubeClient = services.connect(cluster)
    jobs = client.list("batch/v1", "Job", "flotilla", label_selector="flotilla.dev/reach")
    return jobs + client.list("v1", "Pod", "flotilla", label_selector="flotilla.dev/reach")


@pytest.mark.real_process
@pytest.mark.django_db(transaction=True)
def test_a_pod_tells_what_it_meets_and_leaves_nothing(
    local: Cluster,
    admin: Principal,
    settings: Any,
    served: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(reach, "_PYTHON", reach._PYTHON.replace("timeout=10", "timeout=1"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        refusing = f"http://127.0.0.1:{free.getsockname()[1]}"
    row = asked(local, admin, settings, served())
    assert (row.outcome, row.number) == ("Reached", 1) and '"checks"' in row.words
    assert row.ended_at is not None and row.ended_at > row.asked_at
    row = asked(local, admin, settings, refusing)
    assert (row.outcome, row.number) == ("Refused", 2) and "refused" in row.words
    row = asked(local, admin, settings, "http://nosuch.invalid")
    assert row.outcome == "NameNotResolved"
    row = asked(local, admin, settings, served(server_context(*certificate())))
    assert row.outcome == "TlsFailed" and "CERTIFICATE_VERIFY_FAILED" in row.words
    with socket.socket() as silent_one:
        silent_one.bind(("127.0.0.1", 0))
        silent_one.listen()
        row = asked(local, admin, settings, f"http://127.0.0.1:{silent_one.getsockname()[1]}")
    assert row.outcome == "Timeout" and "timed out" in row.words
    settings.REACH_IMAGE = "nobody/has-this:1"
    row = asked(local, admin, settings, refusing)
    assert row.outcome == "NotRun" and "nobody/has-this:1" in row.words
    eventually(lambda: jobs(local) == [], "nothing is left on the cluster", 30)
    assert AuditEntry.objects.filter(action="cluster.reach").count() == 6


@pytest.mark.django_db
def test_a_round_that_is_repeated_finds_its_own_job_and_an_old_one_stores_nothing(
    api: FakeApi, admin: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = services.register(principal=admin, name="gke-eu", kubeconfig_text=api.kubeconfig)
    services.ask_for_reach(principal=admin, cluster=cluster)
    assert services.ask_for_reach(principal=admin, cluster=cluster).number == 1, "one that is under way is left to end"
    Reach.objects.update(asked_at=timezone.now() - timedelta(minutes=4))
    assert services.ask_for_reach(principal=admin, cluster=cluster).number == 2
    api.answer_nothing = True
    assert drain(Lane.PERSON)
    row = Reach.objects.get()
    assert row.outcome == "NotRun" and "did not answer in time" in row.words
    assert drain(Lane.PERSON) == 0, "a failure is said, not tried again"
    services.ask_for_reach(principal=admin, cluster=cluster)
    api.answer_nothing = False
    Reach.objects.update(asked_at=timezone.now() - timedelta(seconds=95))
    assert drain(Lane.PERSON)
    assert Reach.objects.get().words.startswith("No worker had let a pod ask after 9"), "it says nothing of the cluster"
    cluster.enabled = False
    with pytest.raises(Unavailable, match="disabled"):
        services.ask_for_reach(principal=admin, cluster=cluster)


@pytest.mark.django_db
def test_only_platform_administrators_ask_and_read_the_words(
    api: FakeApi, admin: Principal, admin_user: User, viewer_user: User, settings: Any
) -> None:
    cluster = services.register(principal=admin, name="gke-eu", kubeconfig_text=api.kubeconfig)
    path = "/clusters/gke-eu/check/"
    root, viewer = Client(), Client()
    root.force_login(admin_user)
    viewer.force_login(viewer_user)
    assert Rest(viewer_user)("POST", "/gke-eu/reach").status_code == 403
    assert viewer.post(f"{path}reach/").status_code == 403 and not Reach.objects.exists()
    assert Client().post(f"{path}reach/").status_code == 302
    assert Rest(admin_user)("GET", "/gke-eu/reach").status_code == 404
    assert "Ask from a pod" not in viewer.get(path).content.decode()
    answer = Rest(admin_user)("POST", "/gke-eu/reach")
    assert (answer.status_code, answer.json()["under_way"], answer.json()["outcome"]) == (202, True, "")
    part = root.post(f"{path}reach/").content.decode()
    assert "<html" not in part and "A pod asks" in part and "every 3s" in part
    Reach.objects.update(outcome="Refused", words="refused by 10.9.8.7", ended_at=timezone.now())
    assert "10.9.8.7" in root.get(path).content.decode()
    shown = viewer.get(path).content.decode()
    assert "10.9.8.7" not in shown and "Nothing takes connections at http://testserver" in shown
    assert Rest(viewer_user)("GET", "/gke-eu/reach").json()["words"] == ""
    settings.PUBLIC_URL = "https://other.example"
    assert "pods are told another address by now" in root.get(path).content.decode()
    Reach.objects.update(outcome="", asked_at=timezone.now() - timedelta(minutes=4))
    assert "No worker has come to it" in root.get(path).content.decode()
    assert cluster.name in str(Cluster.objects.get())


@pytest.mark.django_db
def test_registering_a_cluster_elsewhere_says_what_pods_must_reach(
    admin_user: User, viewer_user: User, settings: Any, api: FakeApi
) -> None:
    settings.PUBLIC_URL = "http://127.0.0.1:8000"
    settings.CLUSTER_ALLOWED_NETWORKS = ["10.0.0.0/8", "127.0.0.0/8"]
    elsewhere = api.kubeconfig.replace("127.0.0.1", "10.0.0.9")
    answer = Rest(admin_user)("POST", body={"name": "far", "kubeconfig": elsewhere})
    assert answer.status_code == 201 and "Pods of this cluster can't reach Flotilla" in answer.json()["advice"]
    near = Rest(admin_user)("POST", body={"name": "near", "kubeconfig": api.kubeconfig})
    assert near.json()["advice"] == ""
    assert Rest(viewer_user)("GET", "/far").json()["advice"] == ""
    client = Client()
    client.force_login(admin_user)
    assert "only pods on this machine can" in " ".join(
        client.get("/admin/clusters/cluster/add/").content.decode().split()
    )
    made = client.post(
        "/admin/clusters/cluster/add/", {"name": "far-2", "labels": "", "kubeconfig": elsewhere, "again": "on"}
    )
    assert made.status_code == 302, made.content.decode()[:2000]
    assert "can&#x27;t reach Flotilla" in client.get("/admin/clusters/cluster/").content.decode()
    assert "can&#x27;t reach Flotilla" in client.get("/clusters/far/check/").content.decode()
    settings.PUBLIC_URL = "https://flotilla.example"
    assert "this machine" not in client.get("/admin/clusters/cluster/add/").content.decode()
    assert "reach Flotilla at" not in client.get("/clusters/far/check/").content.decode()

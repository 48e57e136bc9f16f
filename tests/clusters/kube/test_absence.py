"""What is not there is believed of the registered API server alone: of no proxy, and of no other cluster."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from apps.clusters import services
from apps.clusters.kube import identity
from apps.clusters.kube.client import KubeClient
from apps.clusters.kube.connection import Connection
from apps.clusters.kube.errors import (
    Forbidden,
    KubeError,
    NamespaceMissing,
    NotFound,
    NotServed,
    NotTheApiServer,
    Subject,
    Unreachable,
    error_from,
)
from apps.clusters.kube.identity import AnotherCluster, Identity
from apps.clusters.models import Cluster, Node, Pod, Workload
from apps.clusters.observed import absence
from apps.core.access import Principal
from apps.core.errors import Invalid as InvalidInput
from apps.core.models import AuditEntry, User
from apps.core.secrets.tokens import issue_token
from apps.core.states import Role
from tests.clusters.conftest import eventually
from tests.clusters.fakeapi import TOKEN, FakeApi, error_event, node, pod, status_object
from tests.clusters.watching import Watching

LOST = status_object(404, "NotFound", "gone")
JOB = Subject("batch", "jobs", "n", "run-7")
HTML = b"<html><body>Please log in</body></html>"
# What stands in front of an API server, and says something in its place.
PROXIES: dict[str, tuple[int, str, bytes]] = {
    "its 404": (404, "text/plain", b"404 page not found\n"),
    "its 403": (403, "text/html", HTML),
    "its 401": (401, "application/json", b'{"error": "unauthenticated"}'),
    "its login page with 200": (200, "text/html", HTML),
    "its redirect": (302, "text/html", b""),
    "its own JSON": (200, "application/json", b'{"status": "ok"}'),
    "a JSON 404": (404, "application/json", b'{"kind": "Error", "reason": "NotFound", "message": "no route"}'),
    "its 502": (502, "text/html", HTML),
}
METADATA = {"name": "run-7", "namespace": "n", "uid": "u", "labels": {"flotilla.dev/run": "7"}}


@pytest.fixture
def client(api: FakeApi) -> Iterator[KubeClient]:
    connection = Connection(f"https://127.0.0.1:{api.port}", "127.0.0.1", api.ca.decode(), token=TOKEN)
    made = KubeClient(connection, identity=Identity(api.uid))
    yield made
    made.close()


def calls(client: KubeClient) -> dict[str, Callable[[], Any]]:
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "run-7", "namespace": "n"}}
    return {
        "get": lambda: client.get("batch/v1", "Job", "run-7", "n"),
        "list": lambda: client.list("batch/v1", "Job"),
        "absent": lambda: client.absent("batch/v1", "Job", "run-7", "n"),
        "apply": lambda: client.apply(job),
        "create": lambda: client.create(job),
        "patch": lambda: client.merge_patch("batch/v1", "Job", "run-7", {}, "n"),
        "delete": lambda: client.delete("batch/v1", "Job", "run-7", "n"),
        "log": lambda: client.pod_log("n", "p"),
        "review": lambda: client.access_review("list", "", "pods"),
        "version": client.version,
        "groups": client.groups,
        "identity": client.confirm_identity,
    }


@pytest.mark.parametrize("proxy", PROXIES)
@pytest.mark.parametrize("known", [True, False])
def test_what_a_proxy_says_is_a_failure_to_ask_whatever_was_asked(
    client: KubeClient, api: FakeApi, proxy: str, known: bool
) -> None:
    for name, call in calls(client).items():
        if (name, proxy) == ("log", "its own JSON"):
            continue  # a log may hold anything
        if known:
            # The proxy gets in between after the cluster has been confirmed.
            api.proxy = None
            client.confirm_identity()
        api.proxy = PROXIES[proxy]
        with pytest.raises(Unreachable):
            call()


@pytest.mark.parametrize(
    ("details", "kind"),
    [
        ({"name": "run-7", "group": "batch", "kind": "jobs"}, NotFound),
        ({"name": "run-7", "kind": "Job"}, NotFound),
        ({"name": "run-7"}, NotFound),
        ({"name": "run-8", "group": "batch", "kind": "jobs"}, KubeError),
        ({"name": "run-7", "kind": "pods"}, KubeError),
        ({"name": "run-7", "group": "example.org", "kind": "jobs"}, KubeError),
        ({"name": "n", "kind": "namespaces"}, NamespaceMissing),
        ({}, NotServed),
        ("odd", NotServed),
    ],
)
def test_not_found_is_about_that_very_object(details: Any, kind: type[KubeError]) -> None:
    body = json.dumps(LOST | {"details": details}).encode()
    assert type(error_from(404, body, about=JOB)) is kind


def test_a_status_of_another_reason_or_kind_is_no_absence() -> None:
    details = {"details": {"name": "run-7", "kind": "jobs"}}
    for changed in ({"reason": "Expired"}, {"reason": ""}):
        assert type(error_from(404, json.dumps(LOST | details | changed).encode(), about=JOB)) is KubeError
    for changed in ({"kind": "Error"}, {"apiVersion": "v2"}):
        assert type(error_from(404, json.dumps(LOST | details | changed).encode(), about=JOB)) is NotTheApiServer


def test_absent_is_said_by_get_and_by_list(client: KubeClient, api: FakeApi) -> None:
    assert client.absent("batch/v1", "Job", "run-7", "n")
    api.put("jobs", {"metadata": dict(METADATA)})
    assert not client.absent("batch/v1", "Job", "run-7", "n")
    api.hidden_items.add(("jobs", "run-7"))
    assert not client.absent("batch/v1", "Job", "run-7", "n"), "the list has it"
    api.remove("jobs", "run-7")
    assert client.absent("batch/v1", "Job", "run-7", "n")


def test_another_cluster_is_not_believed_and_nothing_is_written_there(client: KubeClient, api: FakeApi) -> None:
    api.uid = "another"
    for call in list(calls(client).values())[:7]:
        with pytest.raises(AnotherCluster, match="uid another, registered was 0f5e-fake"):
            call()
    assert not [request for request in api.requests if not request.startswith("GET /api/v1/namespaces/kube-system")]


def test_an_absence_is_asked_of_the_cluster_that_answers_then(client: KubeClient, api: FakeApi) -> None:
    client.confirm_identity()
    api.uid = "another"
    with pytest.raises(AnotherCluster):
        client.absent("batch/v1", "Job", "run-7", "n")


def test_the_identity_is_asked_for_only_now_and_then(
    client: KubeClient, api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        client.list("batch/v1", "Job")
    assert api.count("kube-system") == 1
    monkeypatch.setattr(identity, "FRESH_SECONDS", 0.0)
    client.confirm_identity()
    client.list("batch/v1", "Job")
    assert api.count("kube-system") == 3


def test_a_credential_that_never_saw_the_identity_works_but_proves_no_absence(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = Connection(f"https://127.0.0.1:{api.port}", "127.0.0.1", api.ca.decode(), token=TOKEN)
    refused = KubeClient(connection, budget=60.0, identity=Identity())

    def forbidden() -> Any:
        raise Forbidden(403, "Forbidden", "namespaces")

    monkeypatch.setattr(refused, "_kube_system", forbidden)
    assert refused.list("batch/v1", "Job") == []
    with pytest.raises(Forbidden):
        refused.absent("batch/v1", "Job", "run-7", "n")
    # One that did see it has lost its role.
    known = KubeClient(connection, budget=60.0, identity=Identity(api.uid))
    monkeypatch.setattr(known, "_kube_system", forbidden)
    with pytest.raises(Forbidden):
        known.list("batch/v1", "Job")


def test_absence_is_believed_when_it_is_said_again_a_while_later() -> None:
    now = datetime.now(UTC)
    assert not absence.is_believed(None, now) and not absence.is_believed(now, now)
    assert not absence.is_believed(now, now + absence.AGAIN - timedelta(seconds=1))
    assert absence.is_believed(now, now + absence.AGAIN)


@pytest.mark.django_db(transaction=True)
def test_the_first_cluster_that_answers_is_the_registered_one(admin: Principal, api: FakeApi) -> None:
    cluster = services.register(principal=admin, name="gke-eu", kubeconfig_text=api.kubeconfig)
    services.connect(cluster).list("batch/v1", "Job")
    assert Cluster.objects.get().identity == api.uid
    assert services.remember_identity(cluster.pk, cluster.generation, "another") == api.uid


@pytest.fixture
def watching(admin: Principal, api: FakeApi, db: None) -> Iterator[Watching]:
    api.put("nodes", node("n1"))
    api.put("pods", pod("kept"))
    api.put("jobs", {"metadata": dict(METADATA), "spec": {}, "status": {}})
    api.put("services", {"metadata": {"name": "s", "namespace": "n", "labels": {"flotilla.dev/run": "7"}}, "spec": {}})
    services.register(principal=admin, name="gke-eu", kubeconfig_text=api.kubeconfig)
    made = Watching()
    eventually(lambda: Cluster.objects.get().state == "Healthy", "the cluster is Healthy")
    eventually(lambda: Cluster.objects.get().identity == api.uid, "and known by its identity")
    yield made
    made.stop()


def everything_is_shown() -> bool:
    there = Pod.objects.present().filter(name="kept").exists() and Node.objects.exists()
    return there and set(Workload.objects.values_list("kind", flat=True)) == {"Job", "Service"}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("proxy", PROXIES)
def test_a_proxy_s_answers_take_nothing_away(api: FakeApi, watching: Watching, proxy: str) -> None:
    api.proxy = PROXIES[proxy]
    asked = api.count("GET")
    api.cut()
    eventually(lambda: Cluster.objects.get().state == "Unreachable", "the cluster is Unreachable")
    eventually(lambda: api.count("GET") > asked + 40, "every kind was asked for again")
    assert everything_is_shown()
    api.proxy = None
    eventually(lambda: Cluster.objects.get().state == "Healthy", "it is back")
    assert everything_is_shown()


@pytest.mark.django_db(transaction=True)
def test_another_cluster_behind_the_address_takes_nothing_away_and_is_told(api: FakeApi, watching: Watching) -> None:
    mine, api.objects = api.objects, {plural: {} for plural in api.objects}
    registered, api.uid = api.uid, "another"
    for plural in api.objects:
        api.send_raw(plural, error_event(410, "Expired"))
    eventually(lambda: Cluster.objects.get().reason == "AnotherCluster", "it is told")
    cluster = Cluster.objects.get()
    assert cluster.state == "Unreachable" and cluster.identity == registered
    assert "uid another, registered was 0f5e-fake" in cluster.message and "register the new one anew" in cluster.message
    asked = api.count("kube-system")
    eventually(lambda: api.count("kube-system") > asked + 20, "it was asked often")
    assert everything_is_shown()
    api.objects, api.uid = mine, registered
    eventually(lambda: Cluster.objects.get().state == "Healthy", "it is back")
    assert everything_is_shown()


@pytest.mark.django_db(transaction=True)
def test_a_rebuilt_cluster_is_taken_for_the_registered_one_when_an_administrator_says_so(
    admin: Principal, viewer_user: User, api: FakeApi, watching: Watching
) -> None:
    api.uid, api.objects = "rebuilt-1", {plural: {} for plural in api.objects}
    eventually(lambda: Cluster.objects.get().reason == "AnotherCluster", "it is told")
    for user, wanted in ((viewer_user, 403), (admin.user, 200)):
        _, token = issue_token(name="t", user=user, role=Role.ADMIN)
        client = Client(headers={"Authorization": f"Bearer {token}"})
        body = json.dumps({"identity": "rebuilt-1"})
        answer = client.patch("/api/v1/clusters/gke-eu", body, content_type="application/json")
        assert answer.status_code == wanted
    assert answer.json()["identity"] == "rebuilt-1"
    audited = AuditEntry.objects.get(action="cluster.identity")
    assert (audited.before["identity"], audited.after["identity"]) == ("0f5e-fake", "rebuilt-1")
    eventually(lambda: Cluster.objects.get().condition("Reachable") == "True", "it is reached")
    eventually(lambda: not Pod.objects.present().exists() and not Workload.objects.exists(), "and what it has is shown")
    with pytest.raises(InvalidInput):
        services.accept_identity(principal=admin, cluster=Cluster.objects.get(), identity="not/a uid")

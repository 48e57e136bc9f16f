"""REST, by tokens as people and CI use them."""

from typing import Any

import pytest
from django.test import Client

from apps.clusters.models import Cluster
from apps.core.access import Principal
from apps.core.models import AuditEntry, Membership, Project, User
from apps.core.services import create_token
from apps.core.states import Role
from tests.clusters.fakeapi import TOKEN, FakeApi
from tests.clusters.pages.test_pages import observe

pytestmark = pytest.mark.django_db
URL = "/api/v1/clusters"


class Rest:
    """A client with a bearer token."""

    def __init__(self, user: User) -> None:
        role = Role.ADMIN if user.is_superuser else None
        _, text = create_token(principal=Principal(user=user), name="t", role=role)
        self._headers = {"Authorization": f"Bearer {text}"}
        self._client = Client()

    def __call__(self, method: str, path: str = "", body: Any = None, **headers: str) -> Any:
        return self._client.generic(
            method, URL + path, data=_json(body), content_type="application/json", headers={**self._headers, **headers}
        )


def _json(body: Any) -> str:
    import json

    return json.dumps(body) if body is not None else ""


@pytest.fixture
def root(admin_user: User) -> Rest:
    return Rest(admin_user)


@pytest.fixture
def viewer(viewer_user: User) -> Rest:
    project = Project.objects.create(name="demo")
    Project.objects.create(name="secret")
    Membership.objects.create(project=project, user=viewer_user, role="viewer")
    return Rest(viewer_user)


@pytest.fixture
def cluster(root: Rest, api: FakeApi) -> Cluster:
    body = {"name": "gke-eu", "labels": {"region": "eu"}, "kubeconfig": api.kubeconfig}
    response = root("POST", body=body)
    assert response.status_code == 201, response.content
    return Cluster.objects.get()


@pytest.mark.parametrize("server", ["https://127.0.0.1:{port}/", "https://127.0.0.1:{port}"])
def test_a_server_that_is_known_is_registered_again_only_when_that_is_wanted(
    root: Rest, cluster: Cluster, api: FakeApi, server: str
) -> None:
    text = api.kubeconfig_with("another").replace(f"https://127.0.0.1:{api.port}", server.format(port=api.port))
    refused = root("POST", body={"name": "twin", "kubeconfig": text})
    assert refused.status_code == 409 and "This is cluster gke-eu already" in refused.json()["detail"]
    assert refused.json()["field"] == "kubeconfig" and '"again": true' in refused.json()["hint"]
    assert root("POST", body={"name": "twin", "kubeconfig": text, "again": True}).status_code == 201
    elsewhere = text.replace(server.format(port=api.port), f"https://127.0.0.1:{api.port}/k8s/clusters/c-2")
    assert root("POST", body={"name": "beside", "kubeconfig": elsewhere}).status_code == 201, "another one behind it"


def test_registering_answers_with_the_cluster_and_without_its_secret(root: Rest, cluster: Cluster) -> None:
    response = root("GET", "/gke-eu")
    body = response.json()
    assert (body["name"], body["state"], body["labels"], body["authentication"]) == (
        "gke-eu", "Pending", {"region": "eu"}, "token",
    )  # fmt: skip
    everything = root("GET").content + response.content
    assert TOKEN.encode() not in everything and b"kubeconfig" not in everything and b"credential" not in everything
    assert TOKEN not in cluster.credential_encrypted


def test_only_those_who_manage_a_cluster_see_its_address(viewer: Rest, root: Rest, cluster: Cluster) -> None:
    assert root("GET", "/gke-eu").json()["server"] == cluster.server
    for path in ("", "/gke-eu"):
        assert cluster.server.encode() not in viewer("GET", path).content
    assert viewer("GET", "/gke-eu").json()["server"] is None


def test_a_body_with_one_wrong_part_changes_nothing(root: Rest, cluster: Cluster, api: FakeApi) -> None:
    api.token = "renewed"
    both = {"credential": {"token": "renewed"}, "labels": {"a b": "c"}}
    assert root("PATCH", "/gke-eu", both).status_code == 400
    after = Cluster.objects.get()
    assert (after.generation, after.credential_encrypted) == (1, cluster.credential_encrypted)


def test_no_audit_row_holds_a_secret(cluster: Cluster) -> None:
    entry = AuditEntry.objects.get(action="cluster.register")
    assert TOKEN not in f"{entry.before} {entry.after}" and "kubeconfig" not in str(entry.after)
    assert entry.after["server"].startswith("https://127.0.0.1:")


WRITES = [
    ("POST", "", {"name": "x", "kubeconfig": "k"}),
    ("PATCH", "/gke-eu", {"labels": {}}),
    ("DELETE", "/gke-eu", None),
    ("POST", "/gke-eu/test", None),
]
READS = ["", "/gke-eu", "/gke-eu/nodes", "/gke-eu/pods", "/gke-eu/events"]


@pytest.mark.parametrize(("method", "path", "body"), [*WRITES, *(("GET", path, None) for path in READS)])
def test_strangers_are_refused(client: Client, method: str, path: str, body: Any) -> None:
    response = client.generic(method, URL + path, data=_json(body), content_type="application/json")
    assert response.status_code == 401
    assert response["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
def test_only_platform_administrators_write(viewer: Rest, cluster: Cluster, method: str, path: str, body: Any) -> None:
    assert viewer(method, path, body).status_code == 403
    assert Cluster.objects.get().labels == {"region": "eu"}


@pytest.mark.parametrize("path", READS)
def test_everyone_signed_in_reads(viewer: Rest, cluster: Cluster, path: str) -> None:
    assert viewer("GET", path).status_code == 200


def test_pods_and_events_of_other_projects_are_anonymous(viewer: Rest, root: Rest, cluster: Cluster) -> None:
    observe(cluster)
    for path in ("/gke-eu/pods", "/gke-eu/events"):
        response = viewer("GET", path)
        assert b"secret" not in response.content
        assert len(response.json()["results"]) == 6
        assert b"secret" in root("GET", path).content
    pods = viewer("GET", "/gke-eu/pods").json()["results"]
    hidden = [pod for pod in pods if pod["name"] is None]
    assert len(hidden) == 3
    assert {key for key, value in hidden[0].items() if value is not None} == {"health", "reason", "node"}
    Cluster.objects.update(state="Unreachable", message="No answer.")
    pods = viewer("GET", "/gke-eu/pods").json()["results"]
    assert {(pod["health"], pod["reason"], pod["ready"] or False) for pod in pods} == {
        ("Unknown", "Unreachable", False)
    }
    assert {(pod["message"] or "No answer.").endswith("No answer.") for pod in pods} == {True}


def test_a_namespace_of_another_project_can_not_be_probed(viewer: Rest, cluster: Cluster) -> None:
    observe(cluster)
    assert viewer("GET", "/gke-eu/pods?namespace=flotilla-secret").json()["results"] == []
    assert len(viewer("GET", "/gke-eu/pods?namespace=flotilla-demo").json()["results"]) == 3


def test_sums_and_nodes(viewer: Rest, cluster: Cluster) -> None:
    observe(cluster)
    body = viewer("GET", "/gke-eu").json()
    assert (body["nodes"], body["nodes_ready"], body["pods"]) == (2, 2, 6)
    assert body["cpu"] == {"used": None, "requested": 3000.0, "allocatable": 8000.0}
    assert body["gpu"]["allocatable"] == 4.0
    assert [node["name"] for node in viewer("GET", "/gke-eu/nodes").json()["results"]] == ["n0", "n1"]


@pytest.mark.parametrize(
    ("body", "part"),
    [
        ({"name": "x"}, "kubeconfig"),
        ({"name": "Not A Name", "kubeconfig": "GOOD"}, "name"),
        ({"name": "x", "kubeconfig": "users: [}"}, "not valid YAML"),
        ({"name": "x", "kubeconfig": "GOOD", "labels": {"a b": "c"}}, "no label name"),
        ({"name": "x", "kubeconfig": "GOOD", "labels": {"a": "c d"}}, "no value"),
        ({"name": "x", "kubeconfig": "GOOD", "labels": {"a\n": "c"}}, "no label name"),
        ({"name": "x", "kubeconfig": "GOOD", "labels": {"a..b/c": "c"}}, "no label name"),
        ({"name": "x", "kubeconfig": "GOOD", "context": "nope"}, "no context"),
        ({"name": "x", "kubeconfig": "METADATA"}, "metadata"),
        ({"name": "x", "kubeconfig": "PRIVATE"}, "CLUSTER_ALLOWED_NETWORKS"),
    ],
)
def test_what_can_not_be_registered_is_refused_with_the_reason(
    root: Rest, api: FakeApi, body: dict[str, Any], part: str
) -> None:
    good = api.kubeconfig
    made = {
        "GOOD": good,
        "METADATA": good.replace("127.0.0.1", "169.254.169.254"),
        "PRIVATE": good.replace("127.0.0.1", "10.0.0.1"),
    }
    if "kubeconfig" in body:
        body = {**body, "kubeconfig": made.get(body["kubeconfig"], body["kubeconfig"])}
    response = root("POST", body=body)
    assert response.status_code == 400
    assert part in response.content.decode() and TOKEN not in response.content.decode()
    assert not Cluster.objects.exists()


def test_a_taken_name_is_a_conflict(root: Rest, cluster: Cluster, api: FakeApi) -> None:
    assert root("POST", body={"name": "gke-eu", "kubeconfig": api.kubeconfig}).status_code == 409


def test_a_repeated_post_with_a_key_registers_once(root: Rest, api: FakeApi) -> None:
    body = {"name": "once", "kubeconfig": api.kubeconfig}
    answers = [root("POST", body=body, **{"Idempotency-Key": "k1"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert Cluster.objects.count() == 1


def test_labels_are_edited_under_if_match(root: Rest, cluster: Cluster) -> None:
    tag = root("GET", "/gke-eu")["ETag"]
    changed = root("PATCH", "/gke-eu", {"labels": {"region": "us"}}, **{"If-Match": tag})
    assert changed.status_code == 200 and changed.json()["labels"] == {"region": "us"}
    assert root("PATCH", "/gke-eu", {"labels": {}}, **{"If-Match": tag}).status_code == 412
    assert Cluster.objects.get().generation == 1, "labels restart no streams"


def test_a_new_address_comes_with_its_credential_or_not_at_all(root: Rest, cluster: Cluster, api: FakeApi) -> None:
    before = Cluster.objects.get()
    root("PATCH", "/gke-eu", {"server": "https://8.8.8.8"})
    assert Cluster.objects.get().server == before.server
    without = api.kubeconfig.replace(f"token: {TOKEN}", "token: ''").replace("127.0.0.1", "127.0.0.2")
    assert root("PATCH", "/gke-eu", {"kubeconfig": without}).status_code == 400
    moved = api.kubeconfig.replace("127.0.0.1", "127.0.0.2")
    assert root("PATCH", "/gke-eu", {"kubeconfig": moved}).status_code == 200
    after = Cluster.objects.get()
    assert after.server != before.server and after.generation == before.generation + 1
    assert root("PATCH", "/gke-eu", {"kubeconfig": moved}).json()["generation"] == after.generation, "nothing new"


def test_an_administrator_says_where_nodes_keep_models(root: Rest, cluster: Cluster) -> None:
    tag = root("GET", "/gke-eu")["ETag"]
    kept = root("PATCH", "/gke-eu", {"model_cache": "/var/lib/models/"}, If_Match=tag).json()
    assert kept["model_cache"] == "/var/lib/models"
    assert root("PATCH", "/gke-eu", {"model_cache": ""}, If_Match=tag).status_code == 412, "it is part of the version"
    for wrong in ("models", "/", "/proc/1", "/etc", "/var/../etc"):
        refused = root("PATCH", "/gke-eu", {"model_cache": wrong})
        assert refused.status_code == 400 and refused.json()["field"] == "model_cache", wrong
    assert root("GET", "/gke-eu").json()["model_cache"] == "/var/lib/models"
    assert root("PATCH", "/gke-eu", {"model_cache": ""}).json()["model_cache"] == ""


def test_disabling_and_deleting(root: Rest, cluster: Cluster) -> None:
    observe(cluster)
    Cluster.objects.update(state="Degraded", reason="CredentialRefused", message="The API server refuses it.")
    off = root("PATCH", "/gke-eu", {"enabled": False}).json()
    assert (off["state"], off["reason"]) == ("Disabled", "Disabled")
    assert off["message"] == "An administrator has disabled this cluster; nothing is watched."
    assert root("GET", "/gke-eu").json()["message"] == off["message"]
    assert root("POST", "/gke-eu/test").status_code == 503
    on = root("PATCH", "/gke-eu", {"enabled": True}).json()
    assert (on["state"], on["message"]) == ("Pending", "The connection is being made.")
    assert root("DELETE", "/gke-eu").status_code == 204
    assert root("GET", "/gke-eu").status_code == 404


def test_the_test_says_what_works(root: Rest, cluster: Cluster, api: FakeApi) -> None:
    report = root("POST", "/gke-eu/test").json()
    assert report["ok"] and report["version"] == "v1.37.0-fake" and report["metrics"] is False
    assert "no metrics-server" in report["sentence"] and report["latency_ms"] > 0


def test_the_test_says_what_is_missing(root: Rest, cluster: Cluster, api: FakeApi) -> None:
    api.allowed = False
    report = root("POST", "/gke-eu/test").json()
    assert not report["ok"] and report["reachable"] and "pods/log" in report["sentence"]
    assert {"group": "batch", "resource": "jobs"}.items() <= next(
        p for p in report["permissions"] if p["resource"] == "jobs"
    ).items()


def test_the_test_says_that_the_credential_is_refused(root: Rest, cluster: Cluster, api: FakeApi) -> None:
    api.token = "another"
    report = root("POST", "/gke-eu/test").json()
    assert not report["ok"] and report["reason"] == "Unauthorized" and "token is not known" in report["detail"]


def test_the_test_says_that_nobody_answers(root: Rest, cluster: Cluster, api: FakeApi) -> None:
    api.close()
    report = root("POST", "/gke-eu/test").json()
    assert not report["ok"] and not report["reachable"] and report["reason"] == "ConnectionRefused"

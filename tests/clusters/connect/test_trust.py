"""Credentials, the pod's own service account, and what runs on a cluster: by REST, against a real TLS server."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from apps.clusters import services
from apps.clusters.connect import incluster
from apps.clusters.models import Cluster
from apps.core.access import Principal
from apps.core.errors import Conflict
from apps.core.models import AuditEntry
from apps.core.secrets import crypto
from apps.experiments.reconcile import reconcile_run
from tests.clusters.fakeapi import TOKEN, FakeApi, certificate
from tests.clusters.test_api import Rest
from tests.factories import busy_project, run

pytestmark = pytest.mark.django_db
NEW = "renewed-token-9876543210"


@pytest.fixture
def root(admin_user: Any) -> Rest:
    return Rest(admin_user)


@pytest.fixture
def cluster(root: Rest, api: FakeApi) -> Cluster:
    assert root("POST", body={"name": "gke-eu", "kubeconfig": api.kubeconfig}).status_code == 201
    return Cluster.objects.get()


def stored(cluster: Cluster) -> dict[str, Any]:
    credential: dict[str, Any] = json.loads(crypto.decrypt(Cluster.objects.get(pk=cluster.pk).credential_encrypted))
    return credential


def test_a_new_token_is_tried_stored_and_restarts_only_this_cluster(root: Rest, cluster: Cluster, api: FakeApi) -> None:
    other = root("POST", body={"name": "other", "kubeconfig": api.kubeconfig, "again": True}).json()
    api.token = NEW
    answer = root("PATCH", "/gke-eu", {"credential": {"token": NEW}})
    assert answer.status_code == 200 and NEW not in answer.content.decode()
    assert stored(cluster)["token"] == NEW and api.authorization[-1] == f"Bearer {NEW}"
    after = Cluster.objects.get(pk=cluster.pk)
    assert (after.generation, after.server, after.ca) == (cluster.generation + 1, cluster.server, cluster.ca)
    assert Cluster.objects.get(name="other").generation == other["generation"]
    again = root("PATCH", "/gke-eu", {"credential": {"token": NEW}}).json()
    assert again["generation"] == after.generation, "the same credential restarts nothing"


def test_a_token_that_fails_is_refused_with_the_reason_and_the_old_one_stays(
    root: Rest, cluster: Cluster, api: FakeApi
) -> None:
    answer = root("PATCH", "/gke-eu", {"credential": {"token": NEW}})
    assert answer.status_code == 400 and "refuses the new credential" in answer.json()["detail"]
    assert NEW not in answer.content.decode() and stored(cluster)["token"] == TOKEN
    assert root("PATCH", "/gke-eu", {"credential": {"token": NEW}, "force": True}).status_code == 200
    assert stored(cluster)["token"] == NEW


def test_a_token_that_can_not_be_tried_is_refused_unless_forced(root: Rest, cluster: Cluster, api: FakeApi) -> None:
    api.close()
    answer = root("PATCH", "/gke-eu", {"credential": {"token": NEW}})
    assert answer.status_code == 503 and "can't be tried" in answer.json()["detail"] and answer.json()["hint"]
    assert root("PATCH", "/gke-eu", {"credential": {"token": NEW}, "force": True}).status_code == 200


def test_a_kubeconfig_with_only_another_credential_is_tried_too(root: Rest, cluster: Cluster, api: FakeApi) -> None:
    renewed = api.kubeconfig.replace(TOKEN, NEW)
    assert root("PATCH", "/gke-eu", {"kubeconfig": renewed}).status_code == 400
    assert stored(cluster)["token"] == TOKEN


def test_a_client_certificate_replaces_a_token(root: Rest, cluster: Cluster) -> None:
    pem, key = (part.decode() for part in certificate())
    half = root("PATCH", "/gke-eu", {"credential": {"client_certificate": pem}})
    assert half.status_code == 400 and half.json()["field"] == "credential"
    both = {"credential": {"client_certificate": pem, "client_key": key}, "force": True}
    answer = root("PATCH", "/gke-eu", both)
    assert answer.json()["authentication"] == "certificate" and "PRIVATE" not in answer.content.decode()
    assert {name: text.strip() for name, text in stored(cluster).items()} == {
        "token": "",
        "client_certificate": pem.strip(),
        "client_key": key.strip(),
    }


@pytest.mark.parametrize(
    "body",
    [
        {"server": "https://8.8.8.8"},
        {"ca": "-----BEGIN CERTIFICATE-----"},
        {"tls_server_name": "other"},
        {"server": "https://8.8.8.8", "credential": {"token": TOKEN}},
        {"kubeconfig": "k", "credential": {"token": TOKEN}},
        {"in_cluster": True, "kubeconfig": "k"},
        {"credential": {}},
        {"credential": {"token": "white space"}},
    ],
)
def test_an_address_never_changes_without_its_credential(root: Rest, cluster: Cluster, body: dict[str, Any]) -> None:
    before = Cluster.objects.get()
    assert root("PATCH", "/gke-eu", body).status_code == 400
    after = Cluster.objects.get()
    assert (after.server, after.ca, after.credential_encrypted) == (
        before.server,
        before.ca,
        before.credential_encrypted,
    )


def test_a_changed_ca_is_a_changed_cluster(root: Rest, cluster: Cluster, api: FakeApi) -> None:
    import base64

    other = base64.b64encode(certificate()[0]).decode()
    swapped = api.kubeconfig.replace(base64.b64encode(api.ca).decode(), other)
    without = swapped.replace(f"token: {TOKEN}", "token: ''")
    assert root("PATCH", "/gke-eu", {"kubeconfig": without}).status_code == 400
    assert root("PATCH", "/gke-eu", {"kubeconfig": swapped}).status_code == 200
    assert AuditEntry.objects.filter(action="cluster.reconnect").exists()


def test_an_address_that_changes_during_the_trial_never_gets_the_new_credential(
    cluster: Cluster, admin: Principal, api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.token = NEW
    tried = services.registration._try

    def repoint(*given: Any) -> None:
        tried(*given)
        Cluster.objects.filter(pk=cluster.pk).update(server="https://127.0.0.9")

    monkeypatch.setattr(services.registration, "_try", repoint)
    with pytest.raises(Conflict, match="changed meanwhile"):
        services.replace_credential(principal=admin, cluster=cluster, token=NEW)
    assert stored(cluster)["token"] == TOKEN


def test_secrets_are_in_no_answer_audit_row_log_repr_or_export(
    root: Rest, cluster: Cluster, api: FakeApi, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    root("PATCH", "/gke-eu", {"credential": {"token": NEW}})
    api.token = NEW
    root("PATCH", "/gke-eu", {"credential": {"token": NEW}})
    said = [root(method, f"/gke-eu{path}").content.decode() for method, path in
            [("GET", ""), ("POST", "/test"), ("GET", "/check"), ("GET", "/account")]]  # fmt: skip
    call_command("dumpdata", "clusters", "core.auditentry")
    said += [capsys.readouterr().out, caplog.text, str(list(AuditEntry.objects.values()))]
    stored = Cluster.objects.get()
    said += [repr(stored), repr(services.connection_of(stored)), str(stored.check_report)]
    for text in said:
        assert TOKEN not in text and NEW not in text
    assert AuditEntry.objects.filter(action="cluster.credential").exists()


@pytest.fixture
def pod(api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This process as a pod: the folder that a kubelet would mount, and the variables that it would set."""
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "ca.crt").write_bytes(api.ca)
    monkeypatch.setattr(incluster, "FOLDER", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(api.port))
    return tmp_path


def test_the_own_cluster_is_registered_without_a_secret_and_follows_the_rotated_token(
    root: Rest, api: FakeApi, pod: Path
) -> None:
    answer = root("POST", body={"name": "home", "in_cluster": True, "labels": {"provider": "gcp"}})
    assert answer.status_code == 201 and answer.json()["authentication"] == "in-cluster"
    home = Cluster.objects.get()
    assert not any(stored(home).values())
    client = services.connect(home)
    assert client.access_review("list", "", "pods")
    api.token = NEW
    (pod / "token").write_text(NEW + "\n")
    assert client.access_review("list", "", "pods"), "the same client reads the rotated token"
    assert root("POST", "/home/test").json()["ok"]


def test_a_restored_back_up_does_not_take_another_cluster_for_the_registered_one(
    root: Rest, api: FakeApi, pod: Path
) -> None:
    root("POST", body={"name": "home", "in_cluster": True})
    (pod / "ca.crt").write_bytes(api.ca + certificate()[0])
    assert root("POST", "/home/test").json()["ok"], "a CA that is being rotated is the same cluster"
    (pod / "ca.crt").write_bytes(certificate()[0])
    report = root("POST", "/home/test").json()
    assert report["reason"] == "CredentialUnusable" and "is no longer the one" in report["sentence"]


def test_a_rotated_authority_is_followed_through_both_of_its_steps(root: Rest, api: FakeApi, pod: Path) -> None:
    """https://kubernetes.io/docs/tasks/tls/manual-rotation-of-ca-certificates/: both, then the new one alone."""
    old = certificate()[0]
    (pod / "ca.crt").write_bytes(old)
    root("POST", body={"name": "home", "in_cluster": True})
    (pod / "ca.crt").write_bytes(api.ca + old)
    assert root("POST", "/home/test").json()["ok"]
    assert Cluster.objects.get().generation == 2, "streams begin again, to trust both"
    (pod / "ca.crt").write_bytes(api.ca)
    assert root("POST", "/home/test").json()["ok"]
    assert Cluster.objects.get().ca == api.ca.decode()
    root("POST", "/home/test")
    assert Cluster.objects.get().generation == 3, "nothing is new"


@pytest.mark.parametrize("broken", ["token", "ca.crt"])
def test_a_pod_without_a_service_account_says_so(root: Rest, pod: Path, broken: str) -> None:
    (pod / broken).unlink()
    answer = root("POST", body={"name": "home", "in_cluster": True})
    assert answer.status_code == 400 and "no usable service account" in answer.json()["detail"]


def test_outside_of_a_cluster_there_is_no_service_account(root: Rest, cluster: Cluster, api: FakeApi) -> None:
    for answer in (
        root("POST", body={"name": "home", "in_cluster": True}),
        root("PATCH", "/gke-eu", {"in_cluster": True}),
    ):
        assert answer.status_code == 400 and "does not run in a cluster" in answer.json()["detail"]
        assert answer.json()["hint"]
    both = {"name": "home", "in_cluster": True, "kubeconfig": api.kubeconfig}
    assert root("POST", body=both).status_code == 400


def test_a_stored_token_gives_way_to_the_service_account(root: Rest, cluster: Cluster, pod: Path) -> None:
    answer = root("PATCH", "/gke-eu", {"in_cluster": True})
    assert answer.status_code == 200 and answer.json()["authentication"] == "in-cluster"
    assert not any(stored(cluster).values())


def test_the_own_address_is_checked_like_any_other(root: Rest, pod: Path, settings: Any) -> None:
    settings.CLUSTER_ALLOWED_NETWORKS = []
    answer = root("POST", body={"name": "home", "in_cluster": True})
    assert answer.status_code == 400 and "CLUSTER_ALLOWED_NETWORKS" in answer.json()["detail"]


def test_removal_is_refused_with_the_account_and_disabling_tells_it(root: Rest) -> None:
    project = busy_project(size=2)
    home = project.deployments.get(name="digits").places[0].target.cluster
    experiment = project.experiments.get(name="digits")
    for state in ("Running", "Failed"):
        run(experiment, state=state, kind="launched", cluster=home, namespace="flotilla-demo")
    refused = root("DELETE", f"/{home.name}")
    problem = refused.json()
    assert refused.status_code == 409 and refused["Content-Type"] == "application/problem+json"
    assert "deployment" in problem["detail"] and "Delete the deployments" in problem["hint"]
    held = {each["kind"]: each for each in problem["account"]["holdings"]}
    assert held["deployment"]["blocks"] and any("demo/digits (" in name for name in held["deployment"]["names"])
    assert held["unfinished run"]["blocks"] and held["unfinished run"]["count"] == 1
    assert not held["ended run"]["blocks"] and "stay with all that they logged" in held["ended run"]["remedy"]
    assert "flotilla-demo" in problem["account"]["namespaces"] and not problem["account"]["removable"]
    assert root("GET", f"/{home.name}/account").json() == problem["account"]
    disabled = root("PATCH", f"/{home.name}", {"enabled": False}).json()
    assert disabled["state"] == "Disabled" and disabled["account"]["pods"] == problem["account"]["pods"] > 0
    assert "keep running" in disabled["account"]["sentence"]
    assert Cluster.objects.filter(pk=home.pk).exists()


def test_a_disabled_cluster_that_is_gone_for_good_can_be_given_up(
    root: Rest,
) -> None:
    project = busy_project(size=2)
    home = project.deployments.get(name="digits").places[0].target.cluster
    going = run(project.experiments.get(name="digits"), state="Running", kind="launched", cluster=home)
    refused = root("DELETE", f"/{home.name}?abandon=true")
    assert refused.status_code == 409 and "Disable it first" in refused.json()["hint"]
    root("PATCH", f"/{home.name}", {"enabled": False})
    assert root("DELETE", f"/{home.name}").status_code == 409, "not by mistake"
    assert root("DELETE", f"/{home.name}?abandon=true").status_code == 204
    assert not Cluster.objects.filter(pk=home.pk).exists()
    assert not project.deployments.exists() and not project.targets.exists()
    reconcile_run(going.pk)
    going.refresh_from_db()
    assert (going.state, going.reason) == ("Lost", "ClusterRemoved")
    actions = set(AuditEntry.objects.values_list("action", flat=True))
    assert {"cluster.delete", "deployment.abandon", "target.abandon"} <= actions

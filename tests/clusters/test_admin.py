"""The admin panel's door: register by paste or upload, edit, test."""

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from apps.clusters.models import Cluster
from apps.core.models import AuditEntry, User
from apps.core.secrets import crypto
from tests.clusters.fakeapi import TOKEN, FakeApi
from tests.clusters.pages.test_pages import observe
from tests.factories import busy_project
from tests.factories import cluster as made_cluster

pytestmark = pytest.mark.django_db
ADD = "/admin/clusters/cluster/add/"


@pytest.fixture
def root(client: Client, admin_user: User) -> Client:
    client.force_login(admin_user)
    return client


def register(root: Client, api: FakeApi) -> Cluster:
    response = root.post(ADD, {"name": "gke-eu", "labels": "region=eu\nteam = ml", "kubeconfig": api.kubeconfig})
    assert response.status_code == 302, response.content.decode()[:2000]
    return Cluster.objects.get()


def test_a_pasted_kubeconfig_registers_and_leads_to_the_test(root: Client, api: FakeApi) -> None:
    response = root.post(ADD, {"name": "gke-eu", "labels": "", "kubeconfig": api.kubeconfig}, follow=True)
    assert "Everything works" in response.content.decode()
    cluster = Cluster.objects.get()
    assert cluster.server == f"https://127.0.0.1:{api.port}" and TOKEN not in cluster.credential_encrypted
    assert AuditEntry.objects.filter(action="cluster.register", actor="root").exists()


def test_an_uploaded_kubeconfig_registers(root: Client, api: FakeApi) -> None:
    file = SimpleUploadedFile("config.yaml", api.kubeconfig.encode())
    assert root.post(ADD, {"name": "gke-eu", "labels": "", "kubeconfig_file": file}).status_code == 302
    assert Cluster.objects.get().credential_kind == "token"


def test_labels_are_lines(root: Client, api: FakeApi) -> None:
    assert register(root, api).labels == {"region": "eu", "team": "ml"}


@pytest.mark.parametrize(
    ("data", "part"),
    [
        ({"name": "x", "labels": ""}, "needs a kubeconfig"),
        ({"name": "x", "labels": "", "kubeconfig": "users: [}"}, "not valid YAML"),
        ({"name": "x", "labels": "no equals sign", "kubeconfig": "GOOD"}, "name=value"),
        ({"name": "x", "labels": "a b=c", "kubeconfig": "GOOD"}, "no label name"),
        ({"name": "x", "labels": "", "kubeconfig": "EXEC"}, "run a command"),
        ({"name": "x", "labels": "", "kubeconfig": "METADATA"}, "metadata"),
        ({"name": "Not Valid", "labels": "", "kubeconfig": "GOOD"}, "lower-case"),
    ],
)
def test_what_is_refused_is_said_beside_the_field_and_the_secret_is_not_shown_again(
    root: Client, api: FakeApi, data: dict[str, str], part: str
) -> None:
    made = {
        "GOOD": api.kubeconfig,
        "EXEC": api.kubeconfig.replace(f"token: {TOKEN}", f"token: {TOKEN}\n    exec: {{command: sh}}"),
        "METADATA": api.kubeconfig.replace("127.0.0.1", "169.254.169.254"),
    }
    if "kubeconfig" in data:
        data = {**data, "kubeconfig": made.get(data["kubeconfig"], data["kubeconfig"])}
    response = root.post(ADD, data)
    assert response.status_code == 200
    text = response.content.decode()
    assert part in text and TOKEN not in text
    assert not Cluster.objects.exists()


def test_a_cluster_that_is_known_is_asked_about(root: Client, api: FakeApi) -> None:
    register(root, api)
    twin = {"name": "twin", "labels": "", "kubeconfig": api.kubeconfig}
    asked = root.post(ADD, twin)
    assert asked.status_code == 200 and "This is cluster gke-eu already" in asked.content.decode()
    assert root.post(ADD, twin | {"again": "on"}).status_code == 302 and Cluster.objects.count() == 2


def test_the_edit_page_shows_no_secret_and_keeps_the_connection(root: Client, api: FakeApi) -> None:
    cluster = register(root, api)
    page = reverse("admin:clusters_cluster_change", args=[cluster.pk])
    text = root.get(page).content.decode()
    assert TOKEN not in text and cluster.credential_encrypted not in text and "region=eu" in text
    assert root.post(page, {"labels": "region=us", "enabled": "on"}).status_code == 302
    after = Cluster.objects.get()
    assert after.labels == {"region": "us"} and after.generation == 1
    assert after.credential_encrypted == cluster.credential_encrypted


def test_removing_tells_what_runs_there_and_wants_the_name(root: Client, api: FakeApi) -> None:
    cluster = register(root, api)
    observe(cluster)
    page = reverse("admin:clusters_cluster_delete", args=[cluster.pk])
    text = root.get(page).content.decode()
    assert "6 pods of Flotilla&#x27;s in 2 namespaces keep running" in text and "flotilla-secret" in text
    for wrong in ({}, {"post": "yes"}, {"confirm": "gke"}):
        assert "Type gke-eu to remove it" in root.post(page, wrong).content.decode()
    assert Cluster.objects.exists()
    done = root.post(page, {"confirm": "gke-eu"}, follow=True).content.decode()
    assert not Cluster.objects.exists() and "keep running" in done
    assert AuditEntry.objects.get(action="cluster.delete").after["left_there"]["pods"] == 6


def test_what_depends_on_a_cluster_forbids_its_removal_and_is_listed(root: Client) -> None:
    home = busy_project(size=2).deployments.get(name="digits").places[0].target.cluster
    page = reverse("admin:clusters_cluster_delete", args=[home.pk])
    text = root.get(page).content.decode()
    assert "demo/digits" in text and "Remove the cluster" not in text and "Disable it" in text
    assert "can&#x27;t be removed" in root.post(page, {"confirm": home.name}).content.decode()
    assert Cluster.objects.filter(pk=home.pk).exists()
    Cluster.objects.filter(pk=home.pk).update(enabled=False)
    assert "gone for good: forget" in root.get(page).content.decode()
    assert "can&#x27;t be removed" in root.post(page, {"confirm": home.name}).content.decode()
    root.post(page, {"confirm": home.name, "abandon": "on"})
    assert not Cluster.objects.filter(pk=home.pk).exists()


def test_several_can_not_be_deleted_at_once(root: Client, api: FakeApi) -> None:
    cluster = register(root, api)
    root.post("/admin/clusters/cluster/", {"action": "delete_selected", "_selected_action": cluster.pk, "post": "yes"})
    assert Cluster.objects.exists()


def test_disabling_says_what_goes_on_running(root: Client, api: FakeApi) -> None:
    cluster = register(root, api)
    observe(cluster)
    page = reverse("admin:clusters_cluster_change", args=[cluster.pk])
    assert "6 pods" in root.get(page).content.decode()
    text = root.post(page, {"labels": ""}, follow=True).content.decode()
    assert "no longer watched" in text and "keep running" in text
    assert not Cluster.objects.get().enabled


def test_a_new_token_is_tried_before_it_is_stored(root: Client, api: FakeApi) -> None:
    cluster = register(root, api)
    page = reverse("admin:clusters_cluster_change", args=[cluster.pk])
    api.token = "another-token"
    kept = {"labels": "region=eu", "enabled": "on"}
    text = root.post(page, {**kept, "token": "a-wrong-token"}, follow=True).content.decode()
    assert "refuses the new credential" in text and "a-wrong-token" not in text
    assert Cluster.objects.get().credential_encrypted == cluster.credential_encrypted
    root.post(page, {**kept, "token": "another-token"})
    after = Cluster.objects.get()
    assert crypto.decrypt(after.credential_encrypted) != crypto.decrypt(cluster.credential_encrypted)
    assert after.generation == cluster.generation + 1 and after.server == cluster.server
    assert "another-token" not in root.get(page).content.decode()
    root.post(page, {**kept, "token": "tomorrow-s-token", "force": "on"})
    assert b"tomorrow-s-token" in crypto.decrypt(Cluster.objects.get().credential_encrypted)


def test_a_changed_address_demands_the_credential_again(root: Client, api: FakeApi) -> None:
    cluster = register(root, api)
    page = reverse("admin:clusters_cluster_change", args=[cluster.pk])
    kept = {"labels": "region=eu", "enabled": "on"}
    root.post(page, {**kept, "server": "https://127.0.0.2", "ca": "x"})
    moved = api.kubeconfig.replace("127.0.0.1", "127.0.0.2")
    without = moved.replace(f"token: {TOKEN}", "token: ''")
    assert "no credential" in root.post(page, {**kept, "kubeconfig": without}).content.decode()
    assert Cluster.objects.get().server == cluster.server
    root.post(page, {**kept, "kubeconfig": moved})
    assert Cluster.objects.get().server == f"https://127.0.0.2:{api.port}"


def test_in_cluster_is_refused_with_the_reason_outside_of_one(root: Client) -> None:
    response = root.post(ADD, {"name": "home", "labels": "", "in_cluster": "on"})
    assert "does not run in a cluster" in response.content.decode() and not Cluster.objects.exists()


@pytest.mark.parametrize("path", ["", "add/", "1/change/", "1/test/", "1/delete/"])
def test_staff_who_do_not_administer_the_platform_are_refused(client: Client, viewer_user: User, path: str) -> None:
    viewer_user.is_staff = True
    viewer_user.save()
    client.force_login(viewer_user)
    assert client.get(f"/admin/clusters/cluster/{path}").status_code in {302, 403}
    assert client.post(f"/admin/clusters/cluster/{path}").status_code in {302, 403}


def test_the_check_says_once_what_no_server_said(root: Client) -> None:
    cluster = made_cluster("kind-a")
    page = root.get(f"/admin/clusters/cluster/{cluster.pk}/test/").content.decode()
    assert page.count("certificate can&#x27;t be read") == 1

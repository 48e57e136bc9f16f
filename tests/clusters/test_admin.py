"""The admin panel's door: register by paste or upload, edit, test."""

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from apps.clusters.models import Cluster
from apps.core.models import AuditEntry, User
from tests.clusters.fakeapi import TOKEN, FakeApi

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


def test_the_edit_page_shows_no_secret_and_keeps_the_connection(root: Client, api: FakeApi) -> None:
    cluster = register(root, api)
    page = reverse("admin:clusters_cluster_change", args=[cluster.pk])
    text = root.get(page).content.decode()
    assert TOKEN not in text and cluster.credential_encrypted not in text and "region=eu" in text
    assert root.post(page, {"labels": "region=us", "enabled": "on"}).status_code == 302
    after = Cluster.objects.get()
    assert after.labels == {"region": "us"} and after.generation == 1
    assert after.credential_encrypted == cluster.credential_encrypted


def test_deleting_asks_the_service(root: Client, api: FakeApi) -> None:
    cluster = register(root, api)
    root.post(reverse("admin:clusters_cluster_delete", args=[cluster.pk]), {"post": "yes"})
    assert not Cluster.objects.exists()
    assert AuditEntry.objects.filter(action="cluster.delete").exists()


@pytest.mark.parametrize("path", ["", "add/", "1/change/", "1/test/", "1/delete/"])
def test_staff_who_do_not_administer_the_platform_are_refused(client: Client, viewer_user: User, path: str) -> None:
    viewer_user.is_staff = True
    viewer_user.save()
    client.force_login(viewer_user)
    assert client.get(f"/admin/clusters/cluster/{path}").status_code in {302, 403}
    assert client.post(f"/admin/clusters/cluster/{path}").status_code in {302, 403}

"""A credential, or the key that it is stored under, is replaced while the watcher runs: nothing goes dark."""

from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.management import call_command
from django.test import Client

from apps.clusters import services
from apps.clusters.models import Cluster, Node, Pod
from apps.core.access import Principal
from tests.clusters.conftest import eventually
from tests.clusters.fakeapi import FakeApi, node, pod
from tests.clusters.watcher.test_watcher import Watching

pytestmark = pytest.mark.django_db(transaction=True)
NEW = "renewed-token-9876543210"


@pytest.fixture
def other() -> Iterator[FakeApi]:
    fake = FakeApi()
    fake.put("nodes", node("elsewhere"))
    yield fake
    fake.close()


@pytest.fixture
def watching(api: FakeApi, other: FakeApi, admin: Principal) -> Iterator[Watching]:
    api.put("nodes", node("n1"))
    api.put("pods", pod("before"))
    services.register(principal=admin, name="mine", kubeconfig_text=api.kubeconfig)
    services.register(principal=admin, name="other", kubeconfig_text=other.kubeconfig)
    started = Watching()
    yield started
    started.stop()


def healthy(name: str) -> bool:
    return Cluster.objects.get(name=name).state == "Healthy"


def test_streams_go_on_with_the_new_token_and_rows_stay(
    api: FakeApi, other: FakeApi, admin: Principal, client: Client, watching: Watching
) -> None:
    eventually(lambda: healthy("mine") and healthy("other"), "both are Healthy")
    eventually(lambda: Pod.objects.filter(name="before").exists(), "the pod is stored")
    client.force_login(admin.user)  # type: ignore[arg-type]
    elsewhere = other.count("GET /api/v1/nodes?limit")
    rows = set(Node.objects.values_list("pk", flat=True)) | set(Pod.objects.values_list("pk", flat=True))
    api.token = NEW
    services.replace_credential(principal=admin, cluster=Cluster.objects.get(name="mine"), token=NEW)
    shown: list[str] = []
    states: set[str] = set()

    def followed() -> bool:
        states.add(Cluster.objects.get(name="mine").state)
        shown.append(client.get("/clusters/mine/?part=nodes").content.decode())
        return f"Bearer {NEW}" in api.authorization[-1] and Pod.objects.filter(name="after").exists()

    api.put("pods", pod("after"))
    eventually(followed, "the watch goes on with the new token")
    assert all("n1" in page for page in shown), "the page showed the node all the time"
    still = set(Node.objects.values_list("pk", flat=True)) | set(Pod.objects.values_list("pk", flat=True))
    assert rows <= still and Pod.objects.present().count() == 2
    eventually(lambda: healthy("mine"), "it is Healthy again")
    assert states == {"Healthy"}, "a credential that is replaced is no outage"
    assert other.count("GET /api/v1/nodes?limit") == elsewhere, "the other cluster was not listed again"
    eventually(lambda: set(api.authorization[-3:]) == {f"Bearer {NEW}"}, "the old token is no longer used")


def test_the_key_is_rotated_beside_a_watcher_and_the_next_one_knows_only_the_new_key(
    api: FakeApi, other: FakeApi, watching: Watching, settings: Any
) -> None:
    """docs/operations.md, "Rotate secrets": nothing is interrupted, and nobody gives a credential again."""
    eventually(lambda: healthy("mine") and healthy("other"), "both are Healthy")
    before = dict(Cluster.objects.values_list("name", "generation"))
    lists = api.count("GET /api/v1/nodes?limit")
    new = Fernet.generate_key().decode()
    settings.CREDENTIALS_KEYS = [new, *settings.CREDENTIALS_KEYS]
    call_command("rotate_credentials_key")
    api.put("pods", pod("meanwhile"))
    eventually(lambda: Pod.objects.filter(name="meanwhile").exists(), "the watch goes on")
    assert api.count("GET /api/v1/nodes?limit") == lists, "no stream begins again"
    watching.stop()
    settings.CREDENTIALS_KEYS = [new]
    successor = Watching()
    try:
        api.put("pods", pod("after"))
        eventually(lambda: Pod.objects.filter(name="after").exists(), "the next watcher decrypts the credential")
        eventually(lambda: healthy("mine") and healthy("other"), "both are Healthy")
    finally:
        successor.stop()
    assert dict(Cluster.objects.values_list("name", "generation")) == before

"""One cluster under two names is told of until somebody says that it is meant: by REST, against real TLS servers."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from apps.clusters import services
from apps.clusters.connect import twins
from apps.clusters.models import Cluster
from apps.core.access import Principal
from apps.core.models import AuditEntry, User
from apps.core.work.kinds import Lane
from apps.core.work.worker import drain
from tests.clusters.fakeapi import FakeApi
from tests.clusters.test_api import Rest

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def root(admin_user: User) -> Rest:
    return Rest(admin_user)


@pytest.fixture
def elsewhere() -> Iterator[FakeApi]:
    """The same cluster by another address and another authority."""
    fake = FakeApi()
    yield fake
    fake.close()


def register(root: Rest, name: str, api: FakeApi, **body: Any) -> None:
    assert root("POST", body={"name": name, "kubeconfig": api.kubeconfig, **body}).status_code == 201
    checked()


def checked() -> None:
    while drain(Lane.PERSON):
        pass


def told(root: Rest) -> dict[str, str]:
    """What the stored checks say of clusters that are registered twice, by name."""
    reports = {name: root("GET", f"/{name}/check").json() for name in Cluster.objects.values_list("name", flat=True)}
    messages = {
        name: [each["message"] for each in report["findings"] if each["kind"] == "RegisteredTwice"]
        for name, report in reports.items()
    }
    for name, report in reports.items():
        assert report["reachable"] and ("same uid" in report["sentence"]) == bool(messages[name]), name
    return {name: said[0].partition(":")[0] for name, said in messages.items() if said}


def one_and_the_same(*names: str) -> dict[str, str]:
    others = {name: " and ".join(sorted(set(names) - {name})) for name in names}
    return {name: f"It is the same cluster as {other}" for name, other in others.items()}


def test_both_names_tell_as_soon_as_the_second_has_answered_and_none_once_one_is_removed(
    root: Rest, api: FakeApi, elsewhere: FakeApi
) -> None:
    register(root, "gke-eu", api)
    assert told(root) == {}
    register(root, "by-lb", elsewhere)
    assert told(root) == one_and_the_same("by-lb", "gke-eu")
    assert root("DELETE", "/by-lb").status_code == 204
    checked()
    assert told(root) == {}


def test_whoever_registers_it_again_is_told_the_name_that_answers(root: Rest, api: FakeApi) -> None:
    kubeconfig = api.kubeconfig
    register(root, "b-oldest", api)
    register(root, "a-answers", api, again=True)

    def named() -> str:
        refused = root("POST", body={"name": "c", "kubeconfig": kubeconfig})
        assert refused.status_code == 409
        return str(re.search(r"This is cluster (\S+) already", refused.content.decode())[1])  # type: ignore[index]

    assert named() == "b-oldest"
    Cluster.objects.filter(name="a-answers").update(state="Healthy")
    assert named() == "a-answers"


def test_a_cluster_that_becomes_another_one_later_is_recognised_then(
    root: Rest, api: FakeApi, elsewhere: FakeApi
) -> None:
    elsewhere.uid = "its-own"
    register(root, "gke-eu", api)
    register(root, "by-lb", elsewhere)
    assert told(root) == {}
    elsewhere.uid = api.uid
    assert root("PATCH", "/by-lb", {"identity": api.uid}).status_code == 200
    checked()
    assert told(root) == one_and_the_same("by-lb", "gke-eu")
    elsewhere.uid = "its-own"
    assert root("PATCH", "/by-lb", {"identity": "its-own"}).status_code == 200
    checked()
    assert told(root) == {}


def test_what_an_administrator_says_to_be_meant_is_told_of_no_more_until_it_is_taken_back(
    root: Rest, viewer_user: User, api: FakeApi, elsewhere: FakeApi
) -> None:
    register(root, "gke-eu", api)
    register(root, "by-lb", elsewhere)
    assert Rest(viewer_user)("PATCH", "/gke-eu", {"again": True}).status_code == 403
    assert root("PATCH", "/gke-eu", {"again": True}).status_code == 200
    assert "gke-eu" not in told(root), "at once"
    for _ in range(2):
        checked()
        assert told(root) == {}
        root("POST", "/by-lb/test"), root("POST", "/gke-eu/test")
    third = FakeApi()
    try:
        register(root, "by-vpn", third)
        assert told(root) == one_and_the_same("by-vpn", "gke-eu") | one_and_the_same("by-vpn", "by-lb") | {
            "by-vpn": "It is the same cluster as by-lb and gke-eu"
        }, "what came after it is not meant by it"
        assert root("PATCH", "/by-vpn", {"again": True}).status_code == 200
        checked()
        assert told(root) == {}
        assert root("PATCH", "/gke-eu", {"again": False}).status_code == 200
        checked()
        assert told(root)["gke-eu"] == "It is the same cluster as by-lb and by-vpn"
    finally:
        third.close()
    assert list(AuditEntry.objects.filter(action="cluster.twins").values_list("object_name", flat=True)) == [
        "gke-eu",
        "by-vpn",
        "gke-eu",
    ]


def test_who_has_wanted_it_twice_at_the_registration_is_not_told_of_it_later(
    root: Rest, api: FakeApi, elsewhere: FakeApi
) -> None:
    register(root, "gke-eu", api)
    register(root, "same-address", api, again=True)
    register(root, "by-lb", elsewhere, again=True)
    assert told(root) == {}


def test_what_is_registered_by_itself_is_nobodys_word(
    root: Rest, admin: Principal, api: FakeApi, elsewhere: FakeApi
) -> None:
    register(root, "gke-eu", api)
    services.ensure_registered(principal=admin, name="local", kubeconfig_text=api.kubeconfig)
    checked()
    assert told(root) == one_and_the_same("gke-eu", "local")


def test_the_panel_has_a_switch_for_it_where_there_is_something_to_say(
    root: Rest, admin_user: User, api: FakeApi, elsewhere: FakeApi
) -> None:
    panel = Client()
    panel.force_login(admin_user)
    register(root, "gke-eu", api)
    page = reverse("admin:clusters_cluster_change", args=[Cluster.objects.get().pk])
    assert "Registered twice on purpose" not in panel.get(page).content.decode()
    register(root, "by-lb", elsewhere)
    assert page in panel.get("/clusters/gke-eu/check/").content.decode()
    text = panel.get(page).content.decode()
    assert "Registered twice on purpose" in text and twins.is_meant(Cluster.objects.get(name="gke-eu")) is False
    saved = {"labels": "", "enabled": "on"}
    assert panel.post(page, saved | {"again": "on"}).status_code == 302
    checked()
    assert told(root) == {}
    assert panel.post(page, saved | {"again": "on"}).status_code == 302, "nothing changes"
    assert AuditEntry.objects.filter(action="cluster.twins").count() == 1
    assert panel.post(page, saved).status_code == 302
    checked()
    assert told(root) == one_and_the_same("by-lb", "gke-eu")

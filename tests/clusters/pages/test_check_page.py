"""The stored check: who may see and run it, what it finds, when it is asked again."""

import html
import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from apps.clusters import services
from apps.clusters.kube.errors import error_from
from apps.clusters.models import Cluster
from apps.clusters.observed import interests
from apps.core.access import Principal
from apps.core.models import Membership, Project, User
from apps.core.work.kinds import Lane
from apps.core.work.models import Work
from apps.core.work.outcomes import DONE
from apps.core.work.worker import drain
from tests.clusters.connect.test_checks import jwt
from tests.clusters.fakeapi import TOKEN, FakeApi, status_object
from tests.clusters.test_api import Rest

pytestmark = pytest.mark.django_db
PAGE = "/clusters/gke-eu/check/"
AGAIN = "/clusters/gke-eu/check/again/"


def asked_for(cluster: Cluster) -> bool:
    """Whether a worker is to check the cluster now."""
    return Work.objects.filter(kind="check", object_id=cluster.pk, due_at__lte=timezone.now()).exists()


@pytest.fixture
def cluster(api: FakeApi, admin: Principal) -> Cluster:
    return services.register(principal=admin, name="gke-eu", kubeconfig_text=api.kubeconfig)


@pytest.fixture
def root(client: Client, admin_user: User) -> Client:
    client.force_login(admin_user)
    return client


@pytest.fixture
def viewer(viewer_user: User) -> Client:
    project = Project.objects.create(name="demo")
    Membership.objects.create(project=project, user=viewer_user, role="viewer")
    client = Client()
    client.force_login(viewer_user)
    return client


def again(client: Client) -> str:
    """Press "Check again", let a worker do it, and read the page."""
    answer = client.post(AGAIN)
    assert answer.status_code == 200, answer.content[:500]
    assert "Asking the cluster" in answer.content.decode()
    assert drain(Lane.PERSON)
    return text(client)


def text(client: Client, path: str = PAGE) -> str:
    answer = client.get(path)
    assert answer.status_code == 200, answer.content[:500]
    return " ".join(answer.content.decode().split())


def test_before_the_first_check_the_page_says_so(root: Client, cluster: Cluster) -> None:
    page = text(root)
    assert "Not known yet" in page and "None found" not in page
    assert "Not checked yet" in page and "The smallest role" in page and "Check again" in page


def test_everyone_reads_the_result_but_only_administrators_see_addresses_and_run_it(
    root: Client, viewer: Client, cluster: Cluster, api: FakeApi
) -> None:
    again(root)
    address = f"127.0.0.1:{api.port}"
    assert "Everything works" in text(viewer) and "v1.37.0-fake" in text(viewer)
    for path in (PAGE, "/clusters/gke-eu/", "/clusters/"):
        assert address not in text(viewer, path)
    assert address in text(root) and address in text(root, "/clusters/gke-eu/")
    assert "Check again" not in text(viewer)
    assert viewer.post(AGAIN).status_code == 403
    stranger = Client()
    assert stranger.get(PAGE).status_code == 302 and stranger.post(AGAIN).status_code == 302


def test_checking_again_stores_the_new_outcome_and_the_page_shows_it(
    root: Client, cluster: Cluster, api: FakeApi
) -> None:
    api.denied = {("create", "jobs"), ("get", "pods")}
    part = again(root)
    assert "Permissions missing" in part and "Runs are launched and cancelled." in part
    assert "<mark>    resources: [jobs]</mark>" in part.replace("<mark> resources", "<mark>    resources")
    assert "# missing: create" in part
    stored = Cluster.objects.get()
    assert not stored.check_report["ok"] and stored.checked_at is not None
    assert "Permissions missing" in text(root)


def test_the_button_waits_for_a_worker_and_asks_no_cluster_itself(root: Client, cluster: Cluster, api: FakeApi) -> None:
    button = root.post(AGAIN).content.decode()
    assert "<html" not in button and "Asking the cluster" in button and "disabled" in button
    assert api.requests == [] and asked_for(cluster)
    waits = re.search(r'hx-get="([^"]+)"', button)
    assert waits is not None
    address = html.unescape(waits[1])
    assert "Asking the cluster" in text(root, address)
    late = re.sub(r"at=\d+", "at=1", address)
    assert "No worker has checked it" in text(root, late) and "Asking" not in text(root, late)
    root.post(AGAIN)
    assert drain(Lane.PERSON) == 1, "pressed twice it is checked once"
    done = text(root, address)
    assert "Asking the cluster" not in done and "Check again" in done
    for odd in ("seen=x", "seen=never&at=x", "seen=never&at=" + "9" * 5000):
        assert "Asking" not in text(root, f"{PAGE}?part=again&{odd}")


def test_what_the_server_said_is_for_administrators(
    root: Client, viewer: Client, cluster: Cluster, api: FakeApi
) -> None:
    api.token = "another"
    assert "the token is not known" in again(root)
    assert "refuses the credential" in text(viewer) and "the token is not known" not in text(viewer)
    assert "the token is not known" in text(root)


def test_a_name_that_does_not_resolve_names_no_address_to_viewers(
    root: Client, viewer: Client, cluster: Cluster
) -> None:
    Cluster.objects.update(server="https://secret-host.invalid:6443")
    again(root)
    assert "secret-host" in text(root)
    assert "can&#x27;t be resolved" in text(viewer) and "secret-host" not in text(viewer)


def test_engines_are_listed_with_their_versions_and_none_is_said(root: Client, cluster: Cluster, api: FakeApi) -> None:
    again(root)
    assert "None found" in text(root)
    api.groups = {"kueue.x-k8s.io": ["v1alpha1", "v1beta1"], "gateway.networking.k8s.io": ["v1"], "apps": ["v1"]}
    image = {"containers": [{"image": "registry.k8s.io/kueue/kueue:v0.14.2"}]}
    metadata = {"name": "kueue-controller-manager", "namespace": "kueue-system"}
    api.put("deployments", {"metadata": metadata, "spec": {"template": {"spec": image}}})
    again(root)
    page = text(root)
    assert "Kueue" in page and "v0.14.2" in page and "kueue.x-k8s.io/v1beta1" in page and "Gateway API" in page
    kueue = Cluster.objects.get().check_report["engines"][0]
    assert kueue["served"] == ["kueue.x-k8s.io/v1beta1", "kueue.x-k8s.io/v1alpha1"], "the preferred version first"
    assert kueue["version_from"] == "kueue-system/kueue-controller-manager"


def test_an_engine_whose_version_may_not_be_read_is_still_named(root: Client, cluster: Cluster, api: FakeApi) -> None:
    api.groups = {"keda.sh": ["v1alpha1"]}
    api.status_on_list["deployments"] = [403]
    again(root)
    assert Cluster.objects.get().check_report["engines"][0]["version"] == ""
    assert "KEDA" in text(root) and "version not told" in text(root)


@pytest.mark.parametrize(("ahead", "warned"), [(0.0, False), (30.0, True), (-30.0, True)])
def test_a_clock_that_is_off_is_measured_and_told(
    root: Client, cluster: Cluster, api: FakeApi, ahead: float, warned: bool
) -> None:
    api.clock_ahead = ahead
    again(root)
    report = Cluster.objects.get().check_report
    assert abs(report["skew_s"] - ahead) <= report["skew_uncertainty_s"] + 0.1
    assert ("clock is off" in text(root).lower()) is warned


def test_findings_stand_on_the_overview_s_attention_list(root: Client, cluster: Cluster, api: FakeApi) -> None:
    Project.objects.create(name="demo")
    Cluster.objects.update(state="Healthy")
    api.clock_ahead, api.denied = 60.0, {("create", "jobs")}
    again(root)
    page = text(root, "/p/demo/?part=attention")
    assert "gke-eu: its clock is off" in page and "gke-eu: 1 permission is missing" in page and PAGE in page
    api.clock_ahead, api.denied = 0.0, set()
    again(root)
    assert "gke-eu" not in text(root, "/p/demo/?part=attention")


def test_a_finding_is_as_old_as_what_it_finds(root: Client, cluster: Cluster, api: FakeApi) -> None:
    Project.objects.create(name="demo")
    Cluster.objects.update(state="Healthy")
    api.clock_ahead = 60.0
    again(root)
    first = Cluster.objects.get().check_report["findings"][0]["since"]
    long_ago = (timezone.now() - timedelta(days=3, hours=1)).isoformat()
    report = Cluster.objects.get().check_report
    report["findings"][0]["since"] = long_ago
    Cluster.objects.update(check_report=report)
    api.denied = {("create", "jobs")}
    again(root)
    since = {each["kind"]: each["since"] for each in Cluster.objects.get().check_report["findings"]}
    assert since["ClockSkew"] == long_ago and since["PermissionsMissing"] > first
    for path in ("/p/demo/?part=attention", "/clusters/?part=fleet"):
        assert f'datetime="{long_ago[:16]}' in text(root, path), path
    assert Rest(cluster_admin())("GET", "/gke-eu/check").json()["findings"][1]["since"].startswith(long_ago[:16])


def cluster_admin() -> User:
    return User.objects.get(username="root")


def test_a_cluster_that_is_registered_twice_is_told_by_its_uid(
    root: Client, cluster: Cluster, api: FakeApi, admin: Principal
) -> None:
    """By another address and another authority, as through a load balancer and within its network."""
    Project.objects.create(name="demo")
    Cluster.objects.create(name="by-address", server="https://10.0.0.9", credential_kind="token", identity=api.uid)
    assert "It is the same cluster as by-address: both have the same uid." in again(root)
    assert "gke-eu: it is registered twice" in text(root, "/p/demo/?part=attention")
    report = services.check_connection(principal=admin, cluster=Cluster.objects.get(name="gke-eu"))
    assert report.ok and report.findings[0].kind == "RegisteredTwice" and "counted twice" in report.sentence
    Cluster.objects.create(name="by-name", server="https://10.0.0.8", credential_kind="token", identity=api.uid)
    report = services.check_connection(principal=admin, cluster=Cluster.objects.get(name="gke-eu"))
    assert report.findings[0].message == (
        "It is the same cluster as by-address and by-name: all have the same uid. Its nodes and pods are counted "
        "3 times. Remove all but one of them, or let an administrator say that this is meant."
    )
    Cluster.objects.exclude(name="gke-eu").delete()
    assert not services.check_connection(principal=admin, cluster=Cluster.objects.get(name="gke-eu")).findings


def test_a_credential_that_ends_soon_needs_somebody(
    root: Client, cluster: Cluster, api: FakeApi, admin: Principal
) -> None:
    Project.objects.create(name="demo")
    Cluster.objects.update(state="Healthy")
    soon = timezone.now() + timedelta(days=3, hours=1)
    api.token = jwt({"exp": int(soon.timestamp())})
    services.replace_credential(principal=admin, cluster=cluster, token=api.token)
    assert "The connection was changed" not in text(root)
    again(root)
    assert f"{soon:%Y-%m-%d}" in text(root) and "ends in 3 d" in text(root)
    assert "gke-eu: its token ends in 3 d" in text(root, "/p/demo/?part=attention")
    Cluster.objects.update(generation=99)
    assert "The connection was changed" in text(root), "an old report is called old"
    assert "ends in" not in text(root, "/p/demo/?part=attention")


def test_rest_gives_the_stored_check(viewer_user: User, admin_user: User, cluster: Cluster, api: FakeApi) -> None:
    viewer, root = Rest(viewer_user), Rest(admin_user)
    assert viewer("GET", "/gke-eu/check").status_code == 404
    api.token = "another"
    assert "not known" in root("POST", "/gke-eu/test").json()["detail"]
    seen = viewer("GET", "/gke-eu/check").json()
    assert seen["reason"] == "Unauthorized" and seen["detail"] == "" and seen["checked_at"]
    assert viewer("GET", "/gke-eu/account").status_code == 403
    assert TOKEN not in str(seen)


def test_a_check_is_asked_for_by_registration_credential_and_switch(
    cluster: Cluster, admin: Principal, api: FakeApi
) -> None:
    def asks(act: Callable[..., object], **arguments: Any) -> bool:
        Work.objects.all().delete()
        act(principal=admin, **arguments)
        return asked_for(Cluster.objects.get(name="other"))

    assert asks(services.register, name="other", kubeconfig_text=api.kubeconfig, again=True)
    made = Cluster.objects.get(name="other")
    assert asks(services.replace_credential, cluster=made, token="another", force=True)
    services.update_cluster(principal=admin, cluster=made, enabled=False)
    assert asks(services.update_cluster, cluster=made, enabled=True)
    assert not asks(services.update_cluster, cluster=made, labels={"a": "b"})


def test_a_cluster_is_checked_again_in_ten_minutes_and_at_once_when_its_state_changes(
    cluster: Cluster, api: FakeApi
) -> None:
    drain(Lane.PERSON)
    assert Cluster.objects.get().check_report["ok"] and not asked_for(cluster)
    later = Work.objects.get(kind="check").due_at
    assert later is not None and 500 < (later - timezone.now()).total_seconds() < 700
    interests.tell_state(cluster)
    assert asked_for(cluster), "what was found before it changed its state says nothing now"
    api.token = "another"
    drain(Lane.PERSON)
    assert not Cluster.objects.get().check_report["ok"]
    asked = len(api.requests)
    Cluster.objects.update(enabled=False, generation=3)
    assert services.checking.check_now(cluster.pk) is DONE and services.checking.check_now(cluster.pk + 1000) is DONE
    assert len(api.requests) == asked


def test_the_resync_finds_clusters_that_nobody_has_checked(cluster: Cluster) -> None:
    ago = timezone.now() - timedelta(minutes=30)
    for name, enabled, checked_at in (("late", True, ago), ("fresh", True, timezone.now()), ("off", False, ago)):
        Cluster.objects.create(
            name=name, server="https://127.0.0.1", credential_kind="token", enabled=enabled, checked_at=checked_at
        )
    late = Cluster.objects.get(name="late")
    assert set(services.checking.unchecked()) == {(cluster.pk, cluster.pk), (late.pk, late.pk)}


def test_an_older_check_does_not_overwrite_a_newer_one(cluster: Cluster) -> None:
    later = timezone.now() + timedelta(minutes=1)
    Cluster.objects.update(check_report={"generation": 1, "sentence": "newer"}, checked_at=later)
    services.checking._check(cluster)
    assert Cluster.objects.get().check_report["sentence"] == "newer"
    Cluster.objects.update(generation=2)
    services.checking._check(cluster)
    assert Cluster.objects.get().check_report["sentence"] == "newer", "nor one made with a connection of the past"


def test_a_server_that_says_nothing_ends_the_check_soon(cluster: Cluster, api: FakeApi, root: Client) -> None:
    api.answer_nothing = True
    started = timezone.now()
    assert "did not answer in time" in again(root)
    assert timezone.now() - started < timedelta(seconds=20)


REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
ODD = [
    *("[]", "7", '"x"', "{}", "null", '{"groups": 7, "status": 7}'),
    '{"groups": [7, {"versions": 7}], "gitVersion": []}',
    '{"groups": [{"name": "keda.sh", "versions": [7, {"version": "v1\\u0000"}], "preferredVersion": "v1"}]}',
    '{"status": {"allowed": "no"}, "gitVersion": "v1\\u0000\\ud800"}',
]


@pytest.mark.parametrize("path", ["/version", "/apis", REVIEWS, "/apis/apps/v1/deployments"])
def test_answers_that_make_no_sense_are_a_finding_and_no_crash(cluster: Cluster, api: FakeApi, path: str) -> None:
    api.groups = {"keda.sh": ["v1"]}
    for body in ODD:
        api.instead = {path: (body.encode(), {})}
        services.checking._check(Cluster.objects.get())
        report = Cluster.objects.get().check_report
        assert report["sentence"] and "\0" not in str(report)
        assert not report["ok"] or path != REVIEWS, "only true is a yes"


def test_what_a_server_says_of_itself_is_kept_short(cluster: Cluster, api: FakeApi) -> None:
    many = {"name": "keda.sh", "versions": [{"version": f"v{number}"} for number in range(5000)]}
    deployment = {"metadata": {"name": "keda-operator", "labels": {"app.kubernetes.io/version": "1." + "1" * 9000}}}
    api.put("deployments", deployment)
    api.instead = {
        "/apis": (json.dumps({"kind": "APIGroupList", "groups": [many]}).encode(), {}),
        "/version": (
            json.dumps({"gitVersion": "v" * 9000}).encode(),
            {"Date": "Mon, 01 Jan 2026 00:00:00 +" + "9" * 20},
        ),
    }
    services.checking._check(cluster)
    report = Cluster.objects.get().check_report
    assert report["ok"] and len(report["version"]) == 60 and report["skew_s"] is None
    assert len(report["engines"][0]["served"]) == 20 and len(json.dumps(report)) < 10_000
    said = status_object(403, "r" * 9000, "m" * 9000)
    refused = error_from(403, json.dumps(said).encode(), retry_after="²")
    assert (len(refused.message), len(refused.reason), refused.retry_after) == (1000, 60, None)


def test_a_disabled_cluster_is_not_asked(root: Client, cluster: Cluster, api: FakeApi) -> None:
    again(root)
    Cluster.objects.update(enabled=False)
    asked = len(api.requests)
    assert "is disabled" in root.post(AGAIN).content.decode() and not asked_for(cluster)
    page = text(root)
    assert len(api.requests) == asked and "Check again" not in page
    assert "Everything works" not in page and "this is what was found before" in page


def test_pages_look_again_when_a_check_finds_something_else(
    cluster: Cluster, api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    hinted: list[str] = []
    for module in ("checking", "registration"):
        monkeypatch.setattr(f"apps.clusters.services.{module}.hint", hinted.append)

    def hints_of_a_check() -> set[str]:
        hinted.clear()
        services.checking._check(Cluster.objects.get())
        return set(hinted)

    own, elsewhere = f"cluster-check:{cluster.pk}", {"clusters", f"cluster:{cluster.pk}"}
    assert hints_of_a_check() == {own, *elsewhere}
    assert hints_of_a_check() == {own}, "nothing that other pages show has changed"
    api.denied = {("create", "jobs")}
    assert hints_of_a_check() == {own, *elsewhere}
    assert hints_of_a_check() == {own}

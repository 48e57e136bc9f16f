"""The pages of the shell through their door, with a project full of rows."""

import re
from datetime import timedelta
from html import unescape

import pytest
from django.contrib.staticfiles import finders
from django.test import Client
from django.utils import timezone

from apps.clusters.models import Cluster
from apps.core.models import ApiToken, Membership, Project, User
from apps.core.pages.finders import PackageFinder
from apps.core.states import Role
from apps.experiments.models import Experiment
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def project() -> Project:
    return factories.busy_project(size=2)


@pytest.fixture
def client(project: Project, client: Client) -> Client:
    client.force_login(member(project))
    return client


def text_of(html: str) -> str:
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", html)))


def member(project: Project, name: str = "ada", role: Role = Role.DEVELOPER) -> User:
    """Without a password, whose hashing would take most of the time of these tests."""
    user = User.objects.create_user(name)
    Membership.objects.create(project=project, user=user, role=role)
    return user


def test_the_overview_says_the_verdict_first(client: Client, project: Project) -> None:
    page = client.get("/p/demo/").content.decode()
    heading = re.search(r"<h1>(.*?)</h1>", page)
    assert heading is not None
    assert heading[1] == "Two things need you"
    assert "2 runs failed" in text_of(page)


def test_an_unreachable_cluster_comes_first_and_counts(client: Client, project: Project) -> None:
    Cluster.objects.update(state="Unreachable", message="Connection refused.", last_seen_at=timezone.now())
    part = text_of(client.get("/p/demo/?part=attention").content.decode())
    assert "demo-cluster can't be reached" in part
    assert "Connection refused." in part
    assert "Three things need you" in client.get("/p/demo/?part=verdict").content.decode()
    assert "What is shown of it is as it was last seen." in part
    Cluster.objects.update(last_seen_at=None)
    part = text_of(client.get("/p/demo/?part=attention").content.decode())
    assert "Connection refused. Nothing of it was ever seen." in part and "last seen" not in part
    factories.cluster("another", nodes=0, state="Unreachable", message="Connection refused.")
    Cluster.objects.update(last_seen_at=None)
    part = text_of(client.get("/p/demo/?part=attention").content.decode())
    assert "2 clusters can't be reached" in part and "Nothing of them was ever seen." in part


@pytest.mark.parametrize(
    "part", ["verdict", "tiles", "attention", "serving", "rollouts", "room", "running", "failures"]
)
def test_each_part_of_the_overview_is_one_element_with_the_id_that_it_replaces(client: Client, part: str) -> None:
    answer = client.get(f"/p/demo/?part={part}")
    html = answer.content.decode().strip()
    assert re.match(rf'<(section|div) [^>]*id="{part}" [^>]*data-live="[a-z]', html)
    assert "<html" not in html
    assert answer["Cache-Control"] == "no-store"


def test_running_runs_show_their_curve_and_listen_to_themselves(client: Client, project: Project) -> None:
    run = factories.run(Experiment.objects.get(project=project, name="digits"), state="Running", name="going")
    html = client.get("/p/demo/?part=running").content.decode()
    assert f"run:{run.pk}" in html
    assert "<polyline" in html


def test_a_waiting_run_says_why(client: Client, project: Project) -> None:
    digits = Experiment.objects.get(project=project, name="digits")
    run = factories.run(digits, state="Queued", kind="launched", name="big", message="No node has 4 free GPUs.")
    type(run).objects.filter(pk=run.pk).update(created_at=timezone.now() - timedelta(minutes=3), started_at=None)
    part = text_of(client.get("/p/demo/?part=attention").content.decode())
    assert "run big is waiting" in part
    assert "No node has 4 free GPUs." in part


def test_an_empty_project_is_not_blank(client: Client) -> None:
    empty = Project.objects.create(name="empty")
    client.force_login(member(empty, name="grace"))
    page = text_of(client.get("/p/empty/").content.decode())
    assert "Ready when you are" in page
    assert "Nothing runs now" in page


def test_search_finds_by_name_and_only_what_one_may_see(client: Client, project: Project) -> None:
    other = Project.objects.create(name="theirs")
    Experiment.objects.create(project=other, name="digits-of-theirs")
    hits = text_of(client.get("/search?q=digits&part=hits").content.decode())
    assert "digits-of-theirs" not in hits
    assert "experiment" in hits
    assert "Nothing matches" in client.get("/search?q=zzzz&part=hits").content.decode()
    for query, words in (("d", "Type at least two letters"), (" ", ""), ("", "")):
        assert words in (told := client.get("/search", {"q": query, "part": "hits"}).content.decode().strip())
        assert bool(told) == bool(words), query


def test_a_token_is_shown_once_and_can_be_revoked(client: Client, project: Project) -> None:
    made = client.post("/settings/", {"name": "ci", "project": "demo", "role": "developer", "days": "30"})
    secret = re.search(r"flt_[\w-]{20,}", made.content.decode())
    assert secret is not None
    assert made["Cache-Control"] == "no-store"
    token = ApiToken.objects.get(name="ci")
    assert token.project == project
    assert token.expires_at is not None
    again = client.get("/settings/").content.decode()
    assert secret[0] not in again
    assert "ci" in again
    assert client.post(f"/settings/tokens/{token.pk}/revoke/").status_code == 302
    token.refresh_from_db()
    assert token.revoked_at is not None


def test_a_token_form_says_what_is_wrong_beside_the_field(client: Client) -> None:
    page = client.post("/settings/", {"name": "", "role": "developer", "days": "30"}).content.decode()
    assert 'aria-invalid="true"' in page
    assert 'id="id_name-errors"' in page


def test_nobody_revokes_anothers_token(client: Client) -> None:
    other = User.objects.create_user("eve")
    token = ApiToken.objects.create(name="x", prefix="p", digest="d", user=other)
    assert client.post(f"/settings/tokens/{token.pk}/revoke/").status_code == 404


def test_the_gallery_is_for_staff(client: Client, project: Project) -> None:
    assert client.get("/_gallery").status_code == 404
    client.force_login(User.objects.create_superuser("root"))
    assert client.get("/_gallery").status_code == 200


def test_an_unknown_page_is_a_page_of_ours(client: Client) -> None:
    answer = client.get("/nowhere/")
    assert answer.status_code == 404
    assert 'data-error="404"' in answer.content.decode()


def test_the_theme_is_rendered_by_the_server_and_only_known_ones(client: Client) -> None:
    client.cookies["theme"] = "dark"
    assert '<html lang="en" data-theme="dark">' in client.get("/p/demo/").content.decode()
    client.cookies["theme"] = '"><script>'
    assert '<html lang="en">' in client.get("/p/demo/").content.decode()


def test_a_viewer_sees_the_rail_without_the_admin_panel(client: Client, project: Project) -> None:
    client.force_login(member(project, name="viewer", role=Role.VIEWER))
    page = client.get("/p/demo/").content.decode()
    assert "Admin panel" not in page
    assert 'aria-current="page"' in page


def test_static_files_come_out_of_packages() -> None:
    for path in ("plotly/plotly.min.js", "django_htmx/htmx-2.min.js", "unfold/fonts/inter/Inter-Regular.woff2"):
        assert finders.find(path), path
    assert finders.find("plotly/../secrets") is None
    collected = dict(PackageFinder().list(None))
    with collected["plotly/plotly.min.js"].open("plotly/plotly.min.js") as file:
        assert b"plotly.js" in file.read(200)


def test_the_rail_renews_itself_for_the_same_project_and_page(client: Client, project: Project) -> None:
    html = client.get("/_rail?at=clusters&project=demo").content.decode()
    assert re.search(r'<a href="/clusters/" aria-current="page"', html)
    assert client.get("/_rail?at=clusters&project=theirs").status_code == 404


def test_who_opens_a_part_comes_to_its_page_with_the_span_kept(client: Client, project: Project) -> None:
    address = "/clusters/demo-cluster/usage/?span=24h"
    answer = client.get(address, headers={"Accept": "text/html"})
    assert (answer.status_code, answer["Location"]) == (302, "/clusters/demo-cluster/?span=24h")
    assert f'hx-get="{address}"' in client.get(answer["Location"]).content.decode()


def test_a_page_whose_session_has_ended_signs_in_and_comes_back(project: Project) -> None:
    headers = {"HX-Request": "true", "HX-Current-URL": "http://elsewhere.example/p/demo/?a=1"}
    answer = Client().get("/p/demo/?part=tiles", headers=headers)
    assert (answer.status_code, answer["HX-Redirect"]) == (401, "/login/?next=/p/demo/%3Fa%3D1")
    assert Client().get("/p/demo/?part=tiles", headers={"HX-Request": "true"})["HX-Redirect"] == "/login/"

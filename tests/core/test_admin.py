"""The admin panel is one door among others: what it changes goes through services, and what follows from it happens."""

import re
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin import ModelAdmin
from django.contrib.auth.admin import UserAdmin
from django.db.models import Model
from django.test import Client, RequestFactory

from apps.clusters.models import Pod
from apps.core import work
from apps.core.admin import PlatformAdmin, ServiceAdmin
from apps.core.models import ApiToken, AuditEntry, Membership, Project, User
from apps.core.secrets.tokens import issue_token
from apps.core.states import Role
from apps.deployments.models import Deployment
from apps.experiments.files import artifacts, sweeping
from apps.experiments.models import MetricPoint, Run
from tests import factories

pytestmark = pytest.mark.django_db
PASSWORD = "a long enough one"
PAGES = list(admin.site._registry.items())


@pytest.fixture
def root(client: Client, admin_user: User) -> Client:
    client.force_login(admin_user)
    return client


def actions() -> list[str]:
    return list(AuditEntry.objects.order_by("id").values_list("action", flat=True))


@pytest.mark.parametrize(("model", "page"), PAGES, ids=lambda part: getattr(part, "__name__", ""))
def test_no_page_of_the_panel_writes_rows_itself(model: type[Model], page: ModelAdmin, admin_user: User) -> None:
    """Either a page refuses to write, or it says by which service; Django's own ways of writing are never left."""
    assert isinstance(page, PlatformAdmin), f"{page} is no PlatformAdmin"
    request = RequestFactory().get("/admin/")
    request.user = admin_user
    writable = page.has_add_permission(request) or page.has_change_permission(request)
    if not (writable or page.has_delete_permission(request)):
        return
    assert isinstance(page, ServiceAdmin), f"{page} writes, and is no ServiceAdmin"
    for name in ("save_model", "delete_model", "delete_queryset", "save_formset"):
        mine = getattr(type(page), name)
        assert mine not in {getattr(ModelAdmin, name), getattr(UserAdmin, name)}, f"{page}.{name} is Django's own"
    for name in ("save_model", "delete_model"):
        assert name in vars(type(page)), f"{page} does not say which service does {name}"


@pytest.mark.parametrize(("model", "page"), PAGES, ids=lambda part: getattr(part, "__name__", ""))
def test_who_is_staff_alone_sees_nothing(model: type[Model], page: ModelAdmin, client: Client) -> None:
    client.force_login(User.objects.create_user("clerk", is_staff=True))
    assert client.get(f"/admin/{model._meta.app_label}/{model._meta.model_name}/").status_code == 403


def test_a_person_is_added_with_an_audit_row(root: Client) -> None:
    form = {"username": "ada", "password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"}
    assert root.post("/admin/core/user/add/", form).status_code == 302
    assert Client().login(username="ada", password=PASSWORD)
    assert actions() == ["person.create"]
    assert PASSWORD not in str(AuditEntry.objects.values_list()[0])


def person_form(user: User, **changes: Any) -> dict[str, Any]:
    form = {"username": user.username, "first_name": "", "last_name": "", "email": "", "is_active": "on"}
    if user.is_superuser:
        form["is_superuser"] = "on"
    return {key: value for key, value in {**form, **changes}.items() if value is not None}


def test_disabling_a_person_ends_sessions_and_tokens_for_good(root: Client) -> None:
    user = User.objects.create_user("ada", password=PASSWORD)
    theirs = Client()
    theirs.login(username="ada", password=PASSWORD)
    issue_token(name="t", user=user)
    page = f"/admin/core/user/{user.pk}/change/"
    assert root.post(page, person_form(user, is_active=None)).status_code == 302
    assert theirs.get("/settings/").status_code == 302
    assert root.post(page, person_form(user)).status_code == 302
    assert User.objects.get(pk=user.pk).is_active
    assert theirs.get("/settings/").status_code == 302, "the session came back"
    assert not ApiToken.objects.filter(user=user, revoked_at=None).exists(), "the token came back"
    assert actions() == ["person.update", "person.update"]
    assert AuditEntry.objects.earliest("id").after["revoked"] == 1  # type: ignore[index]


def test_who_is_no_administrator_any_more_loses_what_was_made_as_one(root: Client) -> None:
    user = User.objects.create_superuser("ada", password=PASSWORD)
    Membership.objects.create(project=Project.objects.create(name="demo"), user=user, role=Role.DEVELOPER)
    theirs = Client()
    theirs.login(username="ada", password=PASSWORD)
    issue_token(name="a", user=user, role=Role.ADMIN)
    as_developer, _ = issue_token(name="d", user=user, role=Role.DEVELOPER)
    assert root.post(f"/admin/core/user/{user.pk}/change/", person_form(user, is_superuser=None)).status_code == 302
    assert theirs.get("/settings/").status_code == 302
    assert theirs.get("/admin/").status_code == 302
    alive = ApiToken.objects.filter(user=user, revoked_at=None)
    assert list(alive) == [as_developer]


def test_the_last_platform_administrator_stays(root: Client, admin_user: User) -> None:
    page = f"/admin/core/user/{admin_user.pk}"
    for changes in ({"is_active": None}, {"is_superuser": None}):
        shown = root.post(f"{page}/change/", person_form(admin_user, first_name="typed", **changes)).content.decode()
        assert "is the last platform administrator" in shown and 'value="typed"' in shown, "and all that was typed"
    assert "is the last" in root.post(f"{page}/delete/", {"post": "yes"}, follow=True).content.decode()
    now = User.objects.get(pk=admin_user.pk)
    assert now.is_active and now.is_superuser and not actions()


def test_another_password_ends_sessions_and_leaves_an_audit_row(root: Client) -> None:
    user = User.objects.create_user("ada", password=PASSWORD)
    theirs = Client()
    theirs.login(username="ada", password=PASSWORD)
    form = {"password1": "quite another one", "password2": "quite another one", "usable_password": "true"}
    form["set-password"] = "1"
    assert root.post(f"/admin/core/user/{user.pk}/password/", form).status_code == 302
    assert theirs.get("/settings/").status_code == 302
    assert Client().login(username="ada", password="quite another one")
    assert actions() == ["person.password"]


def test_people_are_removed_one_by_one_and_together(root: Client) -> None:
    first, second, third = (User.objects.create_user(name) for name in ("a", "b", "c"))
    for person in (first, second):
        issue_token(name="t", user=person)
    assert "Yes, I" in root.get(f"/admin/core/user/{first.pk}/delete/").content.decode(), (
        "asked, though a token goes too"
    )
    root.post(f"/admin/core/user/{first.pk}/delete/", {"post": "yes"})
    form = {"action": "delete_selected", "_selected_action": [second.pk, third.pk], "post": "yes"}
    root.post("/admin/core/user/", form)
    assert not User.objects.filter(username__in=["a", "b", "c"]).exists()
    assert actions() == ["person.delete"] * 3


def test_the_first_form_of_a_process_has_labels_as_all_others(root: Client) -> None:
    shown = root.get("/admin/clusters/cluster/add/").content.decode()
    assert re.search(r'<label class="[^"]*font-semibold[^"]*" for="id_labels">', shown)


def test_symbols_that_are_pressed_are_buttons(root: Client) -> None:
    shown = root.get("/admin/").content.decode()
    assert shown.count('<button type="button" aria-label="Show or hide the pages"') == 2, "for wide and narrow screens"
    assert '<button type="button" aria-label="Hide the pages"' in shown
    assert not re.search(r"<span[^>]*x-on:click[^>]*>\s*(dock_to_right|close)", shown)


def test_a_leaked_token_is_revoked(root: Client) -> None:
    token, _ = issue_token(name="t", user=User.objects.create_user("ada"))
    root.post("/admin/core/apitoken/", {"action": "revoke", "_selected_action": [token.pk]})
    token.refresh_from_db()
    assert token.revoked_at is not None and actions() == ["token.revoke"]


def member_rows(*rows: tuple[Membership | None, User, str, bool], project: Project) -> dict[str, Any]:
    known = sum(member is not None for member, *_ in rows)
    form: dict[str, Any] = {"memberships-TOTAL_FORMS": len(rows), "memberships-INITIAL_FORMS": known}
    for place, (member, user, role, gone) in enumerate(rows):
        one = f"memberships-{place}"
        form |= {f"{one}-user": user.pk, f"{one}-role": role, f"{one}-project": project.pk}
        form |= {f"{one}-id": member.pk if member else ""} | ({f"{one}-DELETE": "on"} if gone else {})
    return form


def test_roles_are_given_lowered_and_taken_through_the_service(root: Client) -> None:
    project, ada, bob, cyd = Project.objects.create(name="demo"), *(User.objects.create_user(n) for n in "abc")
    token, _ = issue_token(name="t", user=ada, project=project, role=Role.ADMIN)
    page = f"/admin/core/project/{project.pk}/change/"
    root.post(page, {"description": "ours", **member_rows((None, ada, "admin", False), project=project)})
    member = Membership.objects.get()
    lowered = member_rows((member, ada, "viewer", False), (None, bob, "developer", False), project=project)
    root.post(page, {"description": "ours", **lowered})
    token.refresh_from_db()
    assert token.role == Role.VIEWER, "the token says more than its person may"
    members = {each.user_id: each for each in Membership.objects.all()}
    taken = member_rows((members[ada.pk], ada, "viewer", True), (members[bob.pk], cyd, "admin", False), project=project)
    root.post(page, {"description": "ours", **taken})
    token.refresh_from_db()
    assert token.revoked_at is not None
    assert list(Membership.objects.values_list("user", "role")) == [(cyd.pk, "admin")]
    assert actions() == ["project.update"] + ["project.member"] * 6


def test_a_project_is_made_and_described_with_audit_rows(root: Client) -> None:
    empty = {"memberships-TOTAL_FORMS": 0, "memberships-INITIAL_FORMS": 0}
    root.post("/admin/core/project/add/", {"name": "demo", "description": "", **empty})
    root.post(f"/admin/core/project/{Project.objects.get().pk}/change/", {"description": "ours", **empty})
    assert Project.objects.get().description == "ours"
    assert actions() == ["project.create", "project.update"]


@pytest.fixture
def busy(admin_user: User) -> Project:
    """A project in which a launched run and a deployment are alive."""
    project = factories.busy_project(size=1)
    Run.objects.filter(pk=Run.objects.earliest("id").pk).update(kind="launched", state="Running")
    return project


def test_a_project_with_something_alive_is_not_deleted_and_says_what_to_do(root: Client, busy: Project) -> None:
    page = f"/admin/core/project/{busy.pk}/delete/"
    shown = root.get(page).content.decode()
    refused = root.post(page, {"confirm": "demo"}).content.decode()
    for part in ("1 unfinished run", "1 deployment", "Cancel the runs", "Delete the deployments"):
        assert part in shown and part in refused
    assert "would go on without it" in refused
    assert Project.objects.exists() and Run.objects.exists() and Deployment.objects.exists()


def test_a_project_in_which_all_has_ended_is_deleted_with_all_that_it_logged(
    root: Client, busy: Project, django_capture_on_commit_callbacks: Any
) -> None:
    Run.objects.filter(state="Running").update(state="Succeeded")
    Deployment.objects.update(current=None, stable=None)
    Deployment.objects.all().delete()
    Pod.objects.all().delete()
    file = factories.stored_at(artifacts.write(Run.objects.earliest("id"), "model/x", BytesIO(b"bytes")).key)
    other = factories.run(factories.busy_project("other", size=1).experiments.get())
    page = f"/admin/core/project/{busy.pk}/delete/"
    assert "Type <code>demo</code>" in root.get(page).content.decode()
    assert "Type demo" in root.post(page, {"confirm": "other"}).content.decode()
    with django_capture_on_commit_callbacks(execute=True):
        assert root.post(page, {"confirm": "demo"}).status_code == 302
    assert list(Project.objects.values_list("name", flat=True)) == ["other"]
    assert set(MetricPoint.objects.values_list("run_id", flat=True)) <= set(Run.objects.values_list("pk", flat=True))
    assert MetricPoint.objects.filter(run_id=other.pk).exists()
    assert sweeping.sweep() and not file.exists()
    entry = AuditEntry.objects.get(action="project.delete")
    assert (entry.object_name, entry.project) == ("demo", None)


def test_a_time_in_the_panel_is_written_as_on_our_pages(root: Client, admin_user: User) -> None:
    User.objects.update(last_login=datetime(2026, 3, 4, 15, 6, 7, tzinfo=UTC))
    assert "2026-03-04 15:06:07" in root.get("/admin/core/user/").content.decode()


def test_the_panel_has_our_icon(root: Client) -> None:
    assert '<link rel="icon" href="/static/flotilla/img/flotilla.svg"' in root.get("/admin/").content.decode()


def test_what_is_left_to_do_can_be_looked_at(root: Client) -> None:
    work.ask("run", 4711, cluster=3)
    work.close(3, "Timeout")
    assert "4711" in root.get("/admin/core/work/").content.decode()
    assert "Timeout" in root.get("/admin/core/gate/").content.decode()
    assert root.post("/admin/core/gate/add/").status_code == 403

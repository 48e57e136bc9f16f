"""What is about browsers does not run for programs, and a program's header opens no door to a browser's session."""

from typing import Any

import pytest
import structlog
from django.test import Client
from django_structlog.signals import bind_extra_request_finished_metadata

from apps.core.models import Membership, Project, User
from apps.core.pages import middleware
from apps.core.secrets.tokens import issue_token
from apps.core.states import Role

pytestmark = pytest.mark.django_db
PATH = "/api/v1/projects"


@pytest.fixture
def ada() -> User:
    user = User.objects.create_user("ada")
    Membership.objects.create(project=Project.objects.create(name="demo"), user=user, role=Role.ADMIN)
    return user


@pytest.fixture
def browser(ada: User) -> Client:
    client = Client(enforce_csrf_checks=True)
    client.force_login(ada)
    return client


def headers(text: str) -> dict[str, Any]:
    return {"headers": {"Authorization": f"Bearer {text}"}}


def test_a_token_runs_no_middleware_of_browsers(ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    for name in ("Sessions", "Authentication", "Csrf"):
        parent = getattr(middleware, name).__mro__[2]
        hook = "process_view" if name == "Csrf" else "process_request"
        monkeypatch.setattr(parent, hook, lambda *_, name=name, **__: ran.append(name))
    assert Client().get(PATH, **headers(issue_token(name="t", user=ada)[1])).status_code == 200
    assert ran == []


def test_a_token_that_is_not_valid_never_falls_back_to_the_session(browser: Client) -> None:
    assert browser.get(PATH).status_code == 200
    for text in ("Bearer nothing", "Basic YTpi", "x"):
        assert browser.get(PATH, headers={"Authorization": text}).status_code == 401, text


def test_a_session_s_write_still_needs_the_csrf_token(browser: Client) -> None:
    body = {"data": {"name": "t"}, "content_type": "application/json"}
    assert browser.post("/api/v1/tokens", **body).status_code == 403
    assert browser.post("/api/v1/tokens", **body, **headers("nothing")).status_code == 401


def test_a_page_asked_for_with_a_header_is_still_a_page(browser: Client) -> None:
    assert browser.get("/settings/", **headers("nothing")).status_code == 200
    assert browser.post("/logout/", **headers("nothing")).status_code == 403, "a form without its CSRF token"


def test_log_lines_of_a_request_name_the_peer_and_believe_no_header(client: Client) -> None:
    said: list[Any] = []

    def look(**_: Any) -> None:
        said.append(structlog.contextvars.get_contextvars()["ip"])

    bind_extra_request_finished_metadata.connect(look)
    client.get(PATH, REMOTE_ADDR="192.0.2.7", headers={"X-Forwarded-For": "198.51.100.1"})
    assert said == ["192.0.2.7"]


def test_a_form_that_is_refused_is_answered_by_a_page_of_ours(browser: Client) -> None:
    for sent_from, said in (
        ("http://testserver", "This page is out of date"),
        ("https://b.example", "TRUSTED_ORIGINS"),
    ):
        answer = browser.post("/settings/password/", headers={"Origin": sent_from})
        page = answer.content.decode()
        assert answer.status_code == 403 and 'data-error="403"' in page and said in page, "and not by Django's own"

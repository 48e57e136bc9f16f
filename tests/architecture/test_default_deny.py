"""No URL is open by accident: anonymous is refused everywhere, another project is not found, viewers don't write."""

import pytest
from django.test import Client

from apps.core.models import Membership, Project, User
from apps.core.states import Role
from tests.architecture.urls import Url, every_url

pytestmark = pytest.mark.django_db

# What anybody may see: signs of life, signing in, and the probes of a stock MLflow client.
OPEN = {"/healthz", "/readyz", "/login/", "/health", "/version", "/admin/login/", "/api/3.0/mlflow/server-info"}
# Signing out: whoever is not signed in is sent to where they sign in.
SIGN_OUT = {"/admin/logout/"}
URLS = list(every_url())


def refused(status: int, location: str) -> bool:
    """401, or the way to the sign-in page."""
    return status == 401 or (status == 302 and "login" in location)


@pytest.mark.parametrize("url", [url for url in URLS if url.path not in OPEN | SIGN_OUT], ids=lambda url: url.path)
def test_anonymous_is_refused(url: Url) -> None:
    client = Client()
    for method in ("get", "post", "delete"):
        answer = getattr(client, method)(url.path)
        location = answer.headers.get("Location", "")
        # A method that the view does not have is refused before anybody is asked who they are.
        assert refused(answer.status_code, location) or answer.status_code == 405, (
            f"{method} {url.path} answered {answer.status_code}"
        )


def test_the_open_urls_exist_and_are_no_more_than_they_should_be() -> None:
    assert {url.path for url in URLS} & OPEN >= {"/healthz", "/readyz", "/login/"}


@pytest.fixture
def outsider() -> Client:
    """A member of `mine`, who asks for `theirs`."""
    user = User.objects.create_user("ada")
    Membership.objects.create(project=Project.objects.create(name="mine"), user=user, role=Role.ADMIN)
    Project.objects.create(name="theirs")
    client = Client()
    client.force_login(user)
    return client


@pytest.mark.parametrize("url", [url for url in URLS if "project" in url.params], ids=lambda url: url.path)
def test_another_project_is_not_found(url: Url, outsider: Client) -> None:
    for method in ("get", "post"):
        status = getattr(outsider, method)(url.path).status_code
        assert status == 404 or (status == 405 and method == "post"), f"{method} {url.path} answered {status}"


@pytest.mark.parametrize("url", [url for url in URLS if "project" in url.params], ids=lambda url: url.path)
def test_a_viewer_does_not_write(url: Url) -> None:
    user = User.objects.create_user("vera")
    Membership.objects.create(project=Project.objects.create(name="theirs"), user=user, role=Role.VIEWER)
    client = Client()
    client.force_login(user)
    status = client.post(url.path).status_code
    assert status in {403, 404, 405}, f"post {url.path} answered {status}"

"""What people and programs are told while Postgres does not answer."""

import json
from collections.abc import Iterator

import pytest
from django.db import connection
from django.test import Client

from apps.core.models import User
from controlplane.embedded import ports

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def client(client: Client, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """Signed in, just before Postgres goes away: nothing listens on its port any more."""
    client.force_login(User.objects.create_user("ada"))
    client.raise_request_exception = False
    connection.close()
    with monkeypatch.context() as patch:
        patch.setitem(connection.settings_dict, "PORT", str(ports.free_port()))
        yield client
    connection.close()


def test_a_page_says_that_the_database_does_not_answer_and_offers_to_try_again(client: Client) -> None:
    client.cookies["theme"] = "dark"
    response = client.get("/clusters/?sort=name")
    page = response.content.decode()
    assert (response.status_code, response["Retry-After"]) == (503, "5")
    assert "<h1>The database does not answer</h1>" in page and 'data-theme="dark"' in page
    assert '<a class="btn primary" href="/clusters/?sort=name">Try again</a>' in page
    assert 'href="/">Go to the overview</a>' in client.post("/clusters/").content.decode()


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer flt_unknown"}], ids=["session", "token"])
def test_the_api_answers_with_a_problem(client: Client, headers: dict[str, str]) -> None:
    response = client.get("/api/v1/clusters/", headers=headers)
    assert (response.status_code, response["Retry-After"]) == (503, "5")
    assert response["Content-Type"] == "application/problem+json"
    assert json.loads(response.content)["title"] == "The database does not answer"

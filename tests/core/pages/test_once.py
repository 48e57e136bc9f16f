"""A form that is sent twice acts once."""

import pytest
from django.test import Client

from apps.core.models import Project
from apps.core.states import Role
from apps.experiments.models import Run
from tests import factories

pytestmark = pytest.mark.django_db
NEW = "/p/demo/runs/new"
FORM = {
    "experiment": "digits",
    "image": "python:3.11",
    "command": "python x.py",
    "way": "line",
    "cluster": "home",
    "cpu": "1",
    "memory": "1Gi",
    "_form": "k1",
}


@pytest.fixture
def project() -> Project:
    return Project.objects.create(name="demo")


@pytest.fixture
def browser(project: Project) -> Client:
    factories.node(factories.cluster("home", nodes=0), "n")
    return signed_in(project, "ada")


def signed_in(project: Project, name: str) -> Client:
    client = Client()
    client.force_login(factories.member(project, name, Role.DEVELOPER))
    return client


def test_a_form_that_is_sent_again_leads_to_what_it_made(browser: Client, project: Project) -> None:
    first, again = browser.post(NEW, FORM), browser.post(NEW, FORM, follow=True)
    assert first.status_code == 302 and Run.objects.count() == 1
    assert again.redirect_chain == [(first.headers["Location"], 302)]
    assert "This form was sent before" in again.content.decode()
    # What is wanted besides: the same form with other words, another one, and another person's.
    for client, more in (
        (browser, {"name": "other"}),
        (browser, {"_form": "k2"}),
        (signed_in(project, "grace"), {}),
        (browser, {"_form": ""}),
    ):
        assert client.post(NEW, FORM | more).status_code == 302
    assert Run.objects.count() == 5


def test_a_form_that_was_refused_is_sent_again(browser: Client) -> None:
    wrong = FORM | {"cpu": "lots"}
    assert [browser.post(NEW, wrong).status_code for _ in range(2)] == [400, 400]
    assert browser.post(NEW, FORM).status_code == 302

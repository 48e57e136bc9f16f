"""A name may hold whatever an address means by itself: every address on a page still leads to what it names."""

from html import escape

import pytest
from django.test import Client
from django.urls import reverse
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.core.pages.addresses import NamePath
from apps.core.states import Role
from apps.experiments.models import Experiment, RegisteredModel, Run
from tests import factories, worst
from tests.architecture.test_offers import Page


@pytest.fixture
def client() -> Client:
    made = Client()
    made.force_login(factories.member(worst.odd(), "ada", Role.ADMIN))
    return made


@pytest.mark.django_db
def test_each_page_and_each_address_on_it_is_about_what_was_asked_for(client: Client) -> None:
    asked = {reverse("experiments:detail", args=["demo", each.name]): each.name for each in Experiment.objects.all()}
    asked |= {
        reverse("experiments:model", args=["demo", each.name]): each.name for each in RegisteredModel.objects.all()
    }
    asked |= {reverse("experiments:run", args=["demo", each.uid]): each.name for each in Run.objects.all()}
    asked |= dict.fromkeys(("/p/demo/", "/p/demo/experiments/", "/p/demo/models/", "/search?q=%23"), "")
    answered: dict[str, int] = {}
    for address, name in asked.items():
        html = client.get(address).content.decode()
        assert not name or f"<h1>{escape(name)}</h1>" in html, address
        page = Page(address)
        page.feed(html)
        for link in page.links:
            if link not in answered and not link.startswith(("/logout", "/events", "/static/", "/admin", "/api")):
                answered[link] = client.get(link, follow=True).status_code
    assert not {link: code for link, code in answered.items() if code >= 400}
    assert answered.keys() >= asked.keys() - {"/search?q=%23"}, "every page is linked from another"


@settings(max_examples=60, deadline=None)
@given(name=st.text(min_size=1, alphabet="a./~%") | st.text(min_size=1))
def test_any_name_comes_back_out_of_a_path(name: str) -> None:
    path = NamePath().to_url(name)
    assert NamePath().to_python(path) == name
    assert not {".", ".."} & set(path.split("/"))

"""What a defect of ours looks like to people and programs."""

from typing import Any

import pytest
from django.test import Client

from apps.core.models import Project
from apps.core.pages import context, views
from apps.core.states import Role
from tests import factories

pytestmark = pytest.mark.django_db


def broken(*_: Any, **__: Any) -> Any:
    raise RuntimeError("a defect")


@pytest.mark.parametrize("frame_too", [False, True])
def test_a_page_that_breaks_says_so_also_where_its_frame_does(monkeypatch: pytest.MonkeyPatch, frame_too: bool) -> None:
    client = Client(raise_request_exception=False)
    client.force_login(factories.member(Project.objects.create(name="demo"), "ada", Role.VIEWER))
    monkeypatch.setattr(views.changes, "page_of", broken)
    if frame_too:
        monkeypatch.setattr(context, "visible_projects", broken)
    answer = client.get("/activity/")
    page = answer.content.decode()
    assert answer.status_code == 500 and "Something broke" in page and "This is our fault" in page
    assert "a defect" not in page
    assert ('id="rail"' in page) is not frame_too
    assert "Go to the overview" in page

"""A person approves a wave that waits, in the browser."""

import pytest
from playwright.sync_api import expect

from apps.core.access import Principal
from apps.core.models import Project, User
from apps.deployments import services
from apps.deployments.models import Rollout
from tests import factories
from tests.frontend.conftest import Opener
from tests.frontend.test_browser import NARROW, violations


@pytest.mark.django_db(transaction=True)
def test_a_waiting_wave_is_approved_with_a_comment(open_page: Opener, project: Project, person: User) -> None:
    factories.cluster("far")
    policy = {"approval": True}
    root, developer = Principal(user=person), Principal(user=factories.member(project, "dev"))
    services.create_target(principal=root, project=project, name="eu", cluster="far", policy=policy)
    spec = {"image": "team/server:1"}
    services.create_deployment(
        principal=developer, project=project, asked=services.NewDeployment(name="new", targets=["eu"], spec=spec)
    )

    page = open_page("/p/demo/approvals/", viewport=NARROW, expect_errors=True)
    expect(page.get_by_role("heading", level=1)).to_have_text("1 approval waits for you")
    card = page.get_by_label("new to eu")
    card.get_by_role("button", name="Reject").click()
    expect(card).to_contain_text("Why is it rejected?")
    expect(card.get_by_label("Comment")).to_be_focused()
    assert violations(page) == []
    card.get_by_label("Comment").fill("Looks good.")
    card.get_by_role("button", name="Approve").click()
    expect(page.get_by_text("new goes on to eu.")).to_be_visible()
    expect(page.locator("#decided")).to_contain_text("Looks good.")
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert Rollout.objects.get(deployment__name="new").state == "Progressing"

"""The pages that other packages draw, the admin panel's and the API's: accessible as ours are."""

import pytest
from playwright.sync_api import expect

from apps.core.models import Project, User
from tests import factories
from tests.frontend.conftest import Opener
from tests.frontend.test_browser import violations


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_the_admin_panel(open_page: Opener, person: User, project: Project, scheme: str) -> None:
    cluster = f"/admin/clusters/cluster/{factories.cluster('kind-a').pk}"
    page = open_page("/admin/", color_scheme=scheme, reduced_motion="reduce")
    for path in (
        *("/admin/", "/admin/experiments/run/", f"{cluster}/delete/", f"{cluster}/test/", f"{cluster}/change/"),
        *(f"/admin/core/project/{project.pk}/change/", f"/admin/core/user/{person.pk}/change/"),
    ):
        page.goto(path)
        expect(page.locator("html.dark")).to_have_count(int(scheme == "dark"))
        assert violations(page) == [], f"{path} in {scheme}"

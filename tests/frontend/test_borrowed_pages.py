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


def test_axe_finds_nothing_on_the_pages_of_the_api(open_page: Opener) -> None:
    """The reference with an operation and a schema open; the console with a form to try one, and one for a token."""
    page = open_page("/api/docs/#registerCluster", reduced_motion="reduce")
    operation = page.locator("#registerCluster")
    expect(operation.get_by_text("-d '{")).to_be_visible()
    operation.get_by_role("link", name="ClusterReply").click()
    expect(page.locator("#schema-ClusterReply").get_by_text("server_version")).to_be_visible()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
        assert violations(page) == [], scheme
    operation.get_by_role("link", name="Try it in the console").click()
    page.locator("#operations-clusters-listClusters .opblock-summary-control").click()
    for name in ("registerCluster", "listClusters"):
        expect(page.locator(f"#operations-clusters-{name} pre.microlight").first).to_be_visible()
    page.get_by_role("button", name="Try it out").first.click()
    expect(page.get_by_role("button", name="Execute")).to_be_visible()
    page.get_by_text("Schema", exact=True).first.click()
    page.get_by_role("button", name="Authorize").first.click()
    expect(page.get_by_role("dialog", name="Authorize").get_by_role("heading").nth(1)).to_be_visible()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
        expect(page.locator("html.dark-mode")).to_have_count(int(scheme == "dark"))
        assert violations(page) == [], scheme
    page.get_by_role("button", name="Close").first.click()
    expect(page.get_by_role("dialog", name="Authorize")).to_have_count(0)
    assert "#/clusters/" in page.url
    assert violations(page) == []

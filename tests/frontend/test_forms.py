"""The folded part of forms, in a browser: out of the way, by keyboard, and nothing lost when the form is refused."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests import factories
from tests.frontend.conftest import Opener

pytestmark = pytest.mark.django_db(transaction=True)

WRONG = "- effect: Never\n  key: gpu"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_fold_opens_by_keyboard_and_keeps_what_is_wrong(open_page: Opener, scheme: str) -> None:
    factories.cluster("elsewhere")  # of several clusters the page says where the run would go
    page = open_page(
        "/p/demo/runs/new", expect_errors=True, color_scheme=scheme, viewport={"width": 390, "height": 800}
    )
    tolerations, summary = page.get_by_label("Tolerations"), page.locator(".advanced > summary")
    expect(tolerations).to_be_hidden()
    expect(page.locator("#place")).to_contain_text("elsewhere")
    # A command may be longer than an address: what no place is chosen by is not sent for the preview.
    with page.expect_response(lambda response: "cpu=3" in response.url) as previewed:
        page.locator("[name=command]").fill("echo " + "x" * 20_000)
        page.locator("[name=cpu]").fill("3")
        page.locator("[name=memory]").focus()
    assert previewed.value.status == 200
    assert "command=" not in previewed.value.url and "csrfmiddlewaretoken" not in previewed.value.url
    page.locator("[name=command]").fill("")
    summary.focus()
    page.keyboard.press("Enter")
    page.locator("[name=affinity]").fill("é" * 19_000)
    tolerations.focus()
    expect(page.locator("#place")).to_contain_text("as it is filled in now")
    expect(page.locator("[data-toast]")).to_have_count(0)
    page.locator("[name=affinity]").fill("")
    tolerations.fill(WRONG)
    page.get_by_label("Experiment").fill("digits")
    page.get_by_label("Image", exact=False).first.fill("python:3.11")
    with page.expect_request(lambda request: request.method == "POST") as sent:
        page.get_by_role("button", name="Launch", exact=True).click()
    assert "_form=" in (sent.value.post_data or ""), "sent twice it would act once"
    expect(page.locator(".advanced .errors")).to_contain_text("tolerations[0].effect is NoSchedule")
    expect(tolerations).to_be_visible()
    expect(tolerations).to_have_value(WRONG)
    result = Axe().run(page)
    assert result.violations_count == 0, result.generate_report()
    assert page.locator("body").evaluate("body => body.scrollWidth <= innerWidth")


def test_a_person_is_told_what_was_refused_also_within_a_panel_that_asks_for_itself(open_page: Opener) -> None:
    def staging(page: Page) -> None:
        page.route("**/deployments/digits/example", lambda route: route.fulfill(body="<p>An example.</p>"))
        page.route("**/deployments/digits/predict", lambda route: route.fulfill(status=413, body="too much"))

    page = open_page("/p/demo/deployments/digits/", expect_errors=True, before=staging)
    predict = page.get_by_role("button", name="Predict")
    expect(page.get_by_text("An example.")).to_be_visible()
    predict.click()
    expect(page.locator("[data-toast=error]")).to_contain_text("The server answered 413. That is more than it takes")
    page.get_by_role("button", name="Dismiss").click()
    # The panel itself asks again by itself, and says nothing.
    page.route("**/deployments/digits/?part=*", lambda route: route.fulfill(status=500, body=""))
    with page.expect_response("**/deployments/digits/?part=predict"):
        page.locator("#predict").dispatch_event("hint")
    page.route("**/deployments/digits/predict", lambda route: route.abort())
    predict.click()
    expect(page.locator("[data-toast=error]")).to_have_count(1)
    expect(page.locator("[data-toast=error]")).to_contain_text("did not answer")

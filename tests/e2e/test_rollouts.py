"""A person takes a version to two clusters by a canary, from the page; and sees a bad one take itself back."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.test_voyage import LIVE_MS, mark, was_not_reloaded
from tests.frontend.test_browser import violations
from tests.stack import LiveStack, LocalCluster

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]
NAME, HERE, THERE = "two-places", "local-production", "there-production"
SERVER = (
    "import os, signal, http.server as web; "
    "signal.signal(signal.SIGTERM, lambda *_: os._exit(0)); "
    "answer = lambda it: (it.send_response(200), it.end_headers()); "
    "handler = type('Handler', (web.BaseHTTPRequestHandler,), {'do_GET': answer}); "
    "web.ThreadingHTTPServer((os.environ['HOST'], int(os.environ['PORT'])), handler).serve_forever()"
)
STRATEGY = f"""kind: canary
steps:
  - set_weight: 50
  - pause: {{}}
waves:
  - targets: [{HERE}]
  - targets: [{THERE}]
"""
# What the page tells of the steps of both waves, once they are done.
GOT, ALL = r"50.%\s*got 50.%", r"100.%\s*got 100.%"
STEPS = [re.compile(said) for said in (GOT, r"promoted", ALL, GOT, r"skipped", ALL)]


@pytest.fixture
def there(live_stack: LiveStack) -> Iterator[str]:
    """A target on a second local cluster, which is registered as anybody would."""
    with LocalCluster.running("--nodes-named", "there") as cluster:
        kubeconfig = cluster.kubeconfig.read_text()
        live_stack.api.send("POST", "/api/v1/clusters", {"name": "there", "kubeconfig": kubeconfig})
        target = {"project": "demo", "name": THERE, "cluster": "there", "environment": "production"}
        live_stack.api.send("POST", "/api/v1/targets", target)
        yield THERE
        live_stack.api.send("PATCH", "/api/v1/clusters/there", {"enabled": False})
        live_stack.api.send("DELETE", "/api/v1/clusters/there?abandon=true")


def roll_out(page: Page, image: str) -> None:
    form = page.locator("#rollout-form")
    form.get_by_label("Image").fill(image)
    form.get_by_role("button", name="Roll out").click()


def confirmed(page: Page, name: str) -> None:
    """Press a button that asks first."""
    page.get_by_role("button", name=name, exact=True).click()
    page.locator("dialog[open]").get_by_role("button", name=name, exact=True).click()


def test_a_canary_over_two_clusters_and_a_bad_version_that_takes_itself_back(
    page: Page, live_stack: LiveStack, there: str
) -> None:
    page.set_default_timeout(LIVE_MS)
    expect.set_options(timeout=LIVE_MS)
    page.goto(f"{live_stack.url}/p/demo/deployments/new")
    page.get_by_label("Name").fill(NAME)
    for target in (HERE, there):
        page.get_by_role("group", name="Targets").get_by_label(target).check()
    page.locator("summary", has_text="Advanced").click()
    page.get_by_label("Image", exact=True).fill("python:3.11")
    page.get_by_label("Command", exact=True).fill(f'python -c "{SERVER}"')
    page.get_by_label("Replicas").fill("1")
    page.get_by_role("button", name="Deploy").click()
    verdict, why, shown = page.locator("#verdict"), page.locator("#rollout-why"), page.locator("#rollout")
    expect(verdict).to_contain_text("2 of 2 ready on 2 targets.")

    page.get_by_role("link", name="rolling strategy").click()
    page.get_by_label("Strategy").fill(STRATEGY)
    page.get_by_role("button", name="Save").click()

    roll_out(page, "flotilla-examples/digits:1")
    expect(why).to_have_text(f"Paused at 50 % on {HERE} until a person goes on.")
    expect(verdict).to_contain_text("Paused")
    confirmed(page, "Abort")
    page.wait_for_url(f"**/deployments/{NAME}/")
    mark(page)
    expect(why).to_have_text("Aborted. admin took it back.")
    expect(page.locator("#rollout-serves")).to_have_text("Revision 1 serves: 2 of 2 replicas ready.")
    expect(shown.locator("#wave-1 li.failed")).to_contain_text("aborted")
    expect(page.locator("#revision-2")).to_contain_text("Aborted")
    assert was_not_reloaded(page)

    page.get_by_role("button", name="Try revision 2 again", exact=True).click()
    expect(why).to_have_text(f"Paused at 50 % on {HERE} until a person goes on.")
    page.get_by_role("button", name="Pause").click()
    expect(why).to_have_text("Paused by a person.")
    page.get_by_role("button", name="Resume").click()
    page.get_by_role("button", name="Promote", exact=True).click()
    expect(why).to_have_text(f"Paused at 50 % on {there} until a person goes on.")
    expect(shown.locator(".steps").first.locator("li.done")).to_have_count(3)
    page.set_viewport_size({"width": 390, "height": 844})
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    page.set_viewport_size({"width": 1440, "height": 900})
    confirmed(page, "Promote fully")
    expect(verdict).to_contain_text("Healthy")
    expect(shown).to_have_count(0)
    story = page.locator("#story")
    expect(story).to_contain_text("Promoted past the step that it waited at. admin")
    expect(story).to_contain_text("Promoted fully: no pause, soak or analysis is waited for any more; approvals and")
    story.locator("summary", has_text="Its steps").click()
    steps = story.locator("#course .steps li")
    expect(steps).to_have_text(STEPS)

    roll_out(page, "nowhere/missing:1")
    page.wait_for_url(f"**/deployments/{NAME}/")
    mark(page)
    expect(why).to_contain_text("Rolled back.")
    expect(why).to_contain_text(HERE)
    expect(page.locator("#rollout-serves")).to_have_text("Revision 3 serves: 2 of 2 replicas ready.")
    expect(page.locator("#revision-4")).to_contain_text("Failed")
    expect(verdict).to_contain_text("Healthy")
    assert was_not_reloaded(page)

    page.get_by_role("button", name="Delete").click()
    page.locator("dialog[open]").get_by_role("textbox").fill(NAME)
    page.locator("dialog[open]").get_by_role("button", name="Delete").click()
    page.wait_for_url("**/deployments/")
    expect(page.locator("main").get_by_role("link", name=NAME)).to_have_count(0)

"""Pages that keep themselves up to date, and leave what the person does alone."""

from playwright.sync_api import Page, expect

from apps.core import hints
from apps.core.models import AuditEntry, Project
from tests.frontend.conftest import Opener

LIVE = "[data-live-switch]"


def entry(project: Project, name: str) -> AuditEntry:
    """With more changes than are shown unfolded."""
    env = {f"KEY_{number}": "value" for number in range(5)}
    return AuditEntry.objects.create(
        actor="ada", project=project, action="deployment.scale", object_type="x", object_id="1", object_name=name,
        before={"replicas": 1, "env": {}}, after={"replicas": 3, "env": env},
    )  # fmt: skip


def is_live(page: Page) -> None:
    expect(page.locator(LIVE)).to_have_attribute("data-state", "live")
    # Upon the stream's hello everything is fetched once.
    page.wait_for_load_state("networkidle")


def count_parts(page: Page) -> list[str]:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "part=" in request.url else None)
    return asked


def test_a_hint_brings_the_change_and_leaves_focus_details_and_scroll(open_page: Opener, project: Project) -> None:
    first = entry(project, "first")
    for number in range(40):
        entry(project, f"older-{number}")
    page = open_page("/activity/")
    is_live(page)
    row = page.locator(f"#entry-{first.pk}")
    row.locator("summary").click()
    page.evaluate("scrollTo(0, 300)")
    place = f"Math.round(document.querySelector('#entry-{first.pk}').getBoundingClientRect().top)"
    before = page.evaluate(place)
    page.evaluate("window.marker = document.querySelector('#entries tbody tr:last-child')")
    newest = entry(project, "newest")
    hints.publish([("overview", project.pk)])
    expect(page.locator(f"#entry-{newest.pk}")).to_be_visible()
    expect(row.locator("details")).to_have_attribute("open", "")
    assert page.evaluate("document.activeElement.closest('tr')?.id") == f"entry-{first.pk}"
    assert abs(page.evaluate(place) - before) <= 1, "what the person reads must stay where it is"
    assert page.evaluate("window.marker.isConnected"), "rows that did not change must stay the same nodes"


def test_many_hints_are_one_fetch(open_page: Opener, project: Project) -> None:
    page = open_page("/activity/")
    is_live(page)
    asked = count_parts(page)
    for _ in range(20):
        hints.publish([("overview", project.pk), ("runs", project.pk)])
    page.wait_for_timeout(1200)
    assert 1 <= len(asked) <= 3, asked


def test_paused_holds_back_shows_that_something_changed_and_is_remembered(open_page: Opener, project: Project) -> None:
    page = open_page("/activity/")
    is_live(page)
    page.locator(LIVE).click()
    expect(page.locator(LIVE)).to_have_attribute("data-state", "paused")
    made = entry(project, "while-paused")
    hints.publish([("overview", project.pk)])
    expect(page.locator(LIVE)).to_have_attribute("data-behind", "")
    expect(page.locator(LIVE)).to_contain_text("new")
    assert page.locator(f"#entry-{made.pk}").count() == 0
    page.locator(LIVE).click()
    expect(page.locator(f"#entry-{made.pk}")).to_be_visible()
    page.locator(LIVE).click()
    page.reload()
    expect(page.locator(LIVE)).to_have_attribute("data-state", "paused")


def test_without_a_stream_the_page_polls_and_says_so(open_page: Opener, project: Project) -> None:
    def cut(page: Page) -> None:
        page.clock.install()
        page.route("**/events", lambda route: route.abort())

    page = open_page("/activity/", expect_errors=True, before=cut)
    expect(page.locator(LIVE)).to_have_attribute("data-state", "waiting")
    made = entry(project, "polled")
    page.clock.run_for(16_000)
    expect(page.locator(f"#entry-{made.pk}")).to_be_visible()


def test_a_hidden_tab_does_not_fetch_and_catches_up(open_page: Opener, project: Project) -> None:
    page = open_page("/activity/")
    is_live(page)
    asked = count_parts(page)
    hide = "h => { Object.defineProperty(document, 'hidden', {value: h, configurable: true});"
    page.evaluate(hide + " document.dispatchEvent(new Event('visibilitychange')); }", True)
    made = entry(project, "while-hidden")
    hints.publish([("overview", project.pk)])
    page.wait_for_timeout(600)
    assert asked == []
    page.evaluate(hide + " document.dispatchEvent(new Event('visibilitychange')); }", False)
    expect(page.locator(f"#entry-{made.pk}")).to_be_visible()


def test_what_is_gone_is_said_once_and_not_asked_again(open_page: Opener, project: Project) -> None:
    page = open_page("/p/demo/", expect_errors=True)
    is_live(page)
    page.route("**/p/demo/?part=*", lambda route: route.fulfill(status=404, body="gone"))
    hints.publish([("overview", project.pk)])
    expect(page.locator("[data-toast=warning]")).to_have_count(1)
    expect(page.locator("#tiles:not([data-live])")).to_have_count(1)
    asked = count_parts(page)
    hints.publish([("overview", project.pk)])
    page.wait_for_timeout(700)
    assert not [url for url in asked if "part=tiles" in url]

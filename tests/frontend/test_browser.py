"""What people do with the shell: keys, themes, narrow screens, dialogs, charts; and axe on every page of core."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from apps.core.models import ApiToken, Project, User
from apps.core.secrets.tokens import issue_token
from apps.experiments.models import Experiment, Run
from controlplane.embedded.waiting import wait_for
from tests.frontend.conftest import Opener

PAGES = ["/p/demo/", "/activity/", "/settings/", "/search?q=digits", "/_gallery", "/nowhere/"]
NARROW = {"width": 390, "height": 844}


def violations(page: Page) -> list[str]:
    broken = Axe().run(page).response["violations"]
    return [f"{v['id']}: {node['html'][:160]}" for v in broken for node in v["nodes"]]


def ready(page: Page) -> None:
    expect(page.locator("[data-live-switch]")).to_have_attribute("data-state", "live")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_either_theme(open_page: Opener, scheme: str) -> None:
    page = open_page("/p/demo/", color_scheme=scheme, expect_errors=True, reduced_motion="reduce")
    for path in PAGES:
        page.goto(path, wait_until="domcontentloaded")
        ready(page)
        assert violations(page) == [], f"{path} in {scheme}"


def test_nothing_is_cut_off_on_a_narrow_screen(open_page: Opener) -> None:
    page = open_page("/p/demo/", viewport=NARROW, expect_errors=True)
    for path in PAGES:
        page.goto(path, wait_until="domcontentloaded")
        ready(page)
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, f"{path} is {wide} px too wide"


def test_what_is_cut_says_itself_whole_to_who_points_at_it(open_page: Opener, project: Project) -> None:
    experiment = Experiment.objects.create(project=project, name="x" * 500)
    page = open_page(f"/p/demo/experiments/{experiment.name}/")
    heading = page.locator("main h1")

    def pointed_at() -> str | None:
        # As a hand does: what was pointed at before the page was ready is pointed at again.
        page.mouse.move(0, 0)
        heading.hover()
        return heading.get_attribute("title")

    wait_for(lambda: pointed_at() == experiment.name, "the heading says itself whole", timeout=30)
    page.locator(".crumbs a").first.hover()
    expect(page.locator(".crumbs a").first).not_to_have_attribute("title", "demo")


def test_results_of_the_search_are_read_on_any_screen(open_page: Opener) -> None:
    """Nothing of them lies on anything else, and all of them is on the screen."""
    page = open_page("/p/demo/")
    for width in (1440, 390):
        page.set_viewport_size({"width": width, "height": 844})
        typed, results = page.get_by_label("Search", exact=True), page.locator("#search-results")
        typed.fill("")
        typed.press_sequentially("d")
        expect(results).to_contain_text("Type at least two letters")
        typed.press("Backspace")
        expect(results, "where nothing is typed no empty box is left").to_be_hidden()
        typed.press_sequentially("digits")
        first = page.locator("#search-results a").first
        expect(first).to_be_visible()
        icon, label, kind = (first.locator(part).bounding_box() for part in (".icon", ".label", ".small"))
        box = page.locator("#search-results").bounding_box()
        assert icon and label and kind and box
        assert box["x"] >= 0 and box["x"] + box["width"] <= width
        assert box["x"] < icon["x"] and icon["x"] + icon["width"] < label["x"]
        assert label["x"] + label["width"] < kind["x"] and kind["x"] + kind["width"] < box["x"] + box["width"]


def test_on_a_narrow_screen_the_rail_is_a_menu(open_page: Opener) -> None:
    page = open_page("/p/demo/", viewport=NARROW)
    link = page.get_by_role("link", name="Activity")
    expect(link).to_be_hidden()
    menu = page.get_by_role("button", name="Menu", exact=True)
    menu.click()
    expect(link).to_be_visible()
    expect(menu).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("Escape")
    expect(link).to_be_hidden()
    expect(menu).to_be_focused()


def test_the_sign_in_page_is_accessible_and_leads_on(open_page: Opener, person: User) -> None:
    person.set_password("a long enough one")
    person.save()
    page = open_page("/login/", expect_errors=True)
    # A page that is open while the cookie goes leaves for the sign-in page by itself, and that would race with ours.
    page.goto("about:blank")
    page.context.clear_cookies()
    page.goto("/p/demo/")
    assert violations(page) == []
    page.get_by_label("Name").fill("root")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_label("Name").fill("root")
    page.get_by_label("Password").fill("a long enough one")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/p/demo/")


def test_the_keyboard_searches_walks_and_goes(open_page: Opener) -> None:
    page = open_page("/p/demo/")
    ready(page)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    expect(page.get_by_label("Search", exact=True)).to_be_focused()
    page.keyboard.type("digits")
    expect(page.locator("#search-results a").first).to_be_visible()
    page.keyboard.press("ArrowDown")
    expect(page.locator("#search-results a").first).to_be_focused()
    page.keyboard.press("Escape")
    page.locator("h1").click()
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.closest('tr') !== null")
    page.keyboard.press("g")
    page.keyboard.press("a")
    page.wait_for_url("**/activity/")


def test_the_theme_is_kept_and_does_not_flash(open_page: Opener) -> None:
    page = open_page("/p/demo/", color_scheme="light")
    page.locator(".who summary").click()
    page.get_by_role("button", name="Dark").click()
    background = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(background)
    page.goto("/activity/", wait_until="commit")
    page.wait_for_selector("h1")
    assert page.locator("html").get_attribute("data-theme") == "dark"
    assert page.evaluate(background) == dark


def test_what_cant_be_undone_asks_once(open_page: Opener, person: User, project: Project) -> None:
    issue_token(name="ci", user=person)
    page = open_page("/settings/")
    page.get_by_role("button", name="Revoke ci").click()
    dialog = page.get_by_role("dialog", name="Revoke ci?")
    expect(dialog).to_be_visible()
    dialog.get_by_role("button", name="Keep it").click()
    assert ApiToken.objects.get(name="ci").revoked_at is None
    page.get_by_role("button", name="Revoke ci").click()
    dialog.get_by_role("button", name="Revoke").click()
    expect(page.locator("[data-toast=success]")).to_contain_text("ci is revoked")
    assert ApiToken.objects.get(name="ci").revoked_at is not None


def test_a_dangerous_form_wants_the_name_typed(open_page: Opener) -> None:
    page = open_page("/_gallery")
    page.get_by_label("Name").fill("x")
    page.get_by_label("Replicas").fill("1")
    page.get_by_role("button", name="Create").click()
    dialog = page.get_by_role("dialog", name="Delete digits?")
    expect(dialog.get_by_role("button", name="Delete")).to_be_disabled()
    dialog.get_by_label("Type digits to go on").fill("digits")
    expect(dialog.get_by_role("button", name="Delete")).to_be_enabled()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()


def test_a_chart_is_drawn_under_the_strict_policy_and_follows_the_theme(open_page: Opener) -> None:
    page = open_page("/_gallery", color_scheme="light")
    chart = page.locator("#gallery-chart")
    expect(chart.locator(".main-svg").first).to_be_visible(timeout=30_000)
    expect(chart.locator(".scatterlayer .trace")).to_have_count(2)
    line = chart.locator(".scatterlayer .js-line").first
    light = line.evaluate("line => getComputedStyle(line).stroke")
    page.emulate_media(color_scheme="dark")
    # Not by `wait_for_function`: where it has to wait it evaluates in the page, which the strict policy forbids.
    expect(line).not_to_have_css("stroke", light)


def test_the_log_filters_and_says_when_nothing_matches(open_page: Opener) -> None:
    page = open_page("/_gallery")
    lines = page.locator("[data-log-lines] span")
    expect(lines).to_have_count(40)
    page.get_by_label("Filter lines").fill("epoch 39")
    expect(lines).to_have_count(1)
    page.get_by_label("Filter lines").fill("nowhere")
    expect(lines).to_have_text("No line matches.")


def test_links_that_an_mlflow_client_prints_lead_to_the_run_and_its_experiment(
    open_page: Opener, project: Project
) -> None:
    run = Run.objects.filter(experiment__project=project).earliest("id")
    link = f"/#/experiments/{run.experiment_id}"
    page = open_page(f"{link}/runs/{run.uid}")
    page.wait_for_url(f"**/p/demo/runs/{run.uid}/")
    page.goto(link)
    page.wait_for_url(f"**/p/demo/experiments/{run.experiment.name}/")
    # A page that is still there may fetch a part of itself without its session.
    page.goto("about:blank")
    page.context.clear_cookies()
    page.goto(f"{link}/runs/{run.uid}?workspace=demo")
    page.wait_for_url(f"**/login/?next=/_mlflow/experiments/{run.experiment_id}/runs/{run.uid}%3Fworkspace%3Ddemo")

"""A person walks from the overview to a served model; a curve grows and a replica heals while they look."""

import os
import re
import signal
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from controlplane.embedded.waiting import wait_for
from examples.demo.serving import process_of, ready_replicas
from examples.demo.voyage import DEPLOYMENT, EXPERIMENT, IMAGE, MODEL, Voyage
from tests.deployments.test_access import resolve, run
from tests.stack import LiveStack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]
LIVE_MS = 60_000
MARK = "the page was not loaded again"
POINTS = """() => {
  const plots = [...document.querySelectorAll('.js-plotly-plot')];
  return Math.max(0, ...plots.flatMap(plot => plot.data.map(line => line.x.length)));
}"""


def mark(page: Page) -> None:
    """Leave a mark that a reload would wipe out."""
    page.evaluate("text => { window.mark = text; }", MARK)


def was_not_reloaded(page: Page) -> bool:
    return bool(page.evaluate("window.mark") == MARK)


def test_from_the_overview_to_a_served_model(page: Page, voyage: Voyage, live_stack: LiveStack, tmp_path: Path) -> None:
    page.goto(live_stack.url + "/")
    rail = page.get_by_role("navigation", name=re.compile("main", re.IGNORECASE))
    expect(page.get_by_role("heading", level=1)).not_to_be_empty()
    expect(page.get_by_role("link", name="local", exact=True).first).to_be_visible()

    rail.get_by_role("link", name="Experiments").click()
    page.get_by_role("link", name=EXPERIMENT, exact=True).click()
    best = voyage.runs[0]
    expect(page.locator("main")).to_contain_text("exit code 1")
    page.get_by_role("link", name=best.name, exact=True).first.click()
    expect(page.locator("main")).to_contain_text(f"{best.accuracy:.4f}")
    parts = page.get_by_role("navigation", name="Parts of the run")
    parts.get_by_role("link", name="Charts").click()
    expect(page.locator(".js-plotly-plot").first).to_be_visible()
    parts.get_by_role("link", name="Artifacts").click()
    expect(page.get_by_role("img", name=re.compile("confusion")).first).to_be_visible()

    rail.get_by_role("link", name="Models").click()
    page.get_by_role("link", name=MODEL, exact=True).first.click()
    expect(page.locator("main")).to_contain_text("champion")

    rail.get_by_role("link", name="Deployments").click()
    page.get_by_role("link", name=DEPLOYMENT, exact=True).first.click()
    expect(page.locator("#verdict")).to_contain_text("Healthy")
    expect(page.locator("#replicas")).to_contain_text("3 of 3 ready")
    page.get_by_role("button", name="Predict").click()
    expect(page.locator("#answer")).to_contain_text("ms")
    the_shown_lines_ask_the_model(page, live_stack, tmp_path)


def the_shown_lines_ask_the_model(page: Page, live_stack: LiveStack, home: Path) -> None:
    """Those for a shell and those for Python, by Flotilla and to the Service, as somebody would copy them."""
    namespace = live_stack.api.get(f"/api/v1/deployments/{DEPLOYMENT}", project="demo")["namespace"]
    [service] = live_stack.cluster.get(f"/api/v1/namespaces/{namespace}/services/{DEPLOYMENT}")
    resolve(home, f"{DEPLOYMENT}.{namespace}.svc", service["spec"]["clusterIP"], 80)
    shown = page.locator("#access [data-snippet]")
    expect(shown).to_have_count(4)
    for place in range(4):
        how = str(shown.nth(place).get_attribute("data-snippet")).partition("-")[0]
        text = shown.nth(place).locator("pre").text_content() or ""
        said = run(text, how, home, FLOTILLA_TOKEN=live_stack.credentials["token"])
        assert '"outputs"' in said if how == "curl" else said.startswith("[{'name': "), said


def test_a_failed_run_says_why(page: Page, voyage: Voyage, live_stack: LiveStack) -> None:
    failed = next(run for run in voyage.list("runs", experiment=EXPERIMENT) if run["state"] == "Failed")
    page.goto(f"{live_stack.url}/p/demo/runs/{failed['run_id']}/")
    why = page.locator("main")
    expect(why).to_contain_text(re.compile(r"exit code 1", re.IGNORECASE))
    expect(why).to_contain_text("Error")
    expect(why).to_contain_text("learning")


def test_a_curve_grows_without_a_reload(page: Page, voyage: Voyage, live_stack: LiveStack) -> None:
    wish = {
        "experiment": EXPERIMENT,
        "name": "slow",
        "image": IMAGE,
        "command": ["python", "train.py"],
        "args": ["--epochs", "40", "--epoch-seconds", "0.5"],
        "resources": {"cpu": "1", "memory": "512Mi"},
    }
    run = voyage.post("runs", {"runs": [wish]})["runs"][0]["run_id"]
    page.goto(f"{live_stack.url}/p/demo/runs/{run}/charts/")
    mark(page)
    # Not by `wait_for_function`: it evaluates in the page, which the Content-Security-Policy forbids.
    wait_for(lambda: page.evaluate(POINTS) >= 3, "the curve to begin", timeout=LIVE_MS / 1000)
    seen = page.evaluate(POINTS)
    wait_for(lambda: page.evaluate(POINTS) >= seen + 5, "the curve to grow", timeout=LIVE_MS / 1000)
    assert was_not_reloaded(page)
    voyage.post(f"runs/{run}/cancel", {})
    expect(page.locator("#verdict")).to_contain_text("Canceled", timeout=LIVE_MS)
    assert was_not_reloaded(page)


def test_a_killed_replica_heals_before_our_eyes(page: Page, voyage: Voyage, live_stack: LiveStack) -> None:
    page.goto(f"{live_stack.url}/p/demo/deployments/{DEPLOYMENT}/")
    expect(page.locator("#replicas")).to_contain_text("3 of 3 ready")
    heals = page.locator("#heals tbody tr")
    before = heals.count()
    mark(page)
    os.kill(process_of(voyage, ready_replicas(voyage)[0]), signal.SIGKILL)
    expect(heals).to_have_count(before + 1, timeout=LIVE_MS)
    expect(heals.first).to_contain_text("3 of 3", timeout=LIVE_MS)
    expect(page.locator("#replicas")).to_contain_text("3 of 3 ready", timeout=LIVE_MS)
    expect(page.locator("main")).to_contain_text(re.compile(r"restarted|137|SIGKILL"))
    assert was_not_reloaded(page)


def test_a_wrong_password_is_said_and_a_page_asks_to_sign_in(browser: Browser, live_stack: LiveStack) -> None:
    window = browser.new_context()
    page: Page = window.new_page()
    page.goto(f"{live_stack.url}/p/demo/deployments/")
    page.get_by_label("Name").fill("admin")
    page.get_by_label("Password", exact=True).fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    assert "/login/" in page.url
    window.close()

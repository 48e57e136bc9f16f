"""A real browser against the whole stack, with the main job's first steps done once."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

from examples.demo.report import Report
from examples.demo.serving import deploy
from examples.demo.training import WISHES, register, see_the_cluster, train
from examples.demo.voyage import EXPERIMENT, Finished, Voyage
from tests.stack import LiveStack

SHOTS = Path("test-results")


def trained(voyage: Voyage) -> None:
    """Step 2, unless a main job has trained its models on this stack already, which takes a minute of work."""
    *good, _ = (name for name, _ in WISHES)
    ended = {run["name"]: run["run_id"] for run in voyage.list("runs") if run["state"] == "Succeeded"}
    if not ended.keys() >= set(good):
        train(voyage)
        return
    for name in good:
        run = voyage.get(f"runs/{ended[name]}")
        assert run["experiment"] == EXPERIMENT
        voyage.runs.append(Finished(run["run_id"], name, float(run["metrics"]["accuracy"])))


@pytest.fixture(scope="session")
def voyage(live_stack: LiveStack) -> Voyage:
    """The main job up to the deployment: cluster, runs, version, three replicas."""
    made = Voyage(api=live_stack.api, data_dir=live_stack.data.root, report=Report())
    for step in (see_the_cluster, trained, register, deploy):
        step(made)
    return made


@pytest.fixture(scope="module")
def session_state(browser: Browser, live_stack: LiveStack) -> Any:
    """The cookies of a person who signed in through the form."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(live_stack.url)
    page.get_by_label("Name").fill(live_stack.credentials["username"])
    page.get_by_label("Password", exact=True).fill(live_stack.credentials["password"])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/p/demo/")
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def context(browser: Browser, session_state: Any) -> Iterator[BrowserContext]:
    """A signed-in browser window."""
    made = browser.new_context(storage_state=session_state, viewport={"width": 1440, "height": 900})
    made.set_default_timeout(60_000)
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page whose console must stay free of errors; a screenshot is kept when the test fails."""
    made = context.new_page()
    errors: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        if message.type == "error":
            errors.append(message.text)

    made.on("console", listen)
    made.on("pageerror", lambda error: errors.append(str(error)))
    failed_before = request.session.testsfailed
    yield made
    if request.session.testsfailed > failed_before:
        SHOTS.mkdir(exist_ok=True)
        made.screenshot(path=SHOTS / f"{request.node.name}.png", full_page=True)
    assert not errors, f"the browser's console says: {errors}"

"""What a first visit to a page transfers under `make up`: little, compressed, and kept by the browser for good."""

from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, Page, expect

from tests.stack import LiveStack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]
WITHOUT_CHARTS, WITH_CHARTS = 200_000, 1_300_000
# Of the admin panel: a list, a form, and one with forms within it.
PANEL = ("admin/", "admin/core/auditentry/", "admin/clusters/cluster/add/", "admin/core/project/1/change/")
# A page that was visited before costs its own HTML and no file.
AGAIN = 30_000
PAGES = ("", "clusters/", "activity/", "p/demo/experiments/", "p/demo/models/", "p/demo/deployments/", "settings/")


class Meter:
    """Counts what comes over the wire to a page, headers included."""

    def __init__(self, page: Page) -> None:
        self.total = 0
        self._network = page.context.new_cdp_session(page)
        self._network.on("Network.loadingFinished", self._add)
        self._network.on("Network.dataReceived", lambda event: None)
        self._network.send("Network.enable")

    def _add(self, event: dict[str, Any]) -> None:
        self.total += int(event["encodedDataLength"])

    def take(self) -> int:
        """What came since the last time."""
        taken, self.total = self.total, 0
        return taken


def a_run_with_a_curve(stack: LiveStack) -> str:
    """The address of the page of a run that was logged from elsewhere."""
    api = f"{stack.url}/api/2.0/mlflow"
    headers = {"Authorization": f"Bearer {stack.credentials['token']}"}

    def post(path: str, body: dict[str, Any]) -> Any:
        answer = requests.post(f"{api}/{path}", json=body, headers=headers, timeout=30)
        assert answer.ok, answer.text
        return answer.json()

    experiment = post("experiments/create", {"name": "transfer"})["experiment_id"]
    run = post("runs/create", {"experiment_id": experiment, "start_time": 1})["run"]["info"]["run_id"]
    metrics = [{"key": "loss", "value": 1 / (step + 1), "timestamp": step, "step": step} for step in range(20)]
    post("runs/log-batch", {"run_id": run, "metrics": metrics})
    return f"p/demo/runs/{run}/charts/"


def test_a_first_visit_transfers_little_and_a_second_next_to_nothing(
    browser: Browser, session_state: Any, live_stack: LiveStack
) -> None:
    charted = a_run_with_a_curve(live_stack)
    for path in (*PAGES, charted):
        context = browser.new_context(storage_state=session_state, viewport={"width": 1440, "height": 900})
        context.set_default_timeout(60_000)
        page = context.new_page()
        meter = Meter(page)
        for most in (WITH_CHARTS if path == charted else WITHOUT_CHARTS, AGAIN):
            page.goto(f"{live_stack.url}/{path}", wait_until="load")
            expect(page.locator("[data-live-switch]")).to_have_attribute("data-state", "live", timeout=60_000)
            if path == charted:
                expect(page.locator(".js-plotly-plot").first).to_be_visible(timeout=60_000)
            taken = meter.take()
            assert 0 < taken <= most, f"/{path} transfers {taken} bytes"
        context.close()


def test_pages_of_packages_transfer_little(browser: Browser, session_state: Any, live_stack: LiveStack) -> None:
    for path in ("api/docs/", *PANEL):
        context = browser.new_context(storage_state=session_state)
        page = context.new_page()
        meter = Meter(page)
        page.goto(f"{live_stack.url}/{path}", wait_until="networkidle", timeout=60_000)
        taken = meter.take()
        context.close()
        assert 0 < taken <= WITHOUT_CHARTS, f"/{path} transfers {taken} bytes"


def test_static_files_are_compressed_and_never_asked_for_again(live_stack: LiveStack) -> None:
    page = requests.get(f"{live_stack.url}/login/", timeout=30).text
    (script,) = (part for part in page.split('"') if "plotly.min" in part)
    answer = requests.get(live_stack.url + script, headers={"Accept-Encoding": "br"}, timeout=30, stream=True)
    assert answer.headers["Content-Encoding"] == "br"
    assert "immutable" in answer.headers["Cache-Control"]
    assert int(answer.headers["Content-Length"]) < 1_200_000

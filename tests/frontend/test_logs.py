"""The log viewer in a real browser, fed by answers that the test stages: what the server sends is told elsewhere."""

import re
from collections.abc import Callable
from urllib.parse import parse_qs, quote, urlparse

import pytest
from playwright.sync_api import Page, Route, expect

from apps.clusters.models import Pod
from tests import factories
from tests.clusters.conftest import eventually
from tests.frontend.conftest import Opener
from tests.frontend.test_browser import violations

# A viewer that gets no answer asks less often.
PATIENT = 30_000


class Staged:
    """The lines of a container, answered as the server would: after the reader's last one, with headers."""

    def __init__(self, count: int) -> None:
        self.lines = [self.line(number) for number in range(count)]
        self.asked: list[dict[str, str]] = []
        self.headers: dict[str, str] = {"X-Log-Timed": "1", "X-Log-Containers": "setup,main", "X-Log-Container": "main"}
        self.status = 200

    @staticmethod
    def line(number: int, text: str = "") -> str:
        return f"2026-11-25T10:{number // 60 % 60:02}:{number % 60:02}.5Z {text or f'epoch {number} loss=0.{number}'}"

    def __call__(self, route: Route) -> None:
        query = {name: values[0] for name, values in parse_qs(urlparse(route.request.url).query).items()}
        self.asked.append(query)
        later = [line for line in self.lines if line.partition(" ")[0] > query.get("after", "")]
        body = "".join(f"{line}\n" for line in later)
        route.fulfill(status=self.status, body=body if self.status == 200 else "", headers=self.headers)


@pytest.fixture
def path(project: object) -> str:
    pod = Pod.objects.filter(deployment="digits", ready=True).order_by("name").first()
    assert pod is not None
    return f"/clusters/{pod.cluster.name}/pods/{pod.namespace}/{pod.name}/"


def staging(staged: Staged) -> Callable[[Page], None]:
    return lambda page: page.route(re.compile(r"/log/(\?|$)"), staged)


def rows(page: Page) -> list[str]:
    return page.locator("[data-log-lines] span").all_inner_texts()


def test_only_what_is_new_is_asked_for_and_nothing_comes_twice(open_page: Opener, path: str) -> None:
    staged = Staged(3)
    page = open_page(path, before=staging(staged))
    expect(page.locator("[data-log-lines] span")).to_have_count(3)
    staged.lines.append(staged.line(3))
    expect(page.locator("[data-log-lines] span")).to_have_count(4)
    assert staged.asked[0] == {}, "the first look asks for the end of all of it"
    assert staged.asked[1] == {"after": "2026-11-25T10:00:02.5Z", "seen": "1"}
    # The log was rotated away: what is shown stays, what is new follows.
    staged.lines = [staged.line(4), staged.line(5)]
    expect(page.locator("[data-log-lines] span")).to_have_count(6)
    assert rows(page) == [f"epoch {number} loss=0.{number}" for number in range(6)]
    expect(page.locator("[data-log-count]")).to_have_text("6 lines")


def test_a_cluster_that_does_not_answer_is_said_and_what_is_shown_stays(open_page: Opener, path: str) -> None:
    staged = Staged(2)
    page = open_page(path, before=staging(staged), expect_errors=True)
    expect(page.locator("[data-log-lines] span")).to_have_count(2)
    staged.lines = []
    staged.headers["X-Log-Note"] = quote("gke-eu: it has not answered")
    staged.headers["X-Log-Kept"] = quote("It is on the node.")
    expect(page.locator("[data-log-state]")).to_have_text("gke-eu: it has not answered", timeout=PATIENT)
    expect(page.locator("[data-log-lines] span")).to_have_count(2)
    page.get_by_label("Since").select_option("300")
    expect(page.locator("[data-log-lines] span")).to_have_text("gke-eu: it has not answered. It is on the node.")
    expect(page.locator("[data-log-state]")).to_have_text("waiting")
    staged.lines = [staged.line(0), staged.line(1)]
    expect(page.locator("[data-log-lines] span")).to_have_count(2, timeout=PATIENT)
    staged.lines = []
    staged.status = 502
    expect(page.locator("[data-log-state]")).to_have_text("Not available (502)", timeout=PATIENT)
    staged.status = 200
    del staged.headers["X-Log-Note"]
    staged.lines = [staged.line(2)]
    expect(page.locator("[data-log-lines] span")).to_have_count(3, timeout=PATIENT)
    expect(page.locator("[data-log-state]")).to_have_text("following", timeout=PATIENT)


def test_the_filter_takes_text_or_an_expression_and_lives_in_the_address(open_page: Opener, path: str) -> None:
    staged = Staged(30)
    staged.lines.append(staged.line(31, "\x1b[31mERROR\x1b[0m [main] out of memory"))
    page = open_page(path, before=staging(staged))
    box, count = page.get_by_label("Filter lines"), page.locator("[data-log-count]")
    expect(page.locator("[data-log-lines] .err")).to_have_text("ERROR [main] out of memory")
    box.fill("[MAIN]")
    expect(count).to_have_text("1 of 31 lines")
    expect(page.locator("[data-log-lines] mark")).to_have_text("[main]")
    box.fill("/epoch 2\\d/")
    expect(count).to_have_text("10 of 31 lines")
    expect(page.locator("[data-log-lines] mark").first).to_have_text("epoch 20")
    staged.lines.append(staged.line(40, "epoch 29 again"))
    expect(count).to_have_text("11 of 32 lines")
    box.fill("/epoch (/")
    expect(count).to_have_text("not a regular expression")
    expect(box).to_have_attribute("aria-invalid", "true")
    box.fill("epoch 7")
    page.get_by_label("Times").check()
    page.get_by_label("Wrap").check()
    expect(page).to_have_url(re.compile(r"grep=epoch\+7&wrap=1&times=1$"))
    page.reload()
    expect(count).to_have_text("1 of 32 lines")
    expect(page.get_by_label("Wrap")).to_be_checked()
    before = "getComputedStyle(document.querySelector('[data-log-lines] [data-time]'), '::before').content"
    assert page.evaluate(before) == '"2026-11-25 10:00:07.5"'


def test_controls_of_terminals_and_endless_lines_are_cut(open_page: Opener, path: str) -> None:
    staged = Staged(0)
    staged.lines = [
        staged.line(0, "\x1b]0;title\x07\x1b[38;5;196mred\x1b[0m and \x1b(Bplain\x00"),
        staged.line(1, "\x1b]8;;https://example.com\x1b\\link\x1b]8;;\x1b\\ [1] \x1b7saved"),
        staged.line(2, "x" * 1_000_000),
        staged.line(3, "after it"),
    ]
    page = open_page(path, before=staging(staged))
    expect(page.locator("[data-log-lines] span")).to_have_count(4)
    shown = rows(page)
    assert shown[:2] == ["red and plain", "link [1] saved"] and shown[3] == "after it"
    assert shown[2].endswith("x … 990,000 more characters") and len(shown[2]) < 10_100


def test_container_start_and_span_are_chosen_and_downloaded(open_page: Opener, path: str) -> None:
    staged = Staged(2)
    staged.headers["X-Log-Restarted"] = "1"
    page = open_page(path, before=staging(staged))
    page.get_by_label("Container").select_option("setup")
    staged.headers["X-Log-Container"] = "setup"
    page.get_by_label("Since").select_option("300")
    page.get_by_label("Before restart").check()
    wanted = {"container": "setup", "since": "300", "previous": "1"}
    expect(page.locator("[data-log-lines] span")).to_have_count(2)
    assert wanted in staged.asked
    expect(page).to_have_url(re.compile(r"container=setup&previous=1&since=300$"))
    save = page.get_by_role("link", name="Download the log")
    chosen = parse_qs(urlparse(save.get_attribute("href") or "").query)
    assert chosen == {name: [value] for name, value in (wanted | {"download": "1", "times": "0"}).items()}
    page.reload()
    expect(page.get_by_label("Before restart")).to_be_checked()


def test_ten_thousand_lines_stay_smooth_and_more_are_dropped_from_the_page(open_page: Opener, path: str) -> None:
    staged = Staged(0)
    staged.lines = [f"2026-11-25T10:00:00.{number:06}Z line {number} of many" for number in range(12_000)]
    page = open_page(path, before=staging(staged))
    expect(page.locator("[data-log-count]")).to_have_text("12,000 lines")
    expect(page.locator("[data-log-lines] span").last).to_have_text("line 11999 of many")
    drawn = "document.querySelectorAll('[data-log-lines] span').length"
    expect(page.locator("[data-log-lines] span")).to_have_count(10_000)
    at_end = "(() => { const e = document.querySelector('[data-log-lines]'); return e.scrollHeight - e.scrollTop - e.clientHeight < 24 })()"  # fmt: skip  # noqa: E501
    eventually(lambda: page.evaluate(at_end), "the newest line is in sight")
    staged.lines = [f"2026-11-25T10:00:01.{number:06}Z later {number}" for number in range(600)]
    expect(page.locator("[data-log-lines] span").last).to_have_text("later 599")
    assert page.evaluate(drawn) <= 10_250
    longest = page.evaluate("""() => new Promise(done => {
        let worst = 0, last = performance.now(), left = 40;
        const box = document.querySelector('[data-log-filter]');
        const step = now => {
            worst = Math.max(worst, now - last); last = now;
            if (left-- === 30) { box.value = 'line 1'; box.dispatchEvent(new Event('input')); }
            left ? requestAnimationFrame(step) : done(worst);
        };
        requestAnimationFrame(step);
    })""")
    assert longest < 1000, f"a frame took {longest:.0f} ms while 10,000 lines were filtered"


def test_the_viewer_is_keyboard_reachable_and_axe_finds_nothing(open_page: Opener, path: str) -> None:
    pod = Pod.objects.get(name=path.rstrip("/").rpartition("/")[2])
    factories.warning(pod.cluster, pod)
    running = {"name": "main", "restarts": 1, "state": {"running": {}}}
    fields = {"reason": "NotReady", "health": "Progressing", "ready": False, "status": {"containers": [running]}}
    Pod.objects.filter(pk=pod.pk).update(**fields)
    for scheme in ("light", "dark"):
        staged = Staged(50)
        staged.headers["X-Log-Restarted"] = "1"
        page = open_page(path, before=staging(staged), color_scheme=scheme, reduced_motion="reduce", expect_errors=True)
        page.locator("summary", has_text="Evidence").click()
        page.get_by_label("Filter lines").fill("epoch 1")
        expect(page.locator("[data-log-lines] mark").first).to_be_visible()
        assert violations(page) == [], scheme
    page.get_by_label("Filter lines").focus()
    reached = []
    for _ in range(7):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.closest('label, button, a, pre')?.textContent.trim() ||"
                                     " document.activeElement.getAttribute('aria-label')"))  # fmt: skip
    assert reached[:4] == ["Follow", "Before restart", "Wrap", "Times"], reached
    page.get_by_label("Filter lines").fill("")
    page.locator("[data-log-lines]").focus()
    page.keyboard.press("Home")
    expect(page.get_by_label("Follow")).not_to_be_checked()
    expect(page.locator("[data-log-state]")).to_have_text("held", timeout=PATIENT)


def test_lines_of_several_replicas_stand_by_time_whenever_they_are_heard(open_page: Opener, project: object) -> None:
    staged = Staged(0)
    staged.headers = {"X-Log-Timed": "1", "X-Log-Voices": "1", "X-Log-Marks": "7~2026-11-25T10:00:09Z~1"}

    def line(second: float, colour: int, label: str, text: str) -> str:
        return f"2026-11-25T10:00:{second:012.9f}Z {colour} {label} {text}"

    staged.lines = [line(number, 1 + number % 2, f"r1-{'ab'[number % 2]}", f"line {number}") for number in range(60)]
    count = len(staged.lines)
    page = open_page(
        "/p/demo/deployments/digits/logs", before=lambda page: page.route(re.compile(r"/log(\?|$)"), staged)
    )
    shown = page.locator("[data-log-lines] span")
    expect(shown).to_have_count(count)
    expect(shown.first.locator("i")).to_have_class("voice hue-1")
    expect(shown.nth(1).locator("i")).to_have_text("r1-b")
    assert "marks" not in staged.asked[0]
    # One of them is heard late: its line goes where it belongs, and nothing is lost or doubled.
    staged.lines = [line(count - 2.5, 3, "r2-c", "ERROR late"), line(count, 1, "r1-a", "last")]
    expect(shown).to_have_count(count + 2)
    assert staged.asked[-1]["marks"] == "7~2026-11-25T10:00:09Z~1"
    staged.lines = []
    said = [text.split(" ", 1)[1] for text in rows(page)[-5:]]
    assert said == [f"line {count - 3}", "ERROR late", f"line {count - 2}", f"line {count - 1}", "last"]
    expect(page.locator("[data-log-count]")).to_have_text(f"{count + 2} lines")
    page.get_by_label("How many lines").select_option("200")
    expect(page).to_have_url(re.compile(r"lines=200$"))
    expect(page.get_by_label("How many lines")).to_have_value("200")
    assert not violations(page)

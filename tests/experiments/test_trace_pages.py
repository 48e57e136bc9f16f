"""Traces on pages: the list of an experiment's, and one as a waterfall."""

import html
import re
from typing import Any

import pytest
from django.test import Client

from apps.core.models import Project, User
from apps.experiments.models import Experiment, Run, Trace
from apps.experiments.tracking.traces.spans import Span
from apps.experiments.tracking.traces.waterfall import marks, took_text, waterfall, why
from tests import factories


def span(span_id: str, parent: str = "", start: int = 0, end: int = 100, code: str = "OK") -> Span:
    return Span(span_id, parent, span_id, start, end, code)


@pytest.mark.parametrize(
    ("spans", "shown"),
    [
        ([span("a")], ["a 0 0 100"]),
        # Children below their parent by start, whatever the order in which they came.
        (
            [span("c", "b", 60, 70), span("b", "a", 50, 100), span("d", "a", 10, 20), span("a")],
            ["a 0 0 100", "d 1 10 10", "b 1 50 50", "c 2 60 10"],
        ),
        # A parent that is not there, and one that has not ended.
        ([span("b", "gone", 5, 10), span("a", start=0, end=0)], ["a 0 0 0.5", "b 0 50 50"]),
        # Those that are each other's parents, or their own.
        (
            [span("a", "b", 0, 10), span("b", "a", 5, 10), span("c", "c", 0, 10)],
            ["c 0 0 100", "a 0 0 100", "b 1 50 50"],
        ),
        ([span("a", start=7, end=7)], ["a 0 0 0.5"]),
        ([span("a", start=9, end=3)], ["a 0 0 0.5"]),
    ],
)  # fmt: skip
def test_a_waterfall(spans: list[Span], shown: list[str]) -> None:
    rows = waterfall(spans)
    assert [f"{row.span.id} {row.depth} {row.left:g} {row.width:g}" for row in rows] == shown


def test_a_chain_of_ten_thousand_is_no_recursion() -> None:
    rows = waterfall([span(str(number), str(number - 1) if number else "") for number in range(10_000)])
    assert rows[-1].depth == 9_999 and len(rows[-1].indent) == 10


def test_the_deepest_failed_span_says_why() -> None:
    rows = waterfall([span("a", code="ERROR"), span("b", "a", code="ERROR"), span("c", "b"), span("d", "a")])
    said = why(rows)
    assert said is not None and said.span.id == "b"
    assert why(waterfall([span("a")])) is None
    assert marks([span("a", end=2_000_000_000)]) == ["0", "500 ms", "1 s", "1.5 s", "2 s"]


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0 ns"), (850, "850 ns"), (1_500, "1.5 µs"), (12_340_000, "12.3 ms"), (999_600_000, "1 s"),
        (1_254_000_000, "1.25 s"), (59_960_000_000, "60 s"), (125_000_000_000, "2 min 5 s"),
        (3_600_000_000_000, "1 h 0 min"), (-1_500_000, "-1.5 ms"),
    ],
)  # fmt: skip
def test_lengths_of_time(nanoseconds: int, text: str) -> None:
    assert took_text(nanoseconds) == text


def plain(reply: Any) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", reply.content.decode()))


pages = pytest.mark.django_db


@pages
def test_the_list_begins_with_how_to_begin(browser: Client, experiment: Experiment) -> None:
    page = plain(browser.get(f"/p/demo/traces/of/{experiment.name}/"))
    assert "No trace yet" in page and f"set_experiment(&quot;{experiment.name}&quot;)" in page


@pages
def test_the_list_and_its_filters(browser: Client, experiment: Experiment) -> None:
    run = factories.run(experiment, name="evening")
    for number in range(51):
        factories.trace(run, name=f"ask {number}", failed=number == 7)
    address = f"/p/demo/traces/of/{experiment.name}/"
    page = browser.get(address).content.decode()
    assert page.count("<tr id=") == 50 and "evening" in page and "Why?" in page
    older = re.search(r'rel="next" href="([^"]+)"', page)
    assert older is not None
    last = browser.get(address + older[1].replace("&amp;", "&")).content.decode()
    assert last.count("<tr id=") == 1 and 'rel="prev"' in last
    for query, count in (
        ({"state": "ERROR"}, 1),
        ({"filter": "name = 'ask 3'"}, 1),
        ({"filter": f"run_id = '{run.uid}' AND span.name = 'step 1'"}, 50),
        ({"filter": "name = 'none'"}, 0),
    ):
        assert browser.get(address, query).content.decode().count("<tr id=") == count, query
    assert "Nothing matches" in plain(browser.get(address, {"filter": "name = 'none'"}))
    wrong = plain(browser.get(address, {"filter": "nothing = 1"}))
    assert "can&#x27;t be compared" in wrong and "execution_time_ms" in wrong
    of_run = browser.get(f"/p/demo/runs/{run.uid}/").content.decode()
    assert "51 traces of this run" in of_run


@pages
def test_a_trace_shows_why_it_failed_and_any_of_its_spans(browser: Client, experiment: Experiment) -> None:
    trace = factories.trace(factories.run(experiment, name="evening"), failed=True)
    address = f"/p/demo/traces/{trace.uid}/"
    page = plain(browser.get(address))
    for text in ("Failed", "It broke.", "exception", "step 2", "Because.", "evening", "7 tokens", "team"):
        assert text in page, text
    ids = re.findall(r'id="s-([0-9a-f]{16})"', browser.get(address).content.decode())
    assert len(ids) == 3
    part = browser.get(address, {"span": ids[1], "part": "spans"}).content.decode()
    assert re.search(rf'id="s-{ids[1]}"[^>]* aria-current="true"', part) and "LLM" in part and "3 in, 4 out" in part
    assert browser.get(address, {"span": "nothing"}).status_code == 404


@pages
def test_a_trace_without_spans_or_end(browser: Client, experiment: Experiment) -> None:
    about: dict[str, Any] = {"project": experiment.project, "experiment": experiment, "began": 2**62}
    Trace.objects.create(uid="tr-odd", state="IN_PROGRESS", **about)
    page = plain(browser.get("/p/demo/traces/tr-odd/"))
    assert "No span yet" in page and "tr-odd" in page
    assert "In progress" in plain(browser.get(f"/p/demo/traces/of/{experiment.name}/"))


@pages
def test_strangers_see_no_trace(experiment: Experiment, browser: Client) -> None:
    trace = factories.trace(factories.run(experiment))
    stranger = Client()
    stranger.force_login(User.objects.create_user("eve"))
    assert stranger.get(f"/p/demo/traces/{trace.uid}/").status_code == 404
    other: Project = factories.busy_project("other", size=1)
    assert browser.get(f"/p/{other.name}/traces/{trace.uid}/").status_code == 404
    Run.objects.filter(experiment=experiment).update(deleted_at="2026-01-01T00:00:00Z")
    assert browser.get(f"/p/demo/traces/{trace.uid}/").status_code == 200


def test_an_experiment_that_has_traces_and_no_run_says_so_and_launches_into_itself(
    browser: Client, experiment: Experiment, project: Project
) -> None:
    factories.trace(factories.run(experiment))
    Run.objects.all().delete()
    page = html.unescape(browser.get("/p/demo/experiments/digits/").content.decode())
    assert "0 runs, 1 trace<" in page and "No run, but traces" in page and "No run yet" not in page
    Experiment.objects.create(project=project, name="it's mine")
    page = html.unescape(browser.get("/p/demo/experiments/it's mine/").content.decode())
    assert "No run yet" in page and """"experiment": "it'"'"'s mine",""" in page

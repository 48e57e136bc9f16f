"""The evidence of an analysis, as its page and REST show it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from apps.core.access import Principal
from apps.deployments import services
from apps.deployments.models import AnalysisRun, Deployment, Revision, Rollout
from apps.deployments.pages.evidence import AnalysisRow, analyses_of
from apps.deployments.rollout.analysis import Fares, Measurement, by_health, verdict_of
from apps.deployments.rollout.asked import parse_analysis
from apps.deployments.rollout.figures import by_prometheus, silent
from apps.deployments.rollout.probed import Exchange, Question, Reply, by_probe
from apps.deployments.rollout.promql import Series
from tests.deployments.test_measuring import WORSE, canary, later, log_accuracy
from tests.deployments.test_pages import browser, words

NOW = datetime(2026, 11, 30, 3, 0, tzinfo=UTC)
QUERY = {"provider": "prometheus", "source": "prod", "query": "up", "name": "errors", "max": 0.05}


def analysed(asked: dict[str, Any], seen: list[Measurement], targets: list[str] | None = None) -> AnalysisRow:
    step = {"do": "analyse", "wave": 0, "targets": targets or ["eu"], "analysis": asked}
    rollout = Rollout(plan=[step], to_revision=Revision(number=2))
    verdict = verdict_of(asked, seen)
    run = AnalysisRun(step=0, asked=asked, state=verdict.outcome, message=verdict.message)
    run.measurements = [each.to_json() for each in seen]
    return analyses_of(rollout, [run])[0]


def numbers(*values: float | None) -> list[Measurement]:
    asked = parse_analysis(QUERY, "a")
    return [
        by_prometheus(asked, [("", Series("", value))], NOW + timedelta(seconds=at))
        if value is not None
        else silent("prod is away.", NOW + timedelta(seconds=at))
        for at, value in enumerate(values)
    ]


def test_each_look_is_a_square_a_point_and_a_row_with_why_it_was_not_good() -> None:
    asked = parse_analysis({**QUERY, "count": 9, "failure_limit": 1, "inconclusive_limit": 1}, "a")
    row = analysed(asked, numbers(0.01, None, 0.2))
    assert (row.name, row.where, row.count, row.is_open) == ("errors", "prometheus on eu", "3 of 9 measured", True)
    assert [each["state"] for each in row.squares] == ["Successful", "Inconclusive", "Failed"]
    assert [column.head for column in row.columns] == ["New", "At most"]
    assert [(look.word, look.cells, look.why) for look in row.looks] == [
        ("Bad", ["0.2", "0.05"], "errors is 0.2: at most 0.05 is allowed."),
        ("Inconclusive", ["–", "–"], "prod is away."),
        ("Good", ["0.01", "0.05"], ""),
    ]
    curves = {trace.name: list(trace.y) for trace in row.chart.data}
    assert curves == {"new revision": [0.01, None, 0.2], "at most": [0.05] * 3, "bad ones": [None, None, 0.2]}


def test_there_is_no_chart_before_there_is_a_line() -> None:
    asked = parse_analysis({**QUERY, "count": 9, "inconclusive_limit": 8}, "a")
    for values in ((), (0.01,), (None, None, None), (0.01, None)):
        row = analysed(asked, numbers(*values))
        assert row.chart is None
        assert len(row.looks) == len(values)
    assert analysed(asked, numbers(None)).looks[0].why == "prod is away."


def test_of_very_many_looks_the_page_holds_the_last() -> None:
    asked = parse_analysis({**QUERY, "count": 1000}, "a")
    row = analysed(asked, numbers(*[0.01] * 400), targets=["eu", "us", "asia"])
    assert (len(row.few), len(row.more), row.hidden, len(row.squares)) == (6, 94, 300, 240)
    assert (row.where, len(row.chart.data[0].y)) == ("prometheus on 3 targets", 400)
    assert row.looks[0].at > row.looks[1].at


def test_every_provider_has_figures_of_its_own() -> None:
    fares = [Fares("eu", reachable=True, wanted=3, ready=2, restarts=0)]
    health = parse_analysis({}, "a")
    row = analysed(health, [by_health(fares, 0, NOW)] * 2)
    assert (row.name, [column.head for column in row.columns]) == (
        "health of the replicas", ["Ready", "Wanted", "Restarts"],
    )  # fmt: skip
    assert [trace.name for trace in row.chart.data] == ["ready replicas", "wanted", "bad ones"]
    probe = parse_analysis({"provider": "probe", "max_latency_ms": 9}, "a")
    exchange = Exchange(Question("given-1", "given request 1", b"{}"), Reply(True, 5.0, []), Reply(True, 4.0, []))
    row = analysed(probe, [by_probe(probe, [exchange], NOW)] * 2)
    assert row.looks[0].cells == ["5 ms", "4 ms", "100 %", "0"]
    assert [trace.name for trace in row.chart.data] == ["new revision", "earlier revision", "at most"]
    scrape = parse_analysis({"provider": "scrape", "metric": "m" * 250, "max": 1}, "a")
    assert (len(analysed(scrape, []).name), analysed(scrape, []).said) == (60, "")


@pytest.mark.django_db
def test_a_rollout_that_was_taken_back_links_to_what_was_measured(
    developer: Principal, digits: Deployment, api: Client
) -> None:
    page, path = browser(developer.user), "/p/demo/deployments/digits/"
    log_accuracy(1, 0.95)
    log_accuracy(2, 0.9)
    rollout = canary(developer, digits, {**WORSE, "count": 3, "failure_limit": 1})
    seen = words(page.get(path))
    assert "Analysis accuracy" in seen and "The first measurement is due after 1 s." in seen
    assert "See what it measured" not in seen
    later(rollout, 2)
    assert b"data-chart" not in page.get(path).content, "a point is no line"
    later(rollout, 4)
    answer = page.get(path)
    assert b'href="#analysis-1"' in answer.content and b'id="analysis-1" open' in answer.content
    assert b'data-chart="analysis-chart-1-figure"' in answer.content
    seen = words(answer)
    assert "2 of 3 measured" in seen and seen.count("at least 0.94 is wanted.") >= 4
    said = api.get("/api/v1/deployments/digits/analyses/").json()["results"]
    assert [(each["state"], each["revision"], each["targets"]) for each in said] == [
        ("Failed", 2, ["local-production"])
    ]
    assert [each["value"]["value"] for each in said[0]["measurements"]] == [0.9, 0.9]


@pytest.mark.django_db
@pytest.mark.parametrize(("tell", "stands"), [(services.promote, "PauseStep"), (services.abort, "RollingBack")])
def test_a_person_decides_where_an_analysis_came_to_no_conclusion(
    developer: Principal, digits: Deployment, tell: Callable[..., Rollout], stands: str
) -> None:
    log_accuracy(2, None)
    rollout = later(canary(developer, digits, WORSE), 2)
    assert (rollout.state, rollout.reason) == ("Paused", "Inconclusive")
    seen = words(browser(developer.user).get("/p/demo/deployments/digits/"))
    assert "A person has to decide. See what it measured" in seen and "Promote Resume" not in seen
    tell(principal=developer, deployment=digits)
    rollout.refresh_from_db()
    assert stands in (rollout.reason, rollout.state)
    assert AnalysisRun.objects.get().state == "Inconclusive"

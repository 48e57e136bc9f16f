"""The verdict of an analysis, and of one look at the new revision's replicas."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from apps.core.errors import Invalid
from apps.deployments.rollout.analysis import Fares, Measurement, Reply, by_health, by_probe, next_at, verdict_of
from apps.deployments.rollout.asked import parse_analysis
from apps.deployments.rollout.fleet import Outcome

NOW = datetime(2026, 11, 30, 3, 0, tzinfo=UTC)
ASKED = {"provider": "health", "interval_seconds": 5, "count": 3, "failure_limit": 1}
GOOD = Fares("eu", reachable=True, wanted=2, ready=2, restarts=1)
OK, BAD, SILENT = Outcome.SUCCESSFUL, Outcome.FAILED, Outcome.INCONCLUSIVE


def looks(*outcomes: Outcome) -> list[Measurement]:
    return [
        Measurement(NOW + timedelta(seconds=5 * place), outcome, f"look {place}", {})
        for place, outcome in enumerate(outcomes)
    ]


@pytest.mark.parametrize(
    ("outcomes", "verdict", "says"),
    [
        ([], Outcome.RUNNING, ""),
        ([OK, OK], Outcome.RUNNING, ""),
        ([OK, BAD], Outcome.RUNNING, ""),
        ([OK, OK, OK], Outcome.SUCCESSFUL, "3 of 3 measurements were good."),
        ([BAD, OK, OK], Outcome.SUCCESSFUL, "2 of 3 measurements were good."),
        ([BAD, BAD], Outcome.FAILED, "The analysis failed, 2 of 2 measurements: look 1"),
        ([OK, BAD, BAD], Outcome.FAILED, "The analysis failed, 2 of 3 measurements: look 2"),
        ([SILENT, SILENT], Outcome.INCONCLUSIVE,
         "The analysis came to no conclusion, 2 of 2 measurements were not good: look 1"),
        ([SILENT, OK, OK], Outcome.SUCCESSFUL, "2 of 3 measurements were good."),
        ([SILENT, OK, BAD], Outcome.INCONCLUSIVE,
         "The analysis came to no conclusion, 2 of 3 measurements were not good: look 0"),
    ],
)  # fmt: skip
def test_as_many_may_fail_as_the_limit_says(outcomes: list[Outcome], verdict: Outcome, says: str) -> None:
    found = verdict_of(ASKED, looks(*outcomes))
    assert (found.outcome, found.message) == (verdict, says)


@pytest.mark.parametrize(
    ("seen", "outcome", "says"),
    [
        ([GOOD], OK, "2 of 2 ready, none restarted."),
        ([GOOD, Fares("us", reachable=True, wanted=2, ready=2, restarts=1)], BAD, "was restarted once"),
        ([Fares("eu", reachable=True, wanted=2, ready=2, restarts=4)], BAD, "was restarted 3 times"),
        ([Fares("eu", reachable=True, wanted=2, ready=1, restarts=1)], BAD, "1 of 2 replicas"),
        ([GOOD, Fares("us", reachable=False, wanted=2, ready=2, restarts=0)], SILENT, "us can't be reached"),
        (
            [GOOD, Fares("us", reachable=True, wanted=1, ready=0, restarts=0, trouble="It crashes.")],
            BAD,
            "us: It crash",
        ),
    ],
)
def test_one_look_at_the_replicas(seen: list[Fares], outcome: Outcome, says: str) -> None:
    found = by_health(seen, 1, NOW)
    assert found.outcome is outcome
    assert says in found.message
    assert Measurement.from_json(found.to_json()) == found


@pytest.mark.parametrize(
    ("new", "old", "outcome", "says"),
    [
        ("5 6", "5 6", OK, "2 of 2 answered in 10 ms, 100 % agree."),
        ("5 7", "5 6", BAD, "50 % of the answers agree"),
        ("5 x", "5 6", BAD, "1 of 2 requests failed."),
        ("5 6.0000000001", "5 6", OK, "100 % agree"),
        ("5 6 slow", "5 6 6", OK, "answered in 10 ms"),
        ("slow slow", "5 6", BAD, "Half of the answers took longer than 900 ms; 100 are allowed."),
        ("5 6", "", SILENT, "nothing can be compared"),
        ("", "", SILENT, "Nobody could be asked."),
    ],
)
def test_one_look_at_what_both_revisions_answer(new: str, old: str, outcome: Outcome, says: str) -> None:
    def replies(words: str) -> list[Reply]:
        slow = {word: 900.0 if word == "slow" else 10.0 for word in words.split()}
        return [
            Reply(
                word != "x", slow[word], [{"data": [6.0 if word == "slow" else float(word)]}] if word != "x" else None
            )
            for word in words.split()
        ]

    asked = {"max_errors": 0, "max_latency_ms": 100, "min_agreement": 80}
    found = by_probe(asked, replies(new), replies(old), NOW)
    assert (found.outcome, says in found.message) == (outcome, True), found.message
    assert by_probe({"max_errors": 50}, replies(new), [], NOW).outcome in (OK, SILENT)


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"provider": "prometheus"}, "a.provider"),
        ({"min_agreement": 80}, "a.min_agreement"),
        ({"provider": "probe", "min_agreement": 101}, "a.min_agreement"),
        ({"provider": "probe", "max_latency_ms": 0}, "a.max_latency_ms"),
        ({"provider": "probe", "requests": []}, "a.requests"),
        ({"provider": "probe", "requests": [{"inputs": []}]}, "a.requests[0].inputs"),
        ({"provider": "probe", "requests": [{"inputs": [{"data": ["x" * 40_000]}]}]}, "a.requests"),
        ({"count": 2, "failure_limit": 2}, "a.failure_limit"),
    ],
)
def test_what_is_wrong_with_an_analysis_is_named(said: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_analysis(said, "a")
    assert caught.value.field == field


def test_it_measures_an_interval_after_the_last_time() -> None:
    assert next_at(ASKED, NOW, []) == NOW + timedelta(seconds=5)
    assert next_at(ASKED, NOW, looks(OK, OK)) == NOW + timedelta(seconds=10)

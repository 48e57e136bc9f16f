"""The verdict of an analysis, and of one look of each provider."""

import itertools
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from apps.core.errors import Invalid
from apps.deployments.rollout.analysis import Fares, Measurement, by_health, next_at, verdict_of
from apps.deployments.rollout.asked import parse_analysis
from apps.deployments.rollout.figures import Logged, by_model
from apps.deployments.rollout.probed import Exchange, Question, Reply, Tally, by_probe, difference, tallied
from apps.deployments.rollout.verdicts import Outcome

NOW = datetime(2026, 11, 30, 3, 0, tzinfo=UTC)
ASKED = {"provider": "health", "interval_seconds": 5, "count": 3, "failure_limit": 1}
GOOD = Fares("eu", reachable=True, wanted=2, ready=2, restarts=1)
GIVEN, KEPT = Question("given-1", "given request 1", b"{}"), Question("recorded-7", "a nine", b"{}", recorded=True)
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
         "The analysis came to no conclusion, 2 of 2 measurements said nothing: look 1"),
        ([SILENT, OK, OK], Outcome.SUCCESSFUL, "2 of 3 measurements were good."),
        ([SILENT, OK, BAD], Outcome.SUCCESSFUL, "1 of 3 measurements was good."),
        ([SILENT, BAD, BAD], Outcome.FAILED, "The analysis failed, 2 of 3 measurements: look 2"),
    ],
)  # fmt: skip
def test_as_many_may_fail_as_the_limit_says(outcomes: list[Outcome], verdict: Outcome, says: str) -> None:
    judged = verdict_of(ASKED, looks(*outcomes))
    assert (judged.outcome, judged.message) == (verdict, says)
    assert verdict_of({**ASKED, "inconclusive_limit": 1}, looks(*outcomes)) == judged, "the failure limit, by default"


@pytest.mark.parametrize(
    ("silent", "outcomes", "verdict", "says"),
    [
        (0, [OK, SILENT], Outcome.INCONCLUSIVE, "1 of 2 measurements said nothing: look 1"),
        (2, [SILENT, SILENT], Outcome.RUNNING, ""),
        (2, [SILENT, SILENT, OK], Outcome.SUCCESSFUL, "1 of 3 measurements was good."),
        (2, [SILENT, BAD, SILENT], Outcome.INCONCLUSIVE, "none of 3 measurements was good: look 2"),
        (2, [BAD, SILENT, BAD], Outcome.FAILED, "2 of 3 measurements: look 2"),
    ],
)
def test_as_many_may_say_nothing_as_their_own_limit_says(
    silent: int, outcomes: list[Outcome], verdict: Outcome, says: str
) -> None:
    judged = verdict_of({**ASKED, "inconclusive_limit": silent}, looks(*outcomes))
    assert (judged.outcome, says in judged.message) == (verdict, True), judged.message


@pytest.mark.parametrize(
    ("seen", "outcome", "says"),
    [
        ([GOOD], OK, "2 of 2 ready, none restarted."),
        ([GOOD, Fares("us", reachable=True, wanted=2, ready=2, restarts=1)], BAD, "was restarted once"),
        ([Fares("eu", reachable=True, wanted=2, ready=2, restarts=4)], BAD, "was restarted 3 times"),
        ([Fares("eu", reachable=True, wanted=2, ready=1, restarts=1)], BAD, "1 of 2 replicas"),
        ([GOOD, Fares("us", reachable=False, wanted=2, ready=2, restarts=0)], SILENT, "us can't be asked"),
        (
            [GOOD, Fares("us", reachable=True, wanted=1, ready=0, restarts=0, trouble="It crashes.")],
            BAD,
            "us: It crash",
        ),
    ],
)
def test_one_look_at_the_replicas(seen: list[Fares], outcome: Outcome, says: str) -> None:
    measured = by_health(seen, 1, NOW)
    assert measured.outcome is outcome
    assert says in measured.message
    assert Measurement.from_json(measured.to_json()) == measured
    if "was restarted" in says or "replicas" in says:
        why = "app-r2-6c5f-abcde restarted 1×, exit 137 SIGKILL OOMKilled"
        assert f"({why})." in by_health(seen, 1, NOW, why).message


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
    pairs = itertools.zip_longest(replies(new), replies(old))
    exchanges = [Exchange(GIVEN, one, other) for one, other in pairs if one is not None]
    measured = by_probe(asked, exchanges, NOW)
    assert (measured.outcome, says in measured.message) == (outcome, True), measured.message
    assert by_probe({"max_errors": 50}, [Exchange(GIVEN, each) for each in replies(new)], NOW).outcome in (OK, SILENT)


def label(value: object) -> Reply:
    return Reply(answered=True, milliseconds=10.0, outputs=[{"name": "label", "data": [value]}])


FAILED = Reply(answered=False, milliseconds=40.0)


@pytest.mark.parametrize(
    ("exchanges", "outcome", "says"),
    [
        # What was recorded was answered once: where what serves does not answer it any more, it says nothing.
        ([Exchange(KEPT, FAILED, FAILED), Exchange(GIVEN, label(1), label(1))], OK, "1 of 1 answered"),
        ([Exchange(KEPT, FAILED, FAILED)], SILENT, "Neither revision answers what is recorded."),
        ([Exchange(KEPT, FAILED, label(1)), Exchange(GIVEN, label(1), label(1))], BAD, "1 of 2 requests failed."),
        ([Exchange(KEPT, FAILED)], BAD, "1 of 1 requests failed."),
        ([Exchange(GIVEN, FAILED, FAILED)], BAD, "1 of 1 requests failed."),
    ],
)
def test_a_recorded_request_that_what_serves_does_not_answer_says_nothing(
    exchanges: list[Exchange], outcome: Outcome, says: str
) -> None:
    measured = by_probe({"max_errors": 0}, exchanges, NOW)
    assert (measured.outcome, says in measured.message) == (outcome, True), measured.message


def test_what_was_said_to_each_request_is_summed_over_looks_and_targets() -> None:
    first = tallied(
        [], [Exchange(GIVEN, label(1), label(1)), Exchange(KEPT, label(8), label(7)), Exchange(KEPT, FAILED)]
    )
    again = tallied(
        [Tally.from_json(json.loads(json.dumps(each.to_json()))) for each in first],
        [Exchange(KEPT, label(9), label(7)), Exchange(GIVEN, label(1), FAILED)],
    )
    told = [(each.name, each.sent, each.errors, each.compared, each.agreed, each.difference) for each in again]
    assert told == [
        ("given request 1", 2, 0, 1, 1, ""),
        ("a nine", 3, 1, 2, 0, "label[0] is 8, the earlier revision's 7"),
    ]
    times = [(each.latency_ms, each.latency_before_ms, each.errors_before) for each in again]
    assert times == [(10, 25, 1), (20, 10, 0)]
    assert tallied([], [Exchange(KEPT, label(1))])[0].latency_before_ms is None


@pytest.mark.parametrize(
    ("new", "old", "says"),
    [
        ([{"name": "p", "data": [0, 0.9]}], [{"name": "p", "data": [0, 1]}], "p[1] is 0.9, the earlier revision's 1"),
        ([{"name": "p", "data": [1, 2]}], [{"name": "p", "data": [1]}], "p is [1, 2], the earlier revision's [1]"),
        ([{"name": "p", "shape": [2]}], [{"name": "p", "shape": [1]}], "p.shape[0] is 2, the earlier revision's 1"),
        ([{"data": [[1]]}], [{"data": [[2]]}], "outputs[0][0][0] is 1, the earlier revision's 2"),
        ([], [{"data": [2]}], 'The answer is [], the earlier revision\'s [{"data": [2]}]'),
        (["x" * 99], ["y"], f"outputs[0] is \"{'x' * 38}…, the earlier revision's \"y\""),
    ],
)  # fmt: skip
def test_a_difference_of_two_answers_is_told_by_its_place(new: Any, old: Any, says: str) -> None:
    assert difference(new, old) == says


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"provider": "luck"}, "a.provider"),
        ({"provider": "probe", "recorded": "all"}, "a.recorded"),
        ({"provider": "probe", "recorded": 1}, "a.recorded"),
        ({"recorded": True}, "a.recorded"),
        ({"min_agreement": 80}, "a.min_agreement"),
        ({"provider": "probe", "min_agreement": 101}, "a.min_agreement"),
        ({"provider": "probe", "max_latency_ms": 0}, "a.max_latency_ms"),
        ({"provider": "probe", "requests": []}, "a.requests"),
        ({"provider": "probe", "requests": [{"inputs": []}]}, "a.requests[0].inputs"),
        ({"provider": "probe", "requests": [{"inputs": [{"data": ["x" * 40_000]}]}]}, "a.requests"),
        ({"count": 2, "failure_limit": 2}, "a.failure_limit"),
        ({"count": 2, "inconclusive_limit": 2}, "a.inconclusive_limit"),
        ({"provider": ["health"]}, "a.provider"),
        ({"provider": "model", "min": 1}, "a.metric"),
        ({"provider": "model", "metric": " ", "min": 1}, "a.metric"),
        ({"provider": "model", "metric": "f1"}, "a"),
        ({"provider": "model", "metric": "f1", "min": True}, "a.min"),
        ({"provider": "model", "metric": "f1", "min": float("nan")}, "a.min"),
        ({"provider": "model", "metric": "f1", "max": "1"}, "a.max"),
        ({"provider": "model", "metric": "f1", "min": 2, "max": 1}, "a.min"),
        ({"provider": "model", "metric": "f1", "better": "more"}, "a.better"),
        ({"provider": "model", "metric": "f1", "tolerance": 1, "max": 1}, "a.tolerance"),
        ({"provider": "model", "metric": "f1", "better": "less", "tolerance": -1}, "a.tolerance"),
        ({"provider": "model", "metric": "f1", "better": "less", "tolerance": 1, "tolerance_percent": 1},
         "a.tolerance_percent"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_analysis_is_named(said: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_analysis(said, "a")
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("asked", "new", "old", "outcome", "says"),
    [
        ({"min": 0.9}, 0.91, None, OK, "acc of digits 2 is 0.91, at least 0.9, as wanted."),
        ({"min": 0.9}, 0.89, 0.5, BAD, "acc of digits 2 is 0.89: at least 0.9 is wanted."),
        ({"max": 3}, 3.5, None, BAD, "is 3.5: at most 3 is allowed."),
        ({"min": 0.95}, 0.949999, None, BAD, "is 0.95: at least 0.95 (1e-06 off) is wanted."),
        ({"better": "greater"}, 0.9, 0.9, OK, "is 0.9, the earlier revision's 0.9, at least 0.9, as wanted."),
        ({"better": "greater"}, 0.89, 0.9, BAD, "is 0.89, the earlier revision's 0.9: at least 0.9 is wanted."),
        ({"better": "greater", "tolerance": 0.02}, 0.88, 0.9, OK, "at least 0.88"),
        ({"better": "less", "tolerance_percent": 10}, 1.2, 1.0, BAD, "at most 1.1 is allowed."),
        ({"better": "less", "tolerance_percent": 10}, -1.2, -1.0, OK, "at most -0.9"),
        ({"better": "less", "tolerance_percent": 10}, -0.8, -1.0, BAD, "at most -0.9 is allowed."),
        ({"better": "greater", "min": 0.9}, 0.89, 0.8, BAD, "at least 0.9 is wanted."),
        ({"better": "greater", "min": 0.7}, 0.79, 0.8, BAD, "at least 0.8 is wanted."),
        ({"better": "greater"}, 0.9, None, SILENT, "the earlier revision has none to compare it with."),
        ({"better": "greater", "min": 0.95}, 0.9, None, BAD, "at least 0.95 is wanted."),
        ({"better": "greater"}, 0.9, float("nan"), SILENT, "has none to compare"),
        ({"min": 0.9}, float("nan"), None, SILENT, "acc of digits 2 is no number."),
        ({"max": 0.9}, float("inf"), None, SILENT, "is no number."),
        ({"min": 0.9}, None, 0.9, SILENT, "digits 2 has no metric acc: it has f1, loss."),
    ],
)
def test_one_look_at_the_registry(
    asked: dict[str, Any], new: float | None, old: float | None, outcome: Outcome, says: str
) -> None:
    parsed = parse_analysis({"provider": "model", "metric": "acc", **asked}, "a")
    assert parse_analysis(parsed, "a") == parsed
    assert (parsed["count"], parsed["interval_seconds"]) == (1, 1)
    measured = by_model(parsed, Logged("digits 2", new, ["f1", "loss"]), Logged("digits 1", old), NOW)
    assert (measured.outcome, says in measured.message) == (outcome, True), measured.message
    # As it is stored: Postgres takes no NaN in JSON.
    assert Measurement.from_json(json.loads(json.dumps(measured.to_json(), allow_nan=False))) == measured


def test_a_revision_without_a_model_has_no_metrics() -> None:
    asked = parse_analysis({"provider": "model", "metric": "acc", "better": "greater"}, "a")
    assert by_model(asked, Logged(""), None, NOW).outcome is SILENT
    assert "its run has none" in by_model(asked, Logged("digits 2"), None, NOW).message
    assert "e, 2 more." in by_model(asked, Logged("digits 2", None, list("abcdefg")), None, NOW).message


def test_it_measures_an_interval_after_the_last_time() -> None:
    assert next_at(ASKED, NOW, []) == NOW + timedelta(seconds=5)
    assert next_at(ASKED, NOW, looks(OK, OK)) == NOW + timedelta(seconds=10)

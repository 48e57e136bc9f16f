"""The verdict of an analysis, and of one look at the new revision's replicas."""

from datetime import UTC, datetime, timedelta

import pytest

from apps.deployments.rollout.analysis import Fares, Measurement, by_health, next_at, verdict_of
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


def test_it_measures_an_interval_after_the_last_time() -> None:
    assert next_at(ASKED, NOW, []) == NOW + timedelta(seconds=5)
    assert next_at(ASKED, NOW, looks(OK, OK)) == NOW + timedelta(seconds=10)

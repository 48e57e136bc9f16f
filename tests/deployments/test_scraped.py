"""What replicas say of themselves, as an analysis reads it: one number for each revision."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from apps.core.errors import Invalid
from apps.deployments.rollout.asked import parse_analysis
from apps.deployments.rollout.scraped import Seen, by_scrape, called, kept, needs_two, read, remembered, wanted_names
from apps.deployments.rollout.verdicts import Outcome
from apps.deployments.scrape.exposition import parse
from apps.deployments.scrape.figures import Look

OK, BAD, SILENT = Outcome.SUCCESSFUL, Outcome.FAILED, Outcome.INCONCLUSIVE
NOW = datetime(2026, 11, 30, 3, 0, tzinfo=UTC)
ERRORS = {"metric": "n", "labels": {"code": "500"}, "read": "rate", "over": {"metric": "n"}}


def asked(**said: Any) -> dict[str, Any]:
    parsed = parse_analysis({"provider": "scrape", "metric": "n", "max": 1, **said}, "a")
    assert parse_analysis(parsed, "a") == parsed
    return parsed


def counts(good: float, bad: float = 0.0) -> str:
    return f'n{{code="200"}} {good}\nn{{code="500"}} {bad}'


def seen(*replicas: tuple[str, str], seconds: float = 10) -> Seen:
    """Each replica's text at the look before and now; "" before: it was not there."""
    before = {str(at): Look(100, parse(text)) for at, (text, _) in enumerate(replicas) if text}
    return Seen({str(at): Look(100 + seconds, parse(text)) for at, (_, text) in enumerate(replicas)}, before)


def buckets(*counts: float) -> str:
    return "\n".join(f't_bucket{{le="{le}"}} {n}' for le, n in zip(("0.1", "0.2", "+Inf"), counts, strict=True))


@pytest.mark.parametrize(
    ("said", "replicas", "value"),
    [
        # Of two replicas the one that has served longer has counted more: what each does on the average is told.
        ({}, [("", "n 4"), ("n 9", "n 8")], 6.0),
        ({"labels": {"code": "500"}}, [("", counts(90, 2))], 2.0),
        ({"read": "rate"}, [(counts(0), counts(10, 10)), (counts(5), counts(5))], 1.0),
        ({"read": "rate"}, [("n 100", "n 20")], 2.0),
        ({"read": "rate"}, [("", "n 100")], None),
        (ERRORS, [(counts(0), counts(90, 10)), (counts(0), counts(100, 0))], 0.05),
        (ERRORS, [("n 0", "n 0")], None),
        (ERRORS, [('n{code="200"} 1', 'n{code="200"} 9')], 0.0),
        ({"metric": "t", "read": "quantile", "quantile": 0.5}, [(buckets(0, 0, 0), buckets(5, 10, 10))], 0.1),
        ({"metric": "t", "read": "quantile"}, [(buckets(1, 1, 1), buckets(1, 1, 1))], None),
        ({"metric": "other"}, [("", "n 4")], None),
    ],
)
def test_the_number_of_a_revision(said: dict[str, Any], replicas: list[tuple[str, str]], value: float | None) -> None:
    reading = read(asked(**said), seen(*replicas))
    assert reading == (pytest.approx(value) if value is not None else None)


@pytest.mark.parametrize(
    ("said", "new", "old", "outcome", "says"),
    [
        ({"max": 5}, [("", "n 4")], [], OK, "n is 4, at most 5, as wanted."),
        ({"max": 5, "name": "queue"}, [("", "n 6")], [], BAD, "queue is 6: at most 5 is allowed."),
        (
            {**ERRORS, "max": None, "better": "less", "tolerance": 0.01},
            [(counts(0), counts(90, 10))],
            [(counts(0), counts(98, 2))],
            BAD,
            "n over n is 0.1, the earlier revision's 0.02: at most 0.03 is allowed.",
        ),
        (
            {**ERRORS, "max": None, "better": "less"},
            [(counts(0), counts(90, 10))],
            [],
            SILENT,
            "the earlier revision has none",
        ),
        ({}, [], [], SILENT, "r2 answers 404 at /metrics."),
        ({"metric": "m"}, [("", "n 4")], [], SILENT, "No replica of the new revision tells m."),
        ({"read": "rate"}, [("", "n 4")], [], SILENT, "was there at the look before."),
        (ERRORS, [("n 0", "n 0")], [], SILENT, "Nothing was counted in n since the look before."),
    ],
)
def test_one_look_at_both_revisions(
    said: dict[str, Any],
    new: list[tuple[str, str]],
    old: list[tuple[str, str]],
    outcome: Outcome,
    says: str,
) -> None:
    trouble = "" if new else "r2 answers 404 at /metrics."
    measurement = by_scrape(asked(**said), seen(*new), seen(*old), NOW, trouble=trouble)
    assert (measurement.outcome, says in measurement.message) == (outcome, True), measurement.message
    json.dumps(measurement.to_json(), allow_nan=False)


def test_what_is_kept_is_what_the_next_look_is_held_against() -> None:
    look = Look(100.5, parse(counts(1, 2)))
    assert remembered(json.loads(json.dumps(kept({"eu/a": look}), allow_nan=False))) == {
        "eu/a": Look(100.5, list(look.samples))
    }
    many = Look(1.0, parse("\n".join(f'n{{a="{number}"}} 1' for number in range(900))))
    assert len(kept({"eu/a": many})["eu/a"]["samples"]) == 500


def test_only_what_is_asked_for_is_read() -> None:
    quantile = asked(metric="t", read="quantile", quantile=0.99)
    assert wanted_names(quantile) == {"t_bucket"}
    assert wanted_names(asked(**{**ERRORS, "over": {"metric": "all"}})) == {"n", "all"}
    assert [needs_two(asked(**said)) for said in ({}, {"read": "rate"}, ERRORS)] == [False, True, True]
    assert [called(each) for each in (quantile, asked(read="rate"))] == ["p99 of t", "The rate of n"]


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"metric": None}, "a.metric"),
        ({"metric": "a b"}, "a.metric"),
        ({"metric": 'n{code="500"}'}, "a.metric"),
        ({"max": None}, "a"),
        ({"labels": {"code": 500}}, "a.labels"),
        ({"labels": ["code"]}, "a.labels"),
        ({"labels": {f"a{number}": "" for number in range(21)}}, "a.labels"),
        ({"read": "sum"}, "a.read"),
        ({"quantile": 0.5}, "a.quantile"),
        ({"read": "quantile", "quantile": 95}, "a.quantile"),
        ({"over": {"metric": "m"}}, "a.over"),
        ({"read": "rate", "over": {"metric": "m", "max": 1}}, "a.over.max"),
        ({"read": "rate", "over": {}}, "a.over.metric"),
        ({"path": "//evil/../x y"}, "a.path"),
        ({"path": "metrics"}, "a.path"),
        ({"port": 0}, "a.port"),
        ({"source": "prod"}, "a.source"),
    ],
)
def test_what_is_wrong_with_a_scrape_is_named(said: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as caught:
        asked(**said)
    assert caught.value.field == field

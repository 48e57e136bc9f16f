"""The headline of the overview."""

from datetime import UTC, datetime

import pytest

from apps.core.pages.overview import Attention, plural, verdict

AT = datetime(2026, 11, 23, tzinfo=UTC)


def need(noun: str, state: str = "Failed") -> Attention:
    return Attention(state, "x", "why", noun, at=AT)


@pytest.mark.parametrize(
    ("needs", "anything", "sentence", "detail", "state"),
    [
        ([], True, "All is well", "everything is as wanted", "Healthy"),
        ([], False, "Ready when you are", "nothing runs here yet", "Idle"),
        ([need("run failed")], True, "One thing needs you", "1 run failed · everything else is as wanted", "Failed"),
        (
            [
                need("rollout waiting", "Paused"),
                need("cluster unreachable", "Unreachable"),
                need("rollout waiting", "Paused"),
            ],
            True,
            "Three things need you",
            "2 rollouts waiting · 1 cluster unreachable · everything else is as wanted",
            "Unreachable",
        ),
        (
            [need("run failed")] * 12,
            True,
            "12 things need you",
            "12 runs failed · everything else is as wanted",
            "Failed",
        ),
    ],
)
def test_the_headline_says_how_many_things_need_you(
    needs: list[Attention], anything: bool, sentence: str, detail: str, state: str
) -> None:
    said = verdict(needs, anything=anything)
    assert (said.sentence, said.detail, said.state) == (sentence, detail, state)


def test_plurals() -> None:
    assert plural("cluster unreachable", 1) == "cluster unreachable"
    assert plural("cluster unreachable", 2) == "clusters unreachable"
    assert plural("run", 2) == "runs"

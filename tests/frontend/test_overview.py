"""The headline of the overview."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from apps.core.pages.overview import _NUMBERS, Attention, verdict
from apps.core.text.wording import plural

AT = datetime(2026, 11, 23, tzinfo=UTC)


def need(noun: str, state: str = "Failed", **more: Any) -> Attention:
    return Attention(state, "x", "why", noun, at=AT, **more)


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
        (
            [
                need("cluster unreachable", count=2, follows=(("run waiting", 1), ("deployment unknown", 3))),
                need("run failed", count=3),
                need("cluster unreachable", follows=(("deployment unknown", 1),)),
                need("deployment unknown", "Unknown"),
            ],
            True,
            "Seven things need you",
            "3 clusters unreachable (and so 1 run waiting, 4 deployments unknown) · 3 runs failed"
            " · 1 deployment unknown · everything else is as wanted",
            "Failed",
        ),
    ],
)
def test_the_headline_says_how_many_things_need_you(
    needs: list[Attention], anything: bool, sentence: str, detail: str, state: str
) -> None:
    said = verdict(needs, anything=anything)
    assert (said.sentence, said.detail, said.state) == (sentence, detail, state)
    counted = sum(map(int, re.findall(r"(?:^|· )(\d+)", said.detail)))
    number = said.sentence.partition(" ")[0]
    assert not needs or counted == (int(number) if number.isdecimal() else _NUMBERS.index(number))


def test_plurals() -> None:
    assert plural("cluster unreachable", 1) == "cluster unreachable"
    assert plural("cluster unreachable", 2) == "clusters unreachable"
    assert plural("run", 2) == "runs"

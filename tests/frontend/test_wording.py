"""The words, figures and times that pages say."""

import math
from datetime import UTC, datetime, timedelta

import pytest

from apps.core.states import Health
from apps.core.text import wording

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("word", "tone"),
    [
        *[(health, tone) for health, tone in zip(Health, ["ok", "warn", "go", "warn", "bad", "idle"], strict=True)],
        ("Pending", "idle"),
        ("Queued", "idle"),
        ("RUNNING", "go"),
        ("Succeeded", "ok"),
        ("Finished", "ok"),
        ("Failed", "bad"),
        ("Canceled", "idle"),
        ("Killed", "idle"),
        ("Lost", "bad"),
        ("Unreachable", "bad"),
        ("Disabled", "idle"),
        ("Ready", "ok"),
        ("rolled_back", "warn"),
        ("CrashLoopBackOff", "bad"),
        ("a word nobody knows", "idle"),
    ],
)
def test_every_state_has_a_tone_and_a_shape(word: str, tone: str) -> None:
    seen = wording.look_of(word)
    assert (seen.tone, bool(seen.icon)) == (tone, True)


def test_no_two_tones_share_a_shape_except_for_what_is_wrong() -> None:
    shapes: dict[str, set[str]] = {}
    for seen in set(wording._WORDS):
        shapes.setdefault(seen.icon, set()).add(seen.tone)
    shared = {shape: tones for shape, tones in shapes.items() if len(tones) > 1}
    assert shared == {"triangle-alert": {"warn", "bad"}, "circle-dashed": {"warn", "idle"}}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (2 * 1024**3, "2 GiB"),
        (11.5 * 1024**4, "11.5 TiB"),
        (None, "–"),
    ],
)
def test_bytes(value: float | None, text: str) -> None:
    assert wording.bytes_text(value) == text


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (250, "0.25"), (4000, "4"), (12500, "12.5"), (None, "–")])
def test_cpu(value: float | None, text: str) -> None:
    assert wording.cpu_text(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "3"),
        (12345, "12,345"),
        (0.41234567, "0.4123"),
        (0.0000123, "1.23e-05"),
        (1234.56, "1,234.6"),
        (math.inf, "∞"),
        (math.nan, "NaN"),
        (0.0, "0"),
    ],
)
def test_figures(value: float, text: str) -> None:
    assert wording.number_text(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.25, "250 ms"),
        (4, "4 s"),
        (65, "1 min 5 s"),
        (1080, "18 min"),
        (4335, "1 h 12 min"),
        (7200, "2 h"),
        (200_000, "2 d 7 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert wording.duration_text(seconds) == text
    assert wording.duration_text(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(-5, "0 s"), (59, "59 s"), (125, "2 min"), (90_000, "25 h"), (518_400, "6 d")]
)
def test_ages(seconds: int, text: str) -> None:
    assert wording.age_text(NOW - timedelta(seconds=seconds), NOW) == text


def test_a_share_stays_between_0_and_100_and_needs_a_whole() -> None:
    assert wording.percent(5, 4) == 100
    assert wording.percent(1, 4) == 25
    assert wording.percent(1, 0) is None
    assert wording.percent(None, 4) is None


def test_a_sparkline_fills_its_box_and_leaves_gaps_out() -> None:
    assert wording.sparkline_points([1.0]) == ""
    assert wording.sparkline_points([2.0, math.nan, 0.0], 96, 24) == "2.0,2.0 94.0,22.0"
    assert wording.sparkline_points([1.0, 1.0], 96, 24) == "2.0,2.0 94.0,2.0"

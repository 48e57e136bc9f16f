"""Levels and windows: pure arithmetic of time."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from apps.clusters.usage.levels import DAY, HOUR, LEVELS, MINUTE, STEPS_UP, TEN, Piece, floor, pieces


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-11-{text}:00+00:00")


def test_each_level_is_made_of_whole_windows_of_the_one_below_and_is_kept_longer_than_it_takes() -> None:
    for lower, upper in STEPS_UP:
        assert upper.step % lower.step == timedelta(0)
        assert lower.kept >= upper.step, "a window's parts are all there when it is made"
        assert not upper.kinds or not lower.kinds or set(upper.kinds) <= set(lower.kinds)
    for level in LEVELS:
        assert level.span % level.step == timedelta(0), "no window lies in two partitions"


def test_windows_begin_at_whole_days_and_hours_of_utc() -> None:
    moment = datetime(2026, 11, 25, 13, 47, 52, tzinfo=UTC)
    assert floor(moment, DAY.step) == datetime(2026, 11, 25, tzinfo=UTC)
    assert floor(moment, TEN.step) == datetime(2026, 11, 25, 13, 40, tzinfo=UTC)


ALL = {DAY: at("25T00:00"), HOUR: at("25T09:00"), TEN: at("25T09:20"), MINUTE: at("25T09:27")}


@pytest.mark.parametrize(
    ("start", "end", "rolled", "expected"),
    [
        (
            "22T22:00",
            "25T09:28",
            ALL,
            [
                Piece(HOUR, at("22T22:00"), at("23T00:00")),
                Piece(DAY, at("23T00:00"), at("25T00:00")),
                Piece(HOUR, at("25T00:00"), at("25T09:00")),
                Piece(TEN, at("25T09:00"), at("25T09:20")),
                Piece(MINUTE, at("25T09:20"), at("25T09:27")),
            ],
        ),
        ("25T08:00", "25T09:00", ALL, [Piece(HOUR, at("25T08:00"), at("25T09:00"))]),
        # The day is not rolled up yet: its hours are taken.
        ("24T00:00", "25T00:00", {HOUR: at("25T00:00")}, [Piece(HOUR, at("24T00:00"), at("25T00:00"))]),
        # Only minutes so far, on a system that was started minutes ago.
        ("24T09:00", "25T09:28", {MINUTE: at("25T09:27")}, [Piece(MINUTE, at("24T09:00"), at("25T09:27"))]),
        ("24T09:00", "25T09:28", {}, []),
        ("25T09:00", "25T09:00", ALL, []),
    ],
)
def test_the_fewest_rows_cover_a_period(start: str, end: str, rolled: dict, expected: list[Piece]) -> None:
    assert pieces(at(start), at(end), rolled) == expected


def test_nothing_is_counted_twice_and_nothing_is_left_out_up_to_the_newest_minute() -> None:
    for hours in range(1, 80):
        start = floor(at("25T09:28") - timedelta(hours=hours), HOUR.step)
        taken = pieces(start, at("25T09:28"), ALL)
        assert taken[0].start == start
        assert taken[-1].end == at("25T09:27")
        assert all(before.end == after.start for before, after in pairwise(taken))


def test_a_curve_takes_only_the_levels_that_it_asks_for() -> None:
    taken = pieces(at("24T09:20"), at("25T09:28"), ALL, (TEN, MINUTE))
    assert taken == [Piece(TEN, at("24T09:20"), at("25T09:20")), Piece(MINUTE, at("25T09:20"), at("25T09:27"))]

"""What a cluster says, made such that Postgres takes it and Python can read it back."""

from datetime import UTC, datetime
from typing import Any

import pytest

from apps.clusters.observed.values import cut, moment, time_or_none, time_text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), ("", ""), ("abcdef", "abcd"), (7, "7"), ("a\x00bcdef", "abcd"), ("\udfff", "?"), ("é😀", "é😀")],
)
def test_texts_are_cut_and_whole(value: Any, text: str) -> None:
    assert cut(value, 4) == text


@pytest.mark.parametrize(
    "value",
    [None, "", 7, [], {}, "infinity", "-infinity", "now", "yesterday", "2026-11-25", "2026-11-25T05:00:00",
     "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+12:00", "294000-01-01T00:00:00Z", "2026-13-01T00:00:00Z",
     # Go's zero time, the epoch that a runtime writes for what never began, and a clock that knows no better.
     "0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "1970-01-01T01:00:00+01:00", "1970-01-01T00:03:07Z"],
)  # fmt: skip
def test_what_is_no_time_is_none(value: Any) -> None:
    assert moment(value) is None and time_text(value) is None and time_or_none(value) is None


def test_times_are_read_with_their_zone() -> None:
    assert moment("2026-11-25T05:00:00Z") == datetime(2026, 11, 25, 5, tzinfo=UTC)
    assert moment("2026-11-25T05:00:00.123456+01:00") == datetime(2026, 11, 25, 4, 0, 0, 123456, tzinfo=UTC)
    assert time_text("2026-11-25T05:00:00Z") == "2026-11-25T05:00:00+00:00"
    assert time_or_none("2026-11-25T05:00:00Z") == "2026-11-25T05:00:00Z"

"""A whole number out of text is one, or none: no other script's digits, no sign, and no more digits than fit."""

import pytest

from apps.core.text.numbers import BIGINT_DIGITS, whole


@pytest.mark.parametrize(
    ("text", "digits", "number"),
    [
        ("0", 9, 0), ("007", 9, 7), ("999999999", 9, 999_999_999), ("1000000000", 9, None), ("17", 1, None),
        ("9" * 18, BIGINT_DIGITS, 10**18 - 1), ("9" * 19, BIGINT_DIGITS, None), ("9" * 5000, BIGINT_DIGITS, None),
        ("", 9, None), (" 1", 9, None), ("+1", 9, None), ("-1", 9, None), ("1_0", 9, None), ("1.0", 9, None),
        ("²", 9, None), ("٣", 9, None), ("１", 9, None), ("1\n", 9, None),
    ],
)  # fmt: skip
def test_only_few_ascii_digits_are_a_number(text: str, digits: int, number: int | None) -> None:
    assert whole(text, digits) == number

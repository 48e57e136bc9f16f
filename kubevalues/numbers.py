"""Whole numbers out of text, as Go reads them. Python also takes `1_000`, ` 7 ` and the digits of other scripts."""

from __future__ import annotations

import re

_WHOLE = re.compile(r"[+-]?[0-9]+")
#: Longer ones are out of range, and slow to read.
_LONGEST = 32


def is_whole(text: str) -> bool:
    """Does the text say a whole number of any size?"""
    return _WHOLE.fullmatch(text) is not None


def whole(text: str) -> int | None:
    """The number that a text says; None when it says none, or one that 64 bits don't hold."""
    if len(text) > _LONGEST or not is_whole(text):
        return None
    number = int(text)
    return number if -(2**63) <= number < 2**63 else None

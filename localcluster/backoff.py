"""The growth that all back-offs of the local cluster share. Pure."""

from __future__ import annotations

#: First pauses are far more than 2**-60 of the longest. A power of what was counted, however high, overflows a float.
_MOST_DOUBLINGS = 60


def doubled(first: float, times: int, longest: float) -> float:
    """`first` seconds, doubled that many times, at most `longest`. Raises nothing, however often it failed."""
    return min(first * 2.0 ** min(max(times, 0), _MOST_DOUBLINGS), longest)

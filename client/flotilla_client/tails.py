"""Following a log of which only the end can be had: what of it is new. Pure."""

from collections.abc import Sequence


def news(before: Sequence[str], now: Sequence[str]) -> Sequence[str]:
    """The lines of `now` that are not in `before`: both are the end of the same log, `now` a later one.

    What scrolled past between the two can't be told: where they share nothing, all of `now` is new.
    """
    for shared in range(min(len(before), len(now)), 0, -1):
        if before[len(before) - shared :] == now[:shared]:
            return now[shared:]
    return now


def whole_lines(text: str, *, ended: bool) -> list[str]:
    """The lines, without a last one that is still being written."""
    lines = text.splitlines()
    return lines if ended or not text or text.endswith("\n") else lines[:-1]

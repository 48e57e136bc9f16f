"""Range requests (RFC 9110, section 14). Pure."""

import re

_RANGE = re.compile(r"\s*bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", re.ASCII | re.IGNORECASE)


class UnsatisfiableError(Exception):
    """The range begins beyond the end."""


def wanted(header: str, size: int) -> tuple[int, int] | None:
    """The part of `size` bytes that a Range header asks for, from the first to before the second; None for all.

    All is also the answer to what is malformed, of another unit, or several ranges at once: RFC 9110 lets a server
    ignore them. Raises UnsatisfiableError.
    """
    match = _RANGE.fullmatch(header)
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        start, end = max(size - int(last), 0), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    if start >= size or end <= start:
        raise UnsatisfiableError
    return start, end

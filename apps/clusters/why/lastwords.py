"""The line of a log's end that says why a process ended. Pure."""

import re

# Where Python lists what its threads were at, below what it ended with.
# https://docs.python.org/3/library/faulthandler.html
_TRACES = re.compile(r"^(?:Current thread|Thread) 0x[0-9a-f]+\b.*\(most recent call first\):\s*$", re.MULTILINE)


def last_line(text: str) -> str:
    """The last line with something in it, before the traces of a process that a signal or a fatal error ended."""
    traces = _TRACES.search(text)
    before = text[: traces.start()] if traces else ""
    lines = (before.strip() or text.strip()).splitlines()
    return lines[-1].strip() if lines else ""

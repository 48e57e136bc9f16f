"""Windows of time as people type them, one a line: `fri 18:00 to mon 08:00 Europe/Berlin # weekend`.

A window that has numbers of replicas says them behind `=`: `20:00 to 06:00 Europe/Berlin = 1-2 # night`.
"""

import re
from typing import Any

from django.forms import ValidationError

from apps.deployments.rollout.windows import Window
from apps.deployments.scaling.schedule import Slot

_WINDOW = re.compile(r"(?P<begins>.+?)\s+(?:to|until|–|-)\s+(?P<rest>.+)")
_END = re.compile(
    r"(?P<ends>(?:\d{4}-\d{2}-\d{2}[ t]|[a-z]{3} )?\d{1,2}:\d{2})(?:\s+(?P<zone>[A-Za-z_]+(?:/[A-Za-z0-9_+/-]+)?))?"
    r"(?:\s*#\s*(?P<name>.*))?",
    re.IGNORECASE,
)
_COUNTS = re.compile(r"(?P<least>\d{1,9})?\s*(?P<dash>[-–])?\s*(?P<most>\d{1,9})?")


def window_of(line: str) -> dict[str, str]:
    """The window of a line, as services take it; they read the times. Raises ValidationError where it is none."""
    found = _WINDOW.fullmatch(line)
    end = _END.fullmatch(found["rest"]) if found else None
    if found is None or end is None:
        raise ValidationError(f"{line[:100]!r} is no window: write “fri 18:00 to mon 08:00 Europe/Berlin”.")
    said = {"from": found["begins"], "until": end["ends"], "time_zone": end["zone"], "name": end["name"]}
    return {name: value for name, value in said.items() if value}


def slot_of(line: str) -> dict[str, Any]:
    """The same with its numbers: `= 0`, `= 1-2`, `= 5-` for five at least, `= -2` for two at most."""
    text, hashed, name = line.partition("#")
    when, equals, numbers = text.partition("=")
    counts = _COUNTS.fullmatch(numbers.strip())
    if not equals or counts is None or not (counts["least"] or counts["most"]):
        raise ValidationError(f"{line[:100]!r}: how many replicas? Write “= 0”, or “= 1-2”, behind the window.")
    window = window_of(f"{when.strip()}{f' # {name.strip()}' if hashed else ''}")
    if not counts["dash"]:
        return {**window, "replicas": int(counts["least"])}
    said = {"min": counts["least"], "max": counts["most"]}
    return {**window, **{name: int(count) for name, count in said.items() if count}}


def line_of(window: Window, counts: str = "") -> str:
    """The line that `window_of` reads, or with `counts` the one that `slot_of` does."""
    numbers, name = f" = {counts}" if counts else "", f" # {window.name}" if window.name else ""
    return f"{window.begins} to {window.ends} {window.time_zone}{numbers}{name}"


def slot_line(slot: Slot) -> str:
    """The line that `slot_of` reads."""
    if slot.least == slot.most:
        return line_of(slot.window, str(slot.least))
    return line_of(slot.window, "-".join("" if count is None else str(count) for count in (slot.least, slot.most)))

"""What a cluster says, as Postgres can hold it and pages can read it. Pure.

Postgres takes "infinity" and the year 200000 for times, which Python can't read back.
"""

from datetime import datetime
from typing import Any

from apps.core.jsontext import whole


def cut(value: Any, length: int) -> str:
    """At most so many characters of a text; "" for None and other nothings."""
    return whole(value or "")[:length]


def moment(value: Any) -> datetime | None:
    """A time as Kubernetes writes it (RFC 3339); None for nothing or nonsense."""
    if not isinstance(value, str):
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return None
    # Nothing here is as old or as far as this; at the ends of the calendar time zones can't be reckoned with.
    return found if found.tzinfo and 1970 <= found.year <= 9000 else None


def time_text(value: Any) -> str | None:
    """The same as a text."""
    found = moment(value)
    return found.isoformat() if found else None

"""A cluster's values in a form that Postgres can hold and pages can read. Pure.

Postgres takes "infinity" and the year 200000 for times, which Python can't read back.
"""

from datetime import datetime
from typing import Any

from apps.core.text.jsontext import whole

# Kubernetes is younger than this. What is older is Go's zero time, or the epoch that a runtime writes for "never".
FIRST_YEAR = 2014
# So much of any message is kept.
MESSAGE = 4000


def cut(value: Any, length: int) -> str:
    """At most so many characters of a text; "" for None and other nothings."""
    return whole(value or "")[:length]


def moment(value: Any) -> datetime | None:
    """A time as Kubernetes writes it (RFC 3339); None for nothing, for nonsense, and for a zero time."""
    if not isinstance(value, str):
        return None
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        return None
    # Nothing here is as far ahead as this; at the end of the calendar time zones can't be reckoned with.
    return time if time.tzinfo and FIRST_YEAR <= time.year <= 9000 else None


def time_text(value: Any) -> str | None:
    """The same moment as a text in ISO 8601; None where there is none."""
    time = moment(value)
    return time.isoformat() if time else None


def time_or_none(value: Any) -> str | None:
    """The text itself where it is a time."""
    return value if moment(value) else None

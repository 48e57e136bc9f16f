"""Milliseconds since the epoch, as clients send and expect times, and back. Pure."""

from datetime import UTC, datetime


def millis(moment: datetime | None) -> int:
    """Milliseconds since the epoch; 0, protobuf's "absent", for None."""
    return round(moment.timestamp() * 1000) if moment else 0


def moment(milliseconds: int) -> datetime | None:
    """The inverse; None for 0 and for what no calendar holds."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds > 0 else None
    except (OverflowError, ValueError, OSError):
        return None

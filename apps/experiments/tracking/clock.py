"""Milliseconds since the epoch, as clients send and expect times, and back. Pure."""

from datetime import UTC, datetime, timedelta

EPOCH = datetime.fromtimestamp(0, UTC)


def millis(moment: datetime | None) -> int:
    """The millisecond that the moment lies in, since the epoch; 0, protobuf's "absent", for None."""
    return (moment - EPOCH) // timedelta(milliseconds=1) if moment else 0


def moment(milliseconds: int) -> datetime | None:
    """The inverse; None for 0 and for what no calendar holds."""
    try:
        return EPOCH + timedelta(milliseconds=milliseconds) if milliseconds else None
    except OverflowError:
        return None

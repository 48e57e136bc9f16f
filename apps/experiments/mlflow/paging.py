"""Pages of searches: the token is an offset, opaque to clients."""

import base64
import binascii
from typing import Any

from django.db.models import QuerySet

from apps.core.errors import Invalid
from apps.experiments.mlflow.wire import Call


def bounds(call: Call, *, default: int, most: int) -> tuple[int, int]:
    """The offset and the size of the page asked for. Raises Invalid."""
    size = call.integer("max_results", default) or default
    if not 1 <= size <= most:
        raise Invalid(f"Invalid value for parameter 'max_results' supplied: it must be 1 to {most}, got {size}.")
    text = call.text("page_token")
    if not text:
        return 0, size
    try:
        offset = int(base64.urlsafe_b64decode(text.encode()))
    except (ValueError, binascii.Error, UnicodeEncodeError) as error:
        raise Invalid("Invalid page token: pass on what the last page said.") from error
    if not 0 <= offset < 2**40:
        raise Invalid("Invalid page token: pass on what the last page said.")
    return offset, size


def next_token(offset: int) -> dict[str, str]:
    """The part of the answer that leads to the next page."""
    return {"next_page_token": base64.urlsafe_b64encode(str(offset).encode()).decode()}


def page_of(rows: QuerySet[Any, Any], call: Call, *, default: int, most: int) -> tuple[list[Any], dict[str, str]]:
    """The page that the call asks for, and the token of the next one where there is more."""
    offset, size = bounds(call, default=default, most=most)
    found = list(rows[offset : offset + size + 1])
    return found[:size], next_token(offset + size) if len(found) > size else {}

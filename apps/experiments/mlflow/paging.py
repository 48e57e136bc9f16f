"""Pages of searches: how large, and the token that leads to the next."""

from apps.core.database import keyset
from apps.core.database.keyset import Page, Part
from apps.experiments.mlflow.wire import Ask
from apps.experiments.tracking.arguments import wrong


def size_of(call: Ask, *, default: int, most: int) -> int:
    """How many rows the page has that is asked for. Raises Invalid."""
    size = call.integer("max_results", default)
    if size is None or not 1 <= size <= most:
        raise wrong("max_results", size, f"It must be 1 to {most}.")
    return size


def page_of(part: Part, call: Ask, size: int) -> Page:
    """The page that the call asks for. Raises Invalid for a token of another search."""
    return keyset.page([part], size, call.text("page_token"))


def token(page: Page) -> dict[str, str]:
    """The part of the answer that leads to the next page."""
    return {"next_page_token": page.next} if page.next else {}

"""Pages by keyset for people: with the numbers of the rows shown, and links as those to Django's pages.

`?page=51.<token>` says where the page begins and what it is to be counted from. Rows that come meanwhile make the
number a little wrong, and nothing else.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from apps.core.database.keyset import Page
from apps.core.errors import Invalid
from apps.core.text.numbers import BIGINT_DIGITS, whole

T = TypeVar("T")


@dataclass(frozen=True)
class Total:
    """How many rows there are in all."""

    count: int


@dataclass(frozen=True)
class NumberedPage(Generic[T]):
    """A page as `{% pagination %}` and tables want it of Django; `first` is the number of the first row, from 1."""

    object_list: list[T]
    total: int
    first: int = 1
    size: int = 1
    previous: str = ""
    next: str = ""

    def __iter__(self) -> Iterator[T]:
        return iter(self.object_list)

    def __len__(self) -> int:
        return len(self.object_list)

    @property
    def paginator(self) -> Total:
        """How many there are."""
        return Total(self.total)

    @property
    def has_previous(self) -> bool:
        """Whether there are rows before these."""
        return bool(self.previous)

    @property
    def has_next(self) -> bool:
        """Whether there are rows after these."""
        return bool(self.next)

    @property
    def has_other_pages(self) -> bool:
        """Whether these are not all."""
        return self.has_previous or self.has_next

    @property
    def start_index(self) -> int:
        """The number of the first row; 0 where there is none."""
        return self.first if self.object_list else 0

    @property
    def end_index(self) -> int:
        """The number of the last row."""
        return self.first + len(self.object_list) - 1 if self.object_list else 0

    @property
    def previous_page_number(self) -> str:
        """The value of `?page=` for the page before."""
        return f"{max(1, self.first - self.size)}.{self.previous}"

    @property
    def next_page_number(self) -> str:
        """The value of `?page=` for the page after."""
        return f"{self.first + len(self.object_list)}.{self.next}"


def page_at(wanted: str, size: int, find: Callable[[int, str], Page]) -> tuple[Page, int]:
    """The page that `?page=` names, and the number of its first row; the first page where it names none.

    So also where nothing is left behind that place, and where so few rows are before it that they are the first ones.
    """
    number, _, token = wanted.partition(".")
    first = whole(number, BIGINT_DIGITS)
    if first is None or not token:
        return find(size, ""), 1
    try:
        page = find(size, token)
    except Invalid:
        return find(size, ""), 1
    if not page.rows or not page.previous:
        return find(size, ""), 1
    return page, first

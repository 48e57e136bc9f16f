"""Pages by keyset for people: with the numbers of the rows shown, and links as those to Django's pages.

`?page=51.<token>` says where the page begins and what it is to be counted from. Rows that come meanwhile make the
number a little wrong, and nothing else.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from apps.core.database.keyset import Page
from apps.core.errors import Invalid
from apps.core.text.numbers import BIGINT_DIGITS, whole

T = TypeVar("T")
Find = Callable[[int, str], Page]
"""The page of so many rows that a token leads to; raises Invalid for a token of another list."""


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
    is_there: bool = True
    """Whether it is the page that the address names, not the first one in its place."""

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


def page_at(wanted: str, size: int, find: Find, shown: Callable[[list[Any]], list[T]], total: int) -> NumberedPage[T]:
    """The page that `?page=` names, of `total` rows; the first one where it names none.

    So also where nothing is left behind that place, and where so few rows are before it that they are the first ones.
    """
    number, _, token = wanted.partition(".")
    first = whole(number, BIGINT_DIGITS)
    page, is_there = page_or_first(token if first else "", size, find)
    if token and is_there and not page.previous:
        page = find(size, "")
    number_of_first = first if first and page.previous else 1
    return NumberedPage(shown(page.rows), total, number_of_first, size, page.previous, page.next, is_there)


def page_or_first(token: str, size: int, find: Find) -> tuple[Page, bool]:
    """The page that a token leads to, and whether it is there: else it is the first one."""
    if not token:
        return find(size, ""), True
    with contextlib.suppress(Invalid):
        page = find(size, token)
        if page.rows:
            return page, True
    return find(size, ""), False

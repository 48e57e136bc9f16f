"""The parameters that a page takes in its address, as each view declares them: `@page(takes=...)`.

REST refuses an address that it does not understand. A page is opened by people, from links that may be old or typed: it
leaves out what it does not understand, shows itself without it, and says so above, with what it would have understood.
What is left out is gone before the view is asked, so that no view decides for itself, and no link carries it on.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.core.paginator import Page, Paginator
from django.http import HttpRequest, QueryDict

from apps.core.database.keyset import is_token
from apps.core.errors import Invalid
from apps.core.text.numbers import BIGINT_DIGITS, whole

# So many of the words that are understood are told, and so much of one that is not.
_TOLD, _SHOWN = 12, 60
# What pages are asked by beside their own: a part of one, and where one was when it was fetched.
_EVERYWHERE = frozenset({"part", "next"})


@dataclass(frozen=True)
class Takes:
    """A parameter: some words, or whatever `fits`. `otherwise` says what it is where no list of words does."""

    words: tuple[str, ...] = ()
    fits: Callable[[str], bool] | None = None
    otherwise: str = ""

    def understands(self, value: str) -> bool:
        """Whether a value means something; an empty one is as none."""
        if not value or not (self.words or self.fits):
            return True
        return value in self.words or (self.fits is not None and self.fits(value))


@dataclass(frozen=True)
class Unread:
    """A part of an address that was left out: a value of a parameter, or, without one, a parameter nobody knows.

    `said` is the sentence where a value is understood, but means nothing here.
    """

    name: str
    value: str
    known: tuple[str, ...] = ()
    otherwise: str = ""
    said: str = ""

    @property
    def sentence(self) -> str:
        """What was left out."""
        if self.said:
            return self.said
        if not self.value:
            return f"“{self.name[:_SHOWN]}” is not something that this page can be asked by."
        return f"“{self.value[:_SHOWN]}” is not understood as “{self.name}”."

    @property
    def hint(self) -> str:
        """What would have been understood."""
        if self.otherwise or not self.known:
            return self.otherwise
        rest = len(self.known) - _TOLD
        return f"Known are: {', '.join(self.known[:_TOLD])}{f' and {rest} more' if rest > 0 else ''}."


def _is_order(words: Collection[str]) -> Callable[[str], bool]:
    return lambda value: value.removeprefix("-") in words


def _is_number(value: str) -> bool:
    return (whole(value, BIGINT_DIGITS) or 0) > 0


def _is_place(value: str) -> bool:
    number, _, token = value.partition(".")
    return _is_number(number) and is_token(token)


def words(known: Iterable[Any]) -> Takes:
    """One of some words."""
    return Takes(tuple(map(str, known)))


def order(known: Iterable[Any], fits: Callable[[str], bool] | None = None) -> Takes:
    """A column that a list is sorted by, the other way round with a "-" before it; or one that `fits`."""
    named = words(known).words
    by_name = _is_order(named)
    return Takes(named, lambda value: by_name(value) or (fits is not None and fits(value.removeprefix("-"))))


TEXT = Takes()
NUMBER = Takes(fits=_is_number, otherwise="It is a whole number.")
PAGE = Takes(fits=_is_number, otherwise="The first page is shown.")
# Of a list by keyset.
PLACE = Takes(fits=_is_place, otherwise="The first page is shown.")
TOKEN = Takes(fits=is_token, otherwise="The first page is shown.")


def understood(query: QueryDict, takes: Mapping[str, Takes]) -> tuple[QueryDict, list[Unread]]:
    """The parameters that a page understands, and those that it does not."""
    kept, unread = query.copy(), list[Unread]()
    for name, values in query.lists():
        if name in _EVERYWHERE:
            continue
        if name not in takes:
            unread.append(Unread(name, "", tuple(sorted(takes))))
            del kept[name]
            continue
        one = takes[name]
        good = [value for value in values if one.understands(value)]
        unread += [Unread(name, value, one.words, one.otherwise) for value in values if value not in good]
        if len(good) < len(values):
            kept.setlist(name, good) if good else kept.pop(name)
    kept._mutable = False
    return kept, unread


def read(request: HttpRequest, takes: Mapping[str, Takes]) -> None:
    """Leave in the request what the page understands, and remember what it does not, for `unread_of`."""
    query, unread = understood(request.GET, takes)
    request.GET = query  # type: ignore[assignment] # it is immutable by now
    unread_of(request).extend(unread)


def demand(request: HttpRequest, takes: Mapping[str, Takes]) -> None:
    """Refuse an address that is not understood as a whole: who fetches a file reads no notice.

    Raises Invalid.
    """
    for unread in understood(request.GET, takes)[1]:
        raise Invalid(unread.sentence, hint=unread.hint, field=unread.name[:_SHOWN])


def gone(value: str) -> Unread:
    """The page of a list by keyset where nothing is left behind its place, or the place is one of another list."""
    said = "The page of the list that the address names is not there."
    return Unread("page", value, otherwise=TOKEN.otherwise, said=said)


def leave_out(request: HttpRequest, unread: Iterable[Unread], instead: str = "") -> None:
    """Leave out values that only the data could tell to be wrong, and remember them, for `unread_of`.

    `instead` stands in the address from now on where they stood.
    """
    kept = request.GET.copy()
    for each in unread:
        values = [value for value in kept.getlist(each.name) if value != each.value]
        values += [instead] if instead else []
        kept.setlist(each.name, values) if values else kept.pop(each.name, None)
        unread_of(request).append(each)
    kept._mutable = False
    request.GET = kept  # type: ignore[assignment] # it is immutable by now


def page_of(request: HttpRequest, rows: Any, size: int, name: str = "page") -> Page[Any]:
    """The page of rows that `?page=` asks for, or that parameter `name`; beyond the end the last one, and it is said.

    Its rows may have gone since the link was made. A part of a page that is fetched again says nothing.
    """
    pages = Paginator(rows, size)
    number = whole(request.GET.get(name, ""), BIGINT_DIGITS) or 1
    if number > (last := pages.num_pages):
        there = f"There are {last} pages: the last one is shown." if last > 1 else "There is one page only."
        beyond = Unread(name, request.GET[name], otherwise=there, said=f"There is no page {number} of this list.")
        leave_out(request, [beyond], instead=str(last) if last > 1 else "")
    return pages.get_page(number)


def unread_of(request: HttpRequest) -> list[Unread]:
    """What of the address was left out so far."""
    unread: list[Unread] = request.__dict__.setdefault("unread", [])
    return unread

"""A page of a list that is not there: it is told, another one is shown, and links lead from that one."""

import pytest
from django.http import QueryDict
from django.test import RequestFactory

from apps.core.pages.asked import page_of, unread_of


@pytest.mark.parametrize(
    ("query", "rows", "shown", "address", "said"),
    [
        ("", 5, 1, "", ""),
        ("page=3&q=a", 5, 3, "page=3&q=a", ""),
        ("page=4&q=a", 5, 3, "page=3&q=a", "page 4 of this list. There are 3 pages: the last one is shown."),
        ("page=99", 2, 1, "", "page 99 of this list. There is one page only."),
        ("page=2", 0, 1, "", "page 2 of this list. There is one page only."),
        ("page=1", 0, 1, "page=1", ""),
    ],
)
def test_a_page_beyond_the_end_is_the_last_one_and_it_is_told(
    query: str, rows: int, shown: int, address: str, said: str
) -> None:
    request = RequestFactory().get(f"/?{query}")
    assert page_of(request, range(rows), 2).number == shown
    assert QueryDict(address) == request.GET
    assert " ".join(f"{each.sentence} {each.hint}" for each in unread_of(request)) == (said and f"There is no {said}")

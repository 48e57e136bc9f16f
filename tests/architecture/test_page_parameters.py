"""What pages are asked by address: what they don't understand they leave out and say; their own links they do."""

import html
import re
from collections.abc import Iterator, Mapping
from urllib.parse import urlencode, urlsplit

import pytest
from django.http import QueryDict
from django.test import Client
from django.urls import resolve

from apps.core.pages.asked import PAGE, PLACE, TEXT, TOKEN, Takes, order, understood, words
from tests.architecture import world
from tests.architecture.calls import PAGES

NOTICE = re.compile(r'<div class="notice warn" id="unread".*?</div></div>', re.DOTALL)
# Parameters of fragments that a page fetches, of files, and of forms that open another page filled in.
ELSEWHERE = re.compile(r"/(place|_rail|usage|namespaces|table\.csv|new|edit|logs|check|password|search)/?$|^/_mlflow")


@pytest.mark.parametrize(
    ("query", "kept", "left_out"),
    [
        ("sort=name&q=a", "sort=name&q=a", []),
        ("sort=-name", "sort=-name", []),
        ("sort=--name", "", [("sort", "--name")]),
        ("sort=bogus&q=a", "q=a", [("sort", "bogus")]),
        ("state=Gone&state=Healthy", "state=Healthy", [("state", "Gone")]),
        ("stat=Healthy", "", [("stat", "")]),
        ("page=51.WzAsMCwxXQ&part=rows", "page=51.WzAsMCwxXQ&part=rows", []),
        ("page=51", "", [("page", "51")]),
        ("page=x.WzAsMCwxXQ", "", [("page", "x.WzAsMCwxXQ")]),
        ("page=51.%FF", "", [("page", "51.\N{REPLACEMENT CHARACTER}")]),
        ("page=&sort=", "page=&sort=", []),
    ],
)
def test_what_an_address_asks_is_understood_or_left_out(query: str, kept: str, left_out: list[tuple[str, str]]) -> None:
    takes = {"q": TEXT, "sort": order(["name"]), "state": words(["Healthy"]), "page": PLACE}
    rest, unread = understood(QueryDict(query), takes)
    assert (rest.urlencode(), [(each.name, each.value) for each in unread]) == (kept, left_out)
    assert all(each.sentence and each.hint for each in unread)


def _asked_by(text: str, path: str) -> Iterator[tuple[str, str]]:
    """The names and values with which a page leads to itself: by links, and by forms, whose fields are empty here."""
    main = text.partition("<main")[2].partition("</main>")[0]
    for link in re.findall(r'href="([^"]*\?[^"]*)"', main):
        at = urlsplit(html.unescape(link))
        if at.path in ("", path) and not at.netloc:
            yield from QueryDict(at.query).items()
    for form in re.findall(r'<form[^>]*method="get".*?</form>', main, re.DOTALL):
        action = re.match(r'<form[^>]*action="([^"]*)"', form)
        if action is None or html.unescape(action[1]) == path:
            yield from ((name, "") for name in re.findall(r'<(?:input|select)[^>]* name="([^"]+)"', form))


@pytest.mark.django_db
def test_every_page_says_what_of_its_address_it_does_not_understand_and_understands_its_own_links() -> None:
    made = world.small()
    client = Client()
    client.force_login(made.person)
    walked: dict[str, set[str]] = {}
    lists = 0
    for ask in PAGES:
        path, _, query = made.fill(ask.path).partition("?")
        takes: Mapping[str, Takes] | None = resolve(path).func.takes  # type: ignore[attr-defined]
        if ELSEWHERE.search(path) or "part=" in query:
            _leads_to_its_page(client, path, query)
            continue
        shown = client.get(f"{path}?{query}").content.decode()
        own = list(_asked_by(shown, path))
        assert takes is not None or not own, (path, "declares nothing, and leads to itself with", own)
        if takes is None:
            continue
        for name, value in own:
            _, unread = understood(QueryDict(urlencode({name: value})), takes)
            assert unread == [] or name == "part", (path, [each.sentence for each in unread])
        assert NOTICE.search(shown) is None, (path, query)
        if path not in walked:
            walked[path] = {name for name, one in takes.items() if one is not TEXT}
            _asks_nonsense(client, path, takes)
            lists += _asks_beyond(client, path, takes)
    assert len(walked) > 12 and lists > 9
    assert set().union(*walked.values()) > {"sort", "page", "state", "view", "by", "kind"}


def _leads_to_its_page(client: Client, path: str, query: str) -> None:
    """Who opens a fragment comes to the page that it is of, which understands what the fragment was asked."""
    opened = client.get(f"{path}?{query}", headers={"Accept": "text/html"})
    if opened.status_code == 302:
        at = urlsplit(opened["Location"])
        takes = resolve(at.path).func.takes  # type: ignore[attr-defined]
        assert takes is None or understood(QueryDict(at.query), takes)[1] == [], (path, query, opened["Location"])


def _asks_nonsense(client: Client, path: str, takes: Mapping[str, Takes]) -> None:
    """All at once: one look at each page."""
    narrow = {name: one for name, one in takes.items() if one is not TEXT}
    answer = client.get(f"{path}?{urlencode(dict.fromkeys([*narrow, 'nonsense'], 'bogus'))}")
    text = answer.content.decode()
    told = NOTICE.search(text)
    assert answer.status_code == 200 and told is not None, path
    said = html.unescape(told[0])
    for name, known in {**{name: one.words for name, one in narrow.items()}, "nonsense": sorted(takes)}.items():
        assert f"“{name}”" in said and all(word in said for word in known[:12]), (path, name, said)
    assert "bogus" not in text.replace(told[0], ""), (path, "is left out of every link")


def _asks_beyond(client: Client, path: str, takes: Mapping[str, Takes]) -> bool:
    """Pages of its lists that are not there; whether the page has such lists."""
    beyond = {id(PAGE): "987", id(PLACE): "987.WzcsMCwxXQ", id(TOKEN): "WzcsMCwxXQ"}
    asks = {name: beyond[id(one)] for name, one in takes.items() if id(one) in beyond}
    if not asks:
        return False
    text = client.get(f"{path}?{urlencode(asks)}").content.decode()
    told = NOTICE.search(text)
    assert told is not None, (path, asks, "a page that is not there is told")
    said = html.unescape(told[0])
    assert said.count("There is no page 987") + said.count("is not there") == len(asks), (path, asks, said)
    rest = text.replace(told[0], "")
    assert not any(f"{name}={value}" in rest for name, value in asks.items()), (path, "is left out of every link")
    return True

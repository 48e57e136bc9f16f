"""Addresses of a page with other parameters: filters, order and paging live in the URL."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from django.http import HttpRequest, QueryDict


class Tag(NamedTuple):
    """A label as a link that filters by it."""

    value: str
    text: str
    url: str


def address(request: HttpRequest, **changes: Any) -> str:
    """This page's address with parameters changed; None or [] takes one away. Paging begins anew."""
    params: QueryDict = request.GET.copy()
    for name in ("part", "page", *changes):
        params.pop(name, None)
    for name, value in changes.items():
        if value not in (None, "", []):
            params.setlist(name, value if isinstance(value, list) else [str(value)])
    return f"?{params.urlencode()}"


def kept(request: HttpRequest, *own: str) -> list[tuple[str, str]]:
    """The parameters of the address besides the fields of a form, its `own`: the form sends them along, so that
    nothing else on the page changes."""
    return [
        (name, value) for name, values in request.GET.lists() if name not in {"part", *own} for value in values if value
    ]


class Labels:
    """Links of labels: `param` holds those that are chosen. Each address is made once, however many rows carry it."""

    def __init__(self, request: HttpRequest, chosen: Sequence[str], param: str = "label") -> None:
        self._request, self._chosen, self._param = request, list(chosen), param
        self._made: dict[str, str] = {}

    def tags(self, labels: Mapping[str, Any]) -> list[Tag]:
        """The labels, each with the address that filters by it, too."""
        return [
            Tag(str(value) or key, f"{key}={value}", self._adding(f"{key}={value}")) for key, value in labels.items()
        ]

    def chips(self) -> list[Tag]:
        """The chosen labels, each with the address without it."""
        return [
            Tag(text, text, address(self._request, **{self._param: [each for each in self._chosen if each != text]}))
            for text in self._chosen
        ]

    def _adding(self, text: str) -> str:
        if text not in self._made:
            chosen = list(dict.fromkeys([*self._chosen, text]))
            self._made[text] = address(self._request, **{self._param: chosen})
        return self._made[text]

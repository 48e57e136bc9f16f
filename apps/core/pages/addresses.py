"""Addresses on pages. A name goes into a path by `reverse` or `{% url %}`, into a query by `urlencode`; both quote it.
This module does so for the rest: the page's own address, and names in which a browser would see folders."""

import contextlib
import re

from django.http import HttpRequest, QueryDict
from django.urls import Resolver404, resolve
from django.utils.encoding import escape_uri_path

# Between slashes, alone: browsers and proxies would go up with it, however it is quoted.
_DOTS = re.compile(r"~*\.{1,2}")


def own_address(request: HttpRequest, query: QueryDict | None = None) -> str:
    """The address of the page that is asked for, with another query. Django hands its path over unquoted."""
    path = escape_uri_path(request.path)
    return f"{path}?{query.urlencode()}" if query else path


def page_above(path: str) -> str:
    """The address nearest above `path` (unquoted, as Django hands it over) that something answers to, quoted."""
    while path != "/":
        path = path.rstrip("/").rpartition("/")[0]
        # `runs/new` is a page beside `runs/<uid>/`, whose pattern would take "new" for a run.
        for page in (path, f"{path}/"):
            with contextlib.suppress(Resolver404):
                resolve(page or "/")
                return escape_uri_path(page or "/")
        path += "/"
    return "/"


class NamePath:
    """A path converter for names that may hold anything, slashes included: `a/../b` stands there as `a/~../b`."""

    regex = ".+"

    def to_python(self, value: str) -> str:
        """The name in the path."""
        return "/".join(part[1:] if part[0:1] == "~" and _DOTS.fullmatch(part) else part for part in value.split("/"))

    def to_url(self, value: str) -> str:
        """The name as a path says it."""
        return "/".join(f"~{part}" if _DOTS.fullmatch(part) else part for part in value.split("/"))

"""The base of every page: somebody is signed in, the project is checked, fragments are parts of the page."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, Concatenate, ParamSpec, overload
from urllib.parse import urlsplit, urlunsplit

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.template import TemplateDoesNotExist
from django.urls import NoReverseMatch, reverse

from apps.core.access import Principal, principal_of, project_or_404
from apps.core.errors import Missing
from apps.core.models import Project
from apps.core.pages import asked
from apps.core.pages.addresses import own_address
from apps.core.pages.once import once
from apps.core.states import Role

P = ParamSpec("P")
# What a browser accepts that goes to an address; a script that fetches a part accepts anything.
_HTML = "text/html"


class PageRequest(HttpRequest):
    """A request that passed `page`: the caller is known, and so is the project where the URL names one."""

    principal: Principal
    project: Project | None


Shown = Callable[..., HttpResponseBase]
View = Callable[Concatenate[PageRequest, P], HttpResponseBase]


@overload
def page(view: View[P]) -> Shown: ...
@overload
def page(
    *,
    at_least: Role = Role.VIEWER,
    writes: Role | None = None,
    part_of: str = "",
    acts_once: bool = False,
    takes: Mapping[str, asked.Takes] | None = None,
) -> Callable[[View[P]], Shown]: ...
def page(
    view: View[P] | None = None,
    *,
    at_least: Role = Role.VIEWER,
    writes: Role | None = None,
    part_of: str = "",
    acts_once: bool = False,
    takes: Mapping[str, asked.Takes] | None = None,
) -> Any:
    """Decorate a view: sign-in needed; a `project` in the URL is checked with role `at_least`.

    POST, PUT, PATCH and DELETE need `writes` (a developer, unless told otherwise). The view receives the Project
    in place of its name. Who opens a part of a page by its own address is sent to the page: the same address without
    `?part=`, or `part_of`, the name of the URL whose page fetches what this view answers; its parameters are the first
    of the view's own. What it makes would be made twice by a form that is sent twice: `acts_once` prevents that.
    `takes` are the parameters of its address: what of an address is none of them is left out, and told (`asked`).
    """

    def decorate(inner: View[P]) -> Callable[..., HttpResponseBase]:
        @functools.wraps(inner)
        def wrapped(request: PageRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            request.principal = principal_of(request)
            if not request.principal.is_authenticated:
                if request.headers.get("HX-Request"):
                    return HttpResponse(status=401, headers={"HX-Redirect": _login_and_back(request)})
                return redirect_to_login(request.get_full_path())
            if _is_opened(request) and (part_of or request.GET.get("part")):
                return redirect(_whole_page(request, part_of, kwargs))
            request.project = None
            if "project" in kwargs:
                safe = request.method in {"GET", "HEAD", "OPTIONS"}
                needed = at_least if safe else (writes or Role.DEVELOPER)
                request.project = project_or_404(request.principal, kwargs["project"], needed)
                kwargs["project"] = request.project
            if takes is not None and request.method in {"GET", "HEAD"}:
                asked.read(request, takes)
            if acts_once:
                return once(request, lambda: inner(request, *args, **kwargs))
            return inner(request, *args, **kwargs)

        wrapped.takes = takes  # type: ignore[attr-defined] # for the test that walks all pages
        return wrapped

    return decorate(view) if view is not None else decorate


def _login_and_back(request: HttpRequest) -> str:
    """The address that signs in and leads back to the page that fetches something."""
    at = urlsplit(request.headers.get("HX-Current-URL", ""))
    back = urlunsplit(("", "", at.path, at.query, ""))
    return redirect_to_login(back).url if back else reverse("core:login")


def _is_opened(request: HttpRequest) -> bool:
    """Whether a browser goes to the address (by hand, from history, after signing in), and no page fetches it."""
    return (
        request.method == "GET" and not request.headers.get("HX-Request") and _HTML in request.headers.get("Accept", "")
    )


def _whole_page(request: HttpRequest, part_of: str, kwargs: dict[str, Any]) -> str:
    """The address of the page that shows this part."""
    rest = request.GET.copy()
    rest.pop("part", None)
    if not part_of:
        return own_address(request, rest)
    names = list(kwargs)
    while True:
        try:
            address = reverse(part_of, kwargs={name: kwargs[name] for name in names})
        except NoReverseMatch:
            if not names:
                raise
            names.pop()
        else:
            return f"{address}?{rest.urlencode()}" if rest else address


def shown_at(request: HttpRequest, url: str) -> None:
    """Let a form that was refused be shown on the page that it belongs to, with what was typed.

    The page's live parts and links are those of its own address, not of the one that the form was sent to.
    """
    request.path = request.path_info = url


def render_page(
    request: HttpRequest, template: str, context: dict[str, Any] | None = None, *, status: int = 200
) -> HttpResponse:
    """Render the whole page, or only the partial that `?part=` names: page and fragment are one template."""
    part = request.GET.get("part", "")
    if not part:
        return render(request, template, context, status=status)
    if not part.replace("-", "").replace("_", "").isalnum():
        raise Missing("There is no such part of this page.")
    try:
        response = render(request, f"{template}#{part}", context, status=status)
    except TemplateDoesNotExist as error:
        if str(error) != f"{template}#{part}":
            raise
        raise Missing("There is no such part of this page.") from error
    response["Cache-Control"] = "no-store"
    return response

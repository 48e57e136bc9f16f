"""The base of every page: somebody is signed in, the project is checked, fragments are parts of the page."""

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, overload

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.template import TemplateDoesNotExist

from apps.core.access import Principal, principal_of, project_or_404
from apps.core.errors import Missing
from apps.core.models import Project
from apps.core.states import Role

P = ParamSpec("P")


class PageRequest(HttpRequest):
    """A request that passed `page`: the caller is known, and so is the project where the URL names one."""

    principal: Principal
    project: Project | None


Shown = Callable[..., HttpResponseBase]
View = Callable[Concatenate[PageRequest, P], HttpResponseBase]


@overload
def page(view: View[P]) -> Shown: ...
@overload
def page(*, at_least: Role = Role.VIEWER, writes: Role | None = None) -> Callable[[View[P]], Shown]: ...
def page(view: View[P] | None = None, *, at_least: Role = Role.VIEWER, writes: Role | None = None) -> Any:
    """Decorate a view: sign-in needed; a `project` in the URL is checked with role `at_least`.

    POST, PUT, PATCH and DELETE need `writes` (a developer, unless told otherwise). The view receives the Project
    in place of its name.
    """

    def decorate(inner: View[P]) -> Callable[..., HttpResponseBase]:
        @functools.wraps(inner)
        def wrapped(request: PageRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            request.principal = principal_of(request)
            if not request.principal.is_authenticated:
                if request.headers.get("HX-Request"):
                    return HttpResponse(status=401, headers={"HX-Redirect": "/login/"})
                return redirect_to_login(request.get_full_path())
            request.project = None
            if "project" in kwargs:
                safe = request.method in {"GET", "HEAD", "OPTIONS"}
                needed = at_least if safe else (writes or Role.DEVELOPER)
                request.project = project_or_404(request.principal, kwargs["project"], needed)
                kwargs["project"] = request.project
            return inner(request, *args, **kwargs)

        return wrapped

    return decorate(view) if view is not None else decorate


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

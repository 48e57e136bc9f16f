"""Pages of core."""

import logging
import sys

from django.conf import settings
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.views import LoginView, LogoutView, redirect_to_login
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from psycopg.errors import QueryCanceled

from apps.core import audit, selectors
from apps.core.api.problems import problem_json
from apps.core.errors import NotAllowed
from apps.core.limits import whole
from apps.core.pages import activity as changes
from apps.core.pages.base import PageRequest, page, render_page
from apps.core.pages.context import SESSION_PROJECT, current_project
from apps.core.pages.forms import LoginForm

logger = logging.getLogger(__name__)
SECONDS_UNTIL_POSTGRES_MAY_ANSWER = 5


class Login(LoginView):
    """Sign in with name and password: the one door, also into the admin panel."""

    template_name = "core/login.html"
    authentication_form = LoginForm
    redirect_authenticated_user = True

    def form_invalid(self, form: AuthenticationForm) -> HttpResponse:
        """The form again; 429 when there were too many tries."""
        response = super().form_invalid(form)
        wait = getattr(form, "wait", 0.0)
        if wait:
            response.status_code = 429
            response["Retry-After"] = str(whole(wait))
        return response


def admin_login(request: HttpRequest) -> HttpResponse:
    """The panel has no login of its own: people sign in to it as everywhere. Raises NotAllowed."""
    if request.user.is_authenticated:
        raise NotAllowed("The admin panel is for platform administrators.", hint="Sign in as one.")
    return redirect_to_login(request.GET.get("next") or reverse("admin:index"))


class Logout(LogoutView):
    """Sign out (POST only)."""


@page
def home(request: PageRequest) -> HttpResponse:
    """Go to the overview of the project visited last."""
    projects = list(selectors.projects(request.principal))
    current = current_project(request, projects)
    if current is None:
        return render(request, "core/no_project.html")
    request.session[SESSION_PROJECT] = current.name
    return redirect("core:overview", project=current.name)


@page(takes=changes.TAKES)
def activity(request: PageRequest) -> HttpResponse:
    """The audit trail: a page at a time, by kind, project and text."""
    wanted = changes.Wanted.parse(request.GET)
    entries = changes.chosen(selectors.activity(request.principal), wanted)
    context = {"pages": changes.page_of(entries, wanted), "wanted": wanted, "kinds": audit.KINDS}
    return render_page(request, "core/activity.html", context)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """400 for a person or, under /api/, for a program."""
    return _error(request, 400, "Bad request", "The request could not be understood.")


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """403."""
    return _error(request, 403, "Not allowed", "Your role does not allow this.")


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """403 for a form that was sent from elsewhere, or without the token of this session: mostly one that was open while
    somebody signed in or out. `reason` is Django's."""
    if reason.startswith(("Origin", "Referer")):
        detail = (
            f"The form was sent from an address that Flotilla does not know as its own ({settings.PUBLIC_URL}). "
            "Nothing was changed. Use that address, or let an operator add yours to FLOTILLA_TRUSTED_ORIGINS."
        )
        return _error(request, 403, "Sent from another address", detail)
    detail = (
        "The form is from before you signed in, or this browser keeps no cookies. Nothing was changed. "
        "Load the page again, and send the form once more."
    )
    return _error(request, 403, "This page is out of date", detail)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """404."""
    return _error(request, 404, "Not found", "There is nothing here that you can see.")


def server_error(request: HttpRequest) -> HttpResponse:
    """500: says that it is our fault and where to look; 503 while Postgres can't be asked."""
    if isinstance(sys.exception(), OperationalError | InterfaceError):
        return _without_postgres(request)
    title = "Something broke"
    detail = "This is our fault. Try again. If it stays, tell who runs Flotilla: the web process's log has the details."
    try:
        return _error(request, 500, title, detail)
    except Exception:
        # What broke is in every page's frame, or that asks for what can't be had.
        logger.exception("the frame of the page that tells of an error failed, too")
        request.user = AnonymousUser()
        return _error(request, 500, title, detail)


def _without_postgres(request: HttpRequest) -> HttpResponse:
    """503, drawn without asking Postgres who is signed in: that would fail again, after another wait."""
    request.user = AnonymousUser()
    if isinstance(getattr(sys.exception(), "__cause__", None), QueryCanceled):
        title, trouble = "The database took too long", "The database was too slow with this, so it was stopped."
    else:
        title, trouble = "The database does not answer", "Flotilla can't ask its database now."
    detail = (
        f"{trouble} What runs on the clusters goes on. Try again in a few seconds. "
        "If it stays, tell who runs Flotilla: /readyz and the web process's log say why."
    )
    response = _error(request, 503, title, detail)
    response["Retry-After"] = str(SECONDS_UNTIL_POSTGRES_MAY_ANSWER)
    return response


def _error(request: HttpRequest, status: int, title: str, detail: str) -> HttpResponse:
    if request.path.startswith("/api/"):
        return problem_json(status, title, detail)
    # Where waiting helps, the same page is the next step.
    again = request.get_full_path() if status == 503 and request.method == "GET" else ""
    context = {"status": status, "title": title, "detail": detail, "again": again}
    return render(request, "core/error.html", context, status=status)

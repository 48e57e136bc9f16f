"""Middleware for browsers is skipped for programs. Errors that services raise become pages, never a 500."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import structlog
from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.contrib import messages
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.auth.views import redirect_to_login
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import CsrfViewMiddleware
from django.middleware.gzip import GZipMiddleware
from django.shortcuts import redirect, render
from django.utils.deprecation import MiddlewareMixin
from django.utils.http import url_has_allowed_host_and_scheme
from django_htmx.middleware import HtmxMiddleware

from apps.core.access import client_ip
from apps.core.database.rows import NOT_STORABLE
from apps.core.errors import FlotillaError, Invalid
from apps.core.pages.addresses import page_above

API = "/api/"
LIVENESS = "/healthz"


def asks_with_token(request: HttpRequest) -> bool:
    """Whether a program asks: it names itself in a header that no browser sends by itself, and cookies don't count.

    Where the token is not valid the answer is 401, never a look at the session (`apps.core.api.authentication`).
    """
    return request.path_info.startswith(API) and "HTTP_AUTHORIZATION" in request.META


def name_the_peer(request: HttpRequest, **signal: Any) -> None:
    """Let what is logged during the request say where it came from, as audit rows do."""
    structlog.contextvars.bind_contextvars(ip=client_ip(request))


class _ForBrowsers:
    """Wrap a middleware so that requests with a token pass by it, and the probe, which must wait for no session."""

    get_response: Callable[[HttpRequest], Any]

    def __call__(self, request: HttpRequest) -> Any:
        if asks_with_token(request) or request.path_info == LIVENESS:
            return self.get_response(request)
        return super().__call__(request)  # type: ignore[misc]


class Sessions(_ForBrowsers, SessionMiddleware):
    """The session of a browser."""


class Csrf(_ForBrowsers, CsrfViewMiddleware):
    """No other site writes in a browser's name."""

    def process_view(self, request: HttpRequest, callback: Any, args: Any, kwargs: Any) -> Any:
        """Without a cookie there is nothing to forge."""
        return None if asks_with_token(request) else super().process_view(request, callback, args, kwargs)


class Authentication(_ForBrowsers, AuthenticationMiddleware):
    """The person of a session."""


class Messages(_ForBrowsers, MessageMiddleware):
    """The messages for the next page."""


class Compression(_ForBrowsers, GZipMiddleware):
    """Pages and parts of them, by gzip; their CSRF tokens are masked anew each time. Streams go out as they come."""

    def process_response(self, request: HttpRequest, response: Any) -> Any:
        """Compress what is text for people, and whole."""
        if response.streaming or not response.get("Content-Type", "").startswith("text/html"):
            return response
        return super().process_response(request, response)


class Htmx(_ForBrowsers, HtmxMiddleware):
    """Whether a part of a page is asked for."""


class OnlySent(_ForBrowsers, MiddlewareMixin):
    """An address that takes only what a button sends is opened by itself, after signing in again or by a reload."""

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        """Go to the page that has the button; what answers would be an empty page of the browser's own."""
        opened = request.method in {"GET", "HEAD"} and request.accepts("text/html")
        if response.status_code != HTTPStatus.METHOD_NOT_ALLOWED or not opened or request.path.startswith(API):
            return response
        page = page_above(request.path)
        if not request.user.is_authenticated:
            return redirect_to_login(page)
        messages.warning(request, "Nothing was done: it takes the button, here.")
        return redirect(page)


class ErrorMiddleware:
    """Renders a FlotillaError: a flash message on the page that posted a form, else an error page."""

    async_capable = True
    sync_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass the request on: only exceptions matter here (an async chain returns the coroutine itself)."""
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Answer with the error's own status and sentence; anything else is a real defect and stays one."""
        if isinstance(error, NOT_STORABLE):
            # The input is wrong: the address has a NUL character, say, or a number that no column holds.
            error = Invalid("A value has characters or a size that can't be stored.", hint="Correct the address.")
        if not isinstance(error, FlotillaError) or request.path.startswith("/api/"):
            return None
        back = request.META.get("HTTP_REFERER", "")
        from_our_page = url_has_allowed_host_and_scheme(back, allowed_hosts={request.get_host()})
        if request.method == "POST" and from_our_page and error.status != 404:
            messages.error(request, error.sentence)
            if request.headers.get("HX-Request"):
                return HttpResponse(status=204, headers={"HX-Refresh": "true"})
            return redirect(back)
        return render(request, "core/error.html", {"error": error, "status": error.status}, status=error.status)

"""Turns errors that services raise into pages that say what to do, and never into a 500."""

from collections.abc import Callable

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.contrib import messages
from django.db import DataError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme

from apps.core.errors import FlotillaError, Invalid


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
        if isinstance(error, DataError):
            # Such as a NUL character in the address, or a number that no column holds: it is the input that is wrong.
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

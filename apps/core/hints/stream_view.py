"""`GET /events`: the hint stream of a signed-in person, as Server-Sent Events."""

from importlib import import_module

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import get_user
from django.db import connection
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse

from apps.core.access import principal_of, visible_projects
from apps.core.hints.stream import Sight, hub


async def events(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    """Stream hints until the reader leaves, or may see nothing any more.

    401 without a session; an EventSource then stops asking.
    """
    projects = await sync_to_async(_projects_of)(request)
    if projects is None:
        return HttpResponse("Sign in first.", status=401, content_type="text/plain")
    session, person = request.session.session_key, request.user.pk

    async def look() -> Sight | None:
        return await sync_to_async(_projects_now)(session)

    frames = hub().read(projects, person=person, look=look)
    response = StreamingHttpResponse(frames, content_type="text/event-stream")
    response["Cache-Control"] = "no-store"
    # Proxies such as nginx would hold the stream back.
    response["X-Accel-Buffering"] = "no"
    return response


def _projects_now(session: str | None) -> Sight | None:
    """The projects that the session's person sees by now: session and person are read again."""
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(session)
    request.user = get_user(request)
    return _projects_of(request)


def _projects_of(request: HttpRequest) -> Sight | None:
    try:
        principal = principal_of(request)
        if not principal.is_authenticated:
            return None
        return frozenset(visible_projects(principal).values_list("pk", flat=True))
    finally:
        # A stream stays open for hours; its database connection must not.
        connection.close()

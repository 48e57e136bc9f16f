"""`GET /events`: the hint stream of a signed-in person, as Server-Sent Events."""

from asgiref.sync import sync_to_async
from django.db import connection
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse

from apps.core.access import principal_of, visible_projects
from apps.core.stream import hub


async def events(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    """Stream hints until the reader leaves. 401 without a session; an EventSource then stops asking."""
    projects = await sync_to_async(_projects_of)(request)
    if projects is None:
        return HttpResponse("Sign in first.", status=401, content_type="text/plain")
    response = StreamingHttpResponse(hub().read(projects), content_type="text/event-stream")
    response["Cache-Control"] = "no-store"
    # Proxies such as nginx would hold the stream back.
    response["X-Accel-Buffering"] = "no"
    return response


def _projects_of(request: HttpRequest) -> frozenset[int] | None:
    try:
        principal = principal_of(request)
        if not principal.is_authenticated:
            return None
        return frozenset(visible_projects(principal).values_list("pk", flat=True))
    finally:
        # A stream stays open for hours; its database connection must not.
        connection.close()

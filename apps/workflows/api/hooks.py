"""The address of webhooks: no token and no session, a signature alone."""

import json

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from apps.core.api.problems import problem_json
from apps.core.errors import FlotillaError, Invalid
from apps.core.text.numbers import whole
from apps.workflows import services
from apps.workflows.services.webhooks import MAX_BODY, Unsigned


@csrf_exempt
@require_POST
def receive(request: HttpRequest, key: str) -> HttpResponse:
    """Start a pipeline for a signed message. 201 where that is new, 200 for the same message once more, 400 where the
    pipeline takes none of it."""
    try:
        return _answer(request, key)
    except FlotillaError as error:
        return problem_json(error.status, error.title, error.sentence)


def _answer(request: HttpRequest, key: str) -> HttpResponse:
    length = whole(request.META.get("CONTENT_LENGTH") or "0")
    if length is None or length > MAX_BODY:
        # Before the body is read. Who sent it is not known yet, so this tells nothing of the webhook.
        raise Unsigned(f"A message has at most {MAX_BODY // 1024} KiB.")
    delivery, new = services.receive(
        key=key,
        timestamp=request.headers.get("X-Flotilla-Timestamp", ""),
        signed=request.headers.get("X-Flotilla-Signature", ""),
        body=request.body,
    )
    if delivery.refusal:
        raise Invalid(delivery.refusal)
    number = delivery.pipeline_run.number if delivery.pipeline_run else None
    said = {"pipeline": delivery.webhook.pipeline.name, "run": number}
    return HttpResponse(json.dumps(said), content_type="application/json", status=201 if new else 200)

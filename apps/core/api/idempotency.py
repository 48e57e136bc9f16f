"""`Idempotency-Key`: a POST that is sent twice acts once, and the second caller gets the first answer."""

import hashlib
import json
from collections.abc import Callable
from datetime import timedelta

from django.db import IntegrityError, transaction
from django.utils import timezone
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.access import principal_of
from apps.core.errors import Conflict, Invalid
from apps.core.models import IdempotencyRecord
from apps.core.scrub import scrub

KEPT = timedelta(hours=24)
MAX_KEY = 200
# After this long a request without an answer is taken for dead (its process was killed) and may be sent again.
ABANDONED = timedelta(minutes=2)


def once(request: Request, act: Callable[[], Response]) -> Response:
    """Run `act` unless the same caller sent the same key before; then answer as then.

    Raises Invalid when the key was used for another request, Conflict while the first one is still under way.
    Answers of 5xx are not kept: they may be tried again. What is kept is scrubbed: a secret is shown only once.
    """
    key = request.headers.get("Idempotency-Key", "")
    if not key:
        return act()
    if len(key) > MAX_KEY:
        raise Invalid(f"Idempotency-Key is longer than {MAX_KEY} characters.")
    owner = principal_of(request._request).key
    digest = hashlib.sha256(f"{request.method} {request.get_full_path()}\n".encode() + request.body).hexdigest()
    record = _claim(owner, key, digest)
    if record.status is not None:
        return Response(record.body, status=record.status, headers={"Idempotency-Replayed": "true"})
    try:
        response = act()
    except BaseException:
        record.delete()
        raise
    if response.status_code >= 500:
        record.delete()
    else:
        body = JSONRenderer().render(response.data)
        IdempotencyRecord.objects.filter(pk=record.pk).update(status=response.status_code, body=scrub(_plain(body)))
    return response


def _claim(owner: str, key: str, digest: str) -> IdempotencyRecord:
    try:
        with transaction.atomic():
            return IdempotencyRecord.objects.create(owner=owner, key=key, request_digest=digest)
    except IntegrityError:
        record = IdempotencyRecord.objects.filter(owner=owner, key=key).first()
    if record is None:
        raise Conflict("A request with this Idempotency-Key has just failed.", hint="Send it again.")
    if record.request_digest != digest:
        raise Invalid("This Idempotency-Key was used for another request.", hint="Use a new key for each request.")
    if record.status is None and timezone.now() - record.created_at < ABANDONED:
        raise Conflict("The first request with this Idempotency-Key is still under way.", hint="Try again shortly.")
    return record


def _plain(body: bytes) -> object:

    return json.loads(body) if body else None


def forget_old() -> int:
    """Drop the answers that are older than a day; returns how many."""
    return IdempotencyRecord.objects.filter(created_at__lt=timezone.now() - KEPT).delete()[0]

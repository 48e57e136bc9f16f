"""`Idempotency-Key`: a POST that is sent twice acts once, and the second caller gets the first answer.

The claim of the key, the act and the record of its answer are one transaction: a process that is killed in between
leaves nothing of any of them, and a retry acts as if it were the first. A caller with the same key waits a moment
for that transaction, because the key is unique, and is then told to come again.

A POST that asks a cluster changes no rows that matter, and no transaction may be open across a call to a cluster. There
the claim is committed first, the answer is recorded after, and a claim whose process was killed is free again after
two minutes.
"""

import hashlib
import json
from collections.abc import Callable
from datetime import timedelta

from django.db import transaction
from django.utils import timezone
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.access import principal_of
from apps.core.errors import Conflict, Invalid
from apps.core.models import IdempotencyRecord
from apps.core.secrets.scrub import scrub
from apps.core.services.claims import Claim

KEPT = timedelta(hours=24)
MAX_KEY = 200
# After this long a request that asked a cluster and got no answer is taken for dead, and may be sent again.
ABANDONED = timedelta(minutes=2)


def once(request: Request, act: Callable[[], Response], *, asks_cluster: bool = False) -> Response:
    """Run `act` unless the same caller sent the same key before; then answer as then.

    Without `asks_cluster` all that `act` writes is part of one transaction with the record of its answer.

    Raises Invalid when the key was used for another request, Conflict while the first one is still under way.
    What is refused or fails is not kept: it may be tried again. What is kept is scrubbed: a secret is shown only once.
    """
    key = request.headers.get("Idempotency-Key", "")
    if not key:
        return act()
    if len(key) > MAX_KEY:
        raise Invalid(f"Idempotency-Key is longer than {MAX_KEY} characters.")
    said = f"{request.method} {request.get_full_path()}\n".encode() + request.body
    claim = Claim(principal_of(request._request).key, key, hashlib.sha256(said).hexdigest())
    return _asked_once(claim, act) if asks_cluster else _done_once(claim, act)


def _done_once(claim: Claim, act: Callable[[], Response]) -> Response:
    with transaction.atomic():
        known = _take(claim)
        if known is not None:
            return known
        response = act()
        if response.status_code >= 500:
            transaction.set_rollback(True)
        else:
            _record(claim, response)
    return response


def _asked_once(claim: Claim, act: Callable[[], Response]) -> Response:
    with transaction.atomic():
        known = _take(claim)
    if known is not None:
        return known
    try:
        response = act()
    except BaseException:
        claim.rows().filter(status=None).delete()
        raise
    if response.status_code >= 500:
        claim.rows().filter(status=None).delete()
    else:
        _record(claim, response)
    return response


def _take(claim: Claim) -> Response | None:
    """Claim the key in the transaction that is open, or give the answer that is known. Raises Invalid or Conflict."""
    return None if claim.take(_under_way()) else _known(claim)


def _known(claim: Claim) -> Response | None:
    record = claim.rows().first()
    if record is None:
        raise Conflict("A request with this Idempotency-Key has just failed.", hint="Send it again.")
    if record.request_digest != claim.digest:
        raise Invalid("This Idempotency-Key was used for another request.", hint="Use a new key for each request.")
    if record.status is not None:
        return Response(record.body, status=record.status, headers={"Idempotency-Replayed": "true"})
    # Of several that find it abandoned, one takes it over.
    dead = claim.rows().filter(created_at__lt=timezone.now() - ABANDONED, status=None)
    if not dead.update(created_at=timezone.now()):
        raise _under_way()
    return None


def _under_way() -> Conflict:
    return Conflict("The first request with this Idempotency-Key is still under way.", hint="Try again shortly.")


def _record(claim: Claim, response: Response) -> None:
    body = JSONRenderer().render(response.data)
    claim.rows().update(status=response.status_code, body=scrub(json.loads(body) if body else None))


def forget_old() -> int:
    """Drop the answers that are older than a day; returns how many."""
    return IdempotencyRecord.objects.filter(created_at__lt=timezone.now() - KEPT).delete()[0]

"""A form that is sent twice acts once: by a second press, or by a reload after the answer was lost.

The page's script names each form that it shows (`ui.js`). The claim of that name, the act and where it led are one
transaction, as for `Idempotency-Key` in REST.
"""

import hashlib
from collections.abc import Callable

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect

from apps.core.access import principal_of
from apps.core.errors import Conflict
from apps.core.services.claims import Claim

FIELD = "_form"
_MAX = 100


def once(request: HttpRequest, act: Callable[[], HttpResponseBase]) -> HttpResponseBase:
    """Run `act`, unless the same form was sent before with the same words; then lead to where that led.

    An answer that is no redirect, a form with an error say, is not kept. `act` must ask no cluster: all of it is one
    transaction. Raises Conflict while the first one is still under way.
    """
    name = request.POST.get(FIELD, "")[:_MAX] if request.method == "POST" else ""
    if not name:
        return act()
    said = [(key, request.POST.getlist(key)) for key in sorted(request.POST) if key != "csrfmiddlewaretoken"]
    digest = hashlib.sha256(repr((request.get_full_path(), said)).encode()).hexdigest()
    # With the words in it: who comes back to the form and changes it wants another thing.
    claim = Claim(principal_of(request).key, f"{FIELD} {name} {digest}", digest)
    with transaction.atomic():
        if not claim.take(
            Conflict("This form was sent a moment ago, and is still worked on.", hint="Try again shortly.")
        ):
            return _led_to(request, claim)
        answer = act()
        if isinstance(answer, HttpResponseRedirect):
            claim.rows().update(status=answer.status_code, body={"location": answer.url})
        else:
            claim.rows().delete()
    return answer


def _led_to(request: HttpRequest, claim: Claim) -> HttpResponse:
    record = claim.rows().first()
    if record is None or not record.body:
        raise Conflict("This form has just failed.", hint="Send it again.")
    messages.info(request, "This form was sent before: here is what came of it.")
    return HttpResponseRedirect(record.body["location"])

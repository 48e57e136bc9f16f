"""Webhooks: an address and a secret, by which a push starts a pipeline without anybody's token.

A message is signed with its time: HMAC-SHA256 of "<seconds>.<body>" by the secret. What is older than `WINDOW` is
refused, and within it the same message is known again; so nobody who has seen one can send it once more.
"""

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from apps.core import audit
from apps.core.access import Principal, require_alive, require_role
from apps.core.database.rows import NOT_STORABLE, held
from apps.core.errors import Conflict, FlotillaError, Invalid, NotAllowed
from apps.core.secrets import crypto
from apps.core.states import Role
from apps.core.text.names import check_name
from apps.core.text.numbers import BIGINT_DIGITS, whole
from apps.workflows.models import Delivery, Pipeline, Webhook
from apps.workflows.services.common import tell
from apps.workflows.services.pipelines import start

MAX_BODY = 64 * 1024
"""Bytes of a message."""
WINDOW = timedelta(minutes=5)
KEPT = timedelta(days=30)
SCHEME = "sha256="
_MAX_WEBHOOKS = 20


class Unsigned(FlotillaError):
    """A message that nobody has signed, as far as we know. Whether there is such a webhook is not told."""

    status = 401
    title = "Not signed"


def create_webhook(*, principal: Principal, pipeline: Pipeline, name: str) -> tuple[Webhook, str]:
    """Make an address at which signed messages start the pipeline in the caller's name; returns it with its secret,
    which can't be had again. Needs the developer role. Raises Conflict where the name is taken.
    """
    require_role(principal, pipeline.project, Role.DEVELOPER)
    check_name(name, "name")
    secret, token = f"fls_{secrets.token_urlsafe(32)}", principal.token
    if token is not None and token.run_uid:
        raise NotAllowed("A run's token makes no webhooks.")
    try:
        with transaction.atomic():
            row = held(pipeline, "project")
            if row.webhooks.count() >= _MAX_WEBHOOKS:
                raise Conflict(f"{row} has {_MAX_WEBHOOKS} webhooks, which is the most.", hint="Remove one.")
            webhook = Webhook.objects.create(
                pipeline=row,
                name=name,
                key=secrets.token_hex(16),
                secret_encrypted=crypto.encrypt(secret.encode()),
                maker_id=principal.person_pk,
                maker_token=token,
                created_by=principal.label,
            )
            after = {"pipeline": row.name}
            audit.record(principal=principal, action="webhook.create", obj=webhook, project=row.project, after=after)
            tell(row)
    except IntegrityError as error:
        raise Conflict(f"{pipeline} has a webhook {name!r} already.", field="name") from error
    return webhook, secret


def delete_webhook(*, principal: Principal, webhook: Webhook) -> None:
    """Let messages to it start nothing any more. Needs the developer role."""
    require_role(principal, webhook.pipeline.project, Role.DEVELOPER)
    with transaction.atomic():
        row = held(webhook, "pipeline__project")
        audit.record(principal=principal, action="webhook.delete", obj=row, project=row.pipeline.project)
        row.delete()
        tell(row.pipeline)


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """What a message's `X-Flotilla-Signature` says after its scheme, in hexadecimal digits."""
    return hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def receive(*, key: str, timestamp: str, signed: str, body: bytes) -> tuple[Delivery, bool]:
    """Start the pipeline of the webhook with this key, for a message that its secret has signed.

    Returns what came of it, and whether that is new: the same message once more does nothing. Raises Unsigned, also
    for what is too old, and Invalid for too long a body.
    """
    webhook = Webhook.objects.select_related("pipeline__project", "maker", "maker_token__user").filter(key=key).first()
    # Without a webhook there is a secret still, which nobody knows: both take as long.
    secret = crypto.decrypt(webhook.secret_encrypted) if webhook is not None else secrets.token_bytes(32)
    if len(body) > MAX_BODY:
        raise Invalid(f"A message has at most {MAX_BODY // 1024} KiB.")
    right = signature(secret, timestamp, body)
    if not hmac.compare_digest(f"{SCHEME}{right}".encode(), signed.encode()) or webhook is None:
        hint = "Sign '<seconds since 1970>.<body>' with HMAC-SHA256 and the secret of the webhook."
        raise Unsigned("There is no such webhook, or the signature is wrong.", hint=hint)
    _check_age(timestamp)
    with transaction.atomic():
        delivery, new = Delivery.objects.get_or_create(webhook=webhook, signature=right)
        if new:
            _act(webhook, delivery, body)
    return delivery, new


def _check_age(timestamp: str) -> None:
    seconds = whole(timestamp, BIGINT_DIGITS)
    if seconds is None:
        raise Unsigned("The time is a whole number of seconds since 1970.")
    if abs(timezone.now().timestamp() - seconds) > WINDOW.total_seconds():
        raise Unsigned("The message is too old, or its clock is wrong.", hint="Sign it anew with the time of now.")


def _act(webhook: Webhook, delivery: Delivery, body: bytes) -> None:
    """Start the pipeline, or note why not: the message is answered the same however often it comes."""
    try:
        with transaction.atomic():
            require_alive(webhook.principal)
            params = _params(body)
            delivery.pipeline_run = start(
                principal=webhook.principal, pipeline=webhook.pipeline, params=params, webhook=webhook
            )
    except FlotillaError as error:
        delivery.refusal = error.sentence
    except NOT_STORABLE:
        delivery.refusal = "A value has characters or a size that can't be stored."
    delivery.save(update_fields=["pipeline_run", "refusal"])
    webhook.deliveries.filter(received_at__lt=timezone.now() - KEPT).delete()


def _params(body: bytes) -> Mapping[str, Any]:
    """The `params` of a message that is a JSON object; none of any other key matters."""
    if not body.strip():
        return {}
    try:
        said = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Invalid("The message is no JSON.") from error
    params = said.get("params", {}) if isinstance(said, dict) else None
    if not isinstance(params, dict):
        raise Invalid('The message is an object such as {"params": {"epochs": 5}}.')
    return params

"""Requests that are kept of a deployment, so that analyses send them to both revisions of a rollout."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.db.models import Max

from apps.core import audit
from apps.core.access import Principal, require_role
from apps.core.errors import Conflict, Invalid
from apps.core.hints import hint
from apps.core.states import Role
from apps.deployments import selectors
from apps.deployments.models import Deployment, Recording
from apps.deployments.services.common import hold

MAX_RECORDINGS = 20
# A look of an analysis sends all of them.
MAX_BYTES = 128 * 1024
MAX_NAME = 60
MAX_INPUTS = 200


def body_to_record(request: Mapping[str, Any]) -> str:
    """What is kept of a request: what the model is asked, without the `id` by which a client tells its answers apart.

    Raises Invalid for what is too large.
    """
    said = {key: request[key] for key in ("inputs", "parameters", "outputs") if key in request}
    body = json.dumps(said, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    if len(body.encode()) > MAX_BYTES:
        raise Invalid(
            f"A request that is kept has {MAX_BYTES // 1024} KiB at most.",
            field="request",
            hint="Keep a smaller one; a prediction may be larger.",
        )
    return body


def check_room(deployment: Deployment, body: str, name: str) -> None:
    """Whether the request can be kept, before a model is asked. Raises Conflict or Invalid."""
    if len(name) > MAX_NAME or not name.isprintable():
        raise Invalid(f"A name is a line of {MAX_NAME} characters at most.", field="name")
    others = selectors.recordings_of(deployment).exclude(digest=_digest(body))
    if others.count() >= MAX_RECORDINGS:
        raise Conflict(f"{deployment.name} has {MAX_RECORDINGS} recorded requests.", hint="Forget one of them first.")


def record_request(
    *, principal: Principal, deployment: Deployment, body: str, revision: int, name: str = ""
) -> tuple[Recording, bool]:
    """Keep a request that this revision has answered; whether it is new: none is kept twice.

    Needs the developer role. Raises Conflict where there are as many as may be, and Invalid.
    """
    require_role(principal, deployment.project, Role.DEVELOPER)
    with transaction.atomic():
        held = hold(deployment)
        digest = _digest(body)
        known = selectors.recordings_of(held).filter(digest=digest).first()
        if known is not None:
            return known, False
        check_room(held, body, name)
        last = selectors.recordings_of(held).aggregate(last=Max("number"))["last"] or 0
        made = Recording.objects.create(
            deployment=held,
            number=last + 1,
            name=name,
            body=body,
            digest=digest,
            inputs=_inputs_in_a_line(json.loads(body)["inputs"]),
            revision=revision,
            created_by=principal.label,
        )
        _tell(principal, held, "deployment.record", made)
    return made, True


def forget_request(*, principal: Principal, deployment: Deployment, number: int) -> None:
    """Let analyses send it no more. Needs the developer role. Raises Missing."""
    require_role(principal, deployment.project, Role.DEVELOPER)
    with transaction.atomic():
        held = hold(deployment)
        gone = selectors.recording(held, number)
        _tell(principal, held, "deployment.forget", gone)
        gone.delete()


def _tell(principal: Principal, deployment: Deployment, action: str, recording: Recording) -> None:
    """The inputs themselves are not for the trail: who reads that need not read them."""
    said = {"request": recording.number, "name": recording.name, "inputs": recording.inputs}
    audit.record(principal=principal, action=action, obj=deployment, project=deployment.project, after=said)
    hint(f"deployment:{deployment.pk}", deployment.project_id)


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()


def _inputs_in_a_line(inputs: list[Any]) -> str:
    """ "x 1×64 FP64, y 1 BYTES"."""
    said = []
    for each in inputs:
        of = each if isinstance(each, dict) else {}
        shape = of.get("shape")
        sizes = "×".join(map(str, shape)) if isinstance(shape, list) else ""
        said.append(" ".join(str(part) for part in (of.get("name"), sizes, of.get("datatype")) if part))
    line = " ".join(", ".join(said).replace("\x00", "").split())
    return line if len(line) <= MAX_INPUTS else f"{line[: MAX_INPUTS - 1]}…"

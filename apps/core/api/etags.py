"""Optimistic concurrency: `ETag` on what is read, `If-Match` on what is edited."""

import hashlib
from typing import Any

from rest_framework.request import Request

from apps.core.errors import PreconditionFailed


def etag_of(*parts: Any) -> str:
    """A strong ETag from whatever identifies a version of an object, such as its id and generation."""
    return '"' + hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:20] + '"'


def check_if_match(request: Request, *parts: Any) -> None:
    """Raise PreconditionFailed when `If-Match` is given and names another version than `parts` do."""
    wanted = request.headers.get("If-Match", "")
    if not wanted or wanted.strip() == "*":
        return
    if etag_of(*parts) not in {tag.strip().removeprefix("W/") for tag in wanted.split(",")}:
        raise PreconditionFailed(
            "Somebody changed this since you read it.", hint="Read it again, then repeat the edit."
        )

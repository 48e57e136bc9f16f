"""Optimistic concurrency: `ETag` on what is read, `If-Match` on what is edited."""

import hashlib
from collections.abc import Callable
from typing import Any

from rest_framework.request import Request

from apps.core.database.rows import Expect
from apps.core.errors import PreconditionFailed


def etag_of(*parts: Any) -> str:
    """A strong ETag from whatever identifies a version of an object, such as its id and generation."""
    return '"' + hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:20] + '"'


def if_match(request: Request, version: Callable[[Any], tuple[Any, ...]], *, after: Any = None) -> Expect:
    """The check that `If-Match` asks for, of the row to be edited. The row's ETag is made of its `version`.

    The service calls it with the locked row, in the transaction that changes the row: of two edits that name the same
    ETag at the same moment one is refused. It raises PreconditionFailed. Without the header it checks nothing.
    `after` is the row as an earlier step of the same request has left it: then that is what must be there.
    """
    header = request.headers.get("If-Match", "").strip()
    known = {tag.strip().removeprefix("W/") for tag in header.split(",")}
    if after is not None:
        known = {etag_of(*version(after))}

    def expect(row: Any) -> None:
        if header not in ("", "*") and etag_of(*version(row)) not in known:
            raise PreconditionFailed(
                "Somebody changed this since you read it.", hint="Read it again, then repeat the edit."
            )

    return expect

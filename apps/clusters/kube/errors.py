"""What a cluster may answer other than yes. Everything that the adapter raises is a `KubeError`."""

import json
from typing import ClassVar

from apps.core.jsontext import plain

# What is kept of what a server says of itself: it is stored, shown and logged, and a server may say anything.
MAX_MESSAGE = 1000
MAX_REASON = 60


class KubeError(Exception):
    """A refused or failed call: the HTTP status (0 when there was no answer), the reason and the message.

    `retry_after` is in seconds where the server asked for a pause.
    """

    def __init__(self, status: int, reason: str, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(f"{reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after


class Unauthorized(KubeError):
    """401: the credential is not accepted."""


class Forbidden(KubeError):
    """403: the credential's RBAC role does not allow this."""


class NotFound(KubeError):
    """404: there is no such object, or no such kind on this cluster."""


class Conflict(KubeError):
    """409: somebody else changed the object, or owns the field."""


class AlreadyExists(Conflict):
    """409 AlreadyExists: an object of this name is there."""


class Gone(KubeError):
    """410: the resource version or the continue token is too old; list again."""


class Invalid(KubeError):
    """400 or 422: the object is not acceptable."""


class TooManyRequests(KubeError):
    """429: the API server is overloaded; wait for `retry_after`."""


class Unreachable(KubeError):
    """No usable answer: the address can't be reached, TLS failed, or it took too long.

    `sent` is False where no connection was made, so that the server can't have got anything of the request.
    """

    sent = True


class _ByStatus:
    classes: ClassVar[dict[int, type[KubeError]]] = {
        400: Invalid,
        401: Unauthorized,
        403: Forbidden,
        404: NotFound,
        409: Conflict,
        410: Gone,
        422: Invalid,
        429: TooManyRequests,
    }


def error_from(status: int, body: bytes, *, retry_after: str | None = None) -> KubeError:
    """The error for an HTTP answer whose body is a metav1.Status, or anything else.

    https://kubernetes.io/docs/reference/using-api/api-concepts/ and the Status object's reference.
    """
    reason, message = "", ""
    try:
        decoded = json.loads(body)
    except (ValueError, RecursionError):
        decoded = None
    if isinstance(decoded, dict):
        reason, message = plain(decoded.get("reason"), MAX_REASON), plain(decoded.get("message"), MAX_MESSAGE)
    if not message:
        message = plain(body[:300].decode("utf-8", "replace"), MAX_MESSAGE) or f"HTTP {status}"
    kind = _ByStatus.classes.get(status, KubeError)
    if reason == "AlreadyExists":
        kind = AlreadyExists
    return kind(status, reason or f"HTTP{status}", message, retry_after=_pause(retry_after or ""))


def _pause(header: str) -> float | None:
    """Seconds of a Retry-After header; a date, which no API server sends, is as good as none."""
    return float(header) if header.isascii() and header.isdecimal() and len(header) < 10 else None

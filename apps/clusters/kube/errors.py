"""What a cluster may answer other than yes. Everything that the adapter raises is a `KubeError`."""

import json
from typing import ClassVar


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
    """No usable answer: the address can't be reached, TLS failed, or it took too long."""


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
    except ValueError:
        decoded = None
    if isinstance(decoded, dict):
        reason, message = str(decoded.get("reason") or ""), str(decoded.get("message") or "")
    if not message:
        message = body[:300].decode("utf-8", "replace").strip() or f"HTTP {status}"
    kind = _ByStatus.classes.get(status, KubeError)
    if reason == "AlreadyExists":
        kind = AlreadyExists
    pause = float(retry_after) if retry_after and retry_after.isdigit() else None
    return kind(status, reason or f"HTTP{status}", message, retry_after=pause)

"""A cluster's answers other than yes. Everything that the adapter raises is a `KubeError`.

Between us and an API server stand proxies and load balancers, and they answer, too. What an error claims is believed
only of a `metav1.Status`, the object in which an API server, and nothing else, says no; all else is a failure to ask.
"""

import json
from dataclasses import dataclass
from typing import Any, ClassVar

from apps.core.text.jsontext import plain
from apps.core.text.numbers import whole

# The most that is kept of a server's own words: they are stored, shown and logged, and a server may say anything.
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


class RefusedOnce(KubeError):
    """401 or 403 for the first time, which is not believed yet (`opinions`): ask again, and conclude nothing."""

    def __init__(self, refused: KubeError) -> None:
        message = f"The API server refuses this for now (HTTP {refused.status}), as after its start. It is asked again."
        super().__init__(refused.status, "RefusedOnce", message)
        self.refused = refused


class NotFound(KubeError):
    """404: the API server says that the very object that was asked for is not there."""


class NotServed(KubeError):
    """404: the API server knows no such kind."""


class NamespaceMissing(KubeError):
    """404: the object can't be made, for its namespace is not there."""


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
    """No usable answer: the address can't be reached, TLS failed, it took too long, or somebody else answered.

    `sent` is False where no connection was made, so that the server can't have got anything of the request.
    """

    sent = True


class NotTheApiServer(Unreachable):
    """Something else answered in the API server's place, with `http_status`; so nothing is known."""

    def __init__(self, http_status: int, body: bytes = b"", *, retry_after: float | None = None) -> None:
        answerer = "a web page" if body.lstrip().startswith(b"<") else "something else"
        message = (
            f"Flotilla asked for the Kubernetes API, but {answerer} answered (HTTP {http_status}). Look at the proxy "
            "or load balancer in front of it, and at the address that was registered."
        )
        super().__init__(0, "NotTheApiServer", message, retry_after=retry_after)
        self.http_status = http_status


# The errors that say nothing of what was asked for: the server has not answered, or has not come to look at it.
UNHEARD = (Unauthorized, RefusedOnce, TooManyRequests, Unreachable)


@dataclass(frozen=True)
class Subject:
    """The subject of a request: a resource, and one object of it where `name` is given."""

    group: str = ""
    resource: str = ""
    namespace: str = ""
    name: str = ""
    subresource: str = ""


class _ByStatus:
    classes: ClassVar[dict[int, type[KubeError]]] = {
        400: Invalid,
        401: Unauthorized,
        403: Forbidden,
        409: Conflict,
        410: Gone,
        422: Invalid,
        429: TooManyRequests,
    }


def error_from(status: int, body: bytes, *, retry_after: str | None = None, about: Subject | None = None) -> KubeError:
    """The error for an HTTP answer to a request `about` something.

    https://kubernetes.io/docs/reference/using-api/api-concepts/ and the Status object's reference.
    """
    pause = _pause(retry_after or "")
    answer = _status_in(body)
    if answer is None:
        return _without_status(status, body, pause)
    reason, message = plain(answer.get("reason"), MAX_REASON), plain(answer.get("message"), MAX_MESSAGE)
    kind = _absence(answer, reason, about or Subject()) if status == 404 else _ByStatus.classes.get(status, KubeError)
    if reason == "AlreadyExists":
        kind = AlreadyExists
    return kind(status, reason or f"HTTP{status}", message or f"HTTP {status}", retry_after=pause)


def _status_in(body: bytes) -> dict[str, Any] | None:
    try:
        decoded = json.loads(body)
    except (ValueError, RecursionError):
        return None
    known = isinstance(decoded, dict) and decoded.get("kind") == "Status" and decoded.get("apiVersion") == "v1"
    return decoded if known else None


def _without_status(status: int, body: bytes, pause: float | None) -> KubeError:
    """An answer that says nothing of itself. An API server's own limits of requests are told in plain text."""
    if status == 429:
        return TooManyRequests(429, "TooManyRequests", "Too many requests.", retry_after=pause)
    if status >= 500:
        message = f"The API server, or a proxy in front of it, answers with an error (HTTP {status})."
        return Unreachable(status, f"HTTP{status}", message, retry_after=pause)
    return NotTheApiServer(status, body, retry_after=pause)


def _absence(answer: dict[str, Any], reason: str, about: Subject) -> type[KubeError]:
    """The error for a Status with 404. Its `details.kind` holds the resource, and of some servers the kind."""
    raw = answer.get("details")
    details: dict[str, Any] = raw if isinstance(raw, dict) else {}
    if reason != "NotFound":
        return KubeError
    if not details.get("name"):
        return NotServed
    kind = str(details.get("kind") or about.resource).lower()
    if kind in {"namespaces", "namespace"} and details["name"] == about.namespace and about.resource != "namespaces":
        return NamespaceMissing
    same_kind = kind in {about.resource, about.resource.removesuffix("s")}
    same_group = str(details.get("group") or about.group) == about.group
    return NotFound if details["name"] == about.name and same_kind and same_group else KubeError


def _pause(header: str) -> float | None:
    """Seconds of a Retry-After header; a date, which no API server sends, is as good as none."""
    seconds = whole(header)
    return None if seconds is None else float(seconds)

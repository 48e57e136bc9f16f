"""Failures of the API, each a ``metav1.Status``.

Reasons and codes: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class StatusError(Exception):
    """An API failure: ``code`` is the HTTP status, ``reason`` the machine-readable CamelCase word."""

    def __init__(self, code: int, reason: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details or {}

    def status(self) -> dict[str, Any]:
        """The ``metav1.Status`` that goes over the wire."""
        body: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }
        if self.details:
            body["details"] = self.details
        return body


def _qualified(resource: str, group: str) -> str:
    return f"{resource}.{group}" if group else resource


def _details(resource: str, group: str, name: str, **extra: Any) -> dict[str, Any]:
    details: dict[str, Any] = {"name": name, "kind": resource}
    if group:
        details["group"] = group
    return {**details, **extra}


def not_found(resource: str, name: str, group: str = "") -> StatusError:
    """404: no such object."""
    return StatusError(
        404, "NotFound", f'{_qualified(resource, group)} "{name}" not found', _details(resource, group, name)
    )


def no_such_path() -> StatusError:
    """404: no such resource type or path."""
    return StatusError(404, "NotFound", "the server could not find the requested resource")


def already_exists(resource: str, name: str, group: str = "") -> StatusError:
    """409: an object of that name is there."""
    return StatusError(
        409, "AlreadyExists", f'{_qualified(resource, group)} "{name}" already exists', _details(resource, group, name)
    )


def conflict(resource: str, name: str, message: str = "", group: str = "") -> StatusError:
    """409: the object was changed meanwhile, or a precondition does not hold."""
    why = message or "the object has been modified; please apply your changes to the latest version and try again"
    return StatusError(
        409,
        "Conflict",
        f'Operation cannot be fulfilled on {_qualified(resource, group)} "{name}": {why}',
        _details(resource, group, name),
    )


def apply_conflict(message: str, causes: list[dict[str, str]]) -> StatusError:
    """409: server-side apply met fields that other managers own."""
    return StatusError(409, "Conflict", message, {"causes": causes})


def invalid(kind: str, name: str, causes: Sequence[tuple[str, str, str]], group: str = "") -> StatusError:
    """422: ``causes`` are (field, reason, message); ``kind`` is the CamelCase kind."""
    problems = [f"{field}: {message}" for field, _reason, message in causes]
    text = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
    details = _details(kind, group, name)
    details["causes"] = [{"reason": reason, "message": message, "field": field} for field, reason, message in causes]
    return StatusError(422, "Invalid", f'{_qualified(kind, group)} "{name}" is invalid: {text}', details)


def bad_request(message: str) -> StatusError:
    """400: the request can't be understood."""
    return StatusError(400, "BadRequest", message)


def unauthorized() -> StatusError:
    """401: no token, or one that nobody issued."""
    return StatusError(401, "Unauthorized", "Unauthorized")


def forbidden(resource: str, name: str, message: str, group: str = "") -> StatusError:
    """403: known who, but not allowed."""
    return StatusError(
        403,
        "Forbidden",
        f'{_qualified(resource, group)} "{name}" is forbidden: {message}',
        _details(resource, group, name),
    )


def forbidden_to(resource: str, name: str, message: str, group: str = "") -> StatusError:
    """403: no role allows it. ``resource`` is '' for a path that is none, ``name`` is '' for a collection."""
    named = f' "{name}"' if name else ""
    beginning = f"{_qualified(resource, group)}{named} is forbidden: " if resource else "forbidden: "
    details = {key: value for key, value in _details(resource, group, name).items() if value}
    return StatusError(403, "Forbidden", beginning + message, details)


def gone(message: str) -> StatusError:
    """410: that resourceVersion or continue token is older than what is kept."""
    return StatusError(410, "Expired", message)


def method_not_allowed() -> StatusError:
    """405: the path exists, the verb does not."""
    return StatusError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")


def unsupported_media_type(message: str) -> StatusError:
    """415: a body in a format that is not spoken here."""
    return StatusError(415, "UnsupportedMediaType", message)


def unavailable(message: str) -> StatusError:
    """503: try again later."""
    return StatusError(503, "ServiceUnavailable", message)

"""Errors that services raise and that both doors, pages and REST, show to people."""

from typing import Any


class FlotillaError(Exception):
    """Something a person can act on: `message` says what is wrong, `hint` what to do next.

    `field` names the input at fault, where there is one; `extensions` are facts that REST adds to the problem.
    """

    status = 500
    title = "Something went wrong"

    def __init__(
        self, message: str, *, hint: str = "", field: str = "", extensions: dict[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.field = field
        self.extensions = extensions or {}

    @property
    def sentence(self) -> str:
        """Message and hint as one text."""
        return f"{self.message} {self.hint}".strip()


class Invalid(FlotillaError):
    """The input can't be accepted."""

    status = 400
    title = "Invalid request"


class NotAllowed(FlotillaError):
    """The role does not allow this."""

    status = 403
    title = "Not allowed"


class Missing(FlotillaError):
    """There is no such object, or the caller may not know of it."""

    status = 404
    title = "Not found"


class Conflict(FlotillaError):
    """The object's present state does not allow this."""

    status = 409
    title = "Conflict"


class PreconditionFailed(FlotillaError):
    """Somebody else changed the object since it was read."""

    status = 412
    title = "Precondition failed"


class Unavailable(FlotillaError):
    """Something that Flotilla needs, such as a cluster, does not answer now."""

    status = 503
    title = "Unavailable"

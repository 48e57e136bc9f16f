"""Every error of the REST API is problem details (https://www.rfc-editor.org/rfc/rfc9457)."""

from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, JsonResponse
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from apps.core.database.rows import NOT_STORABLE
from apps.core.errors import FlotillaError
from apps.core.text.jsontext import whole

CONTENT_TYPE = "application/problem+json"


class ProblemResponse(Response):
    """A response whose body is a problem."""

    def __init__(self, status: int, title: str, detail: str = "", **extra: Any) -> None:
        body = {"type": "about:blank", "title": title, "status": status, "detail": detail, **extra}
        said = {key: _encodable(value) for key, value in body.items() if value not in ("", None)}
        super().__init__(said, status=status)

    @property
    def rendered_content(self) -> Any:
        """JSON, under the media type of problems."""
        content = super().rendered_content
        self["Content-Type"] = CONTENT_TYPE
        return content


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """Turn what a view raised into a problem; None leaves a real defect to be a 500."""
    set_rollback()
    if isinstance(error, FlotillaError):
        extra = {"hint": error.hint, "field": error.field, **error.extensions}
        return ProblemResponse(error.status, error.title, error.message, **extra)
    if isinstance(error, ValidationError):
        return ProblemResponse(400, "Invalid request", "; ".join(error.messages))
    if isinstance(error, NOT_STORABLE):
        # The input is wrong: it has a NUL character in a name, say, or a number that no column holds.
        return ProblemResponse(400, "Invalid request", "A value has characters or a size that can't be stored.")
    if isinstance(error, Http404):
        return ProblemResponse(404, "Not found", str(error))
    if isinstance(error, PermissionDenied):
        return ProblemResponse(403, "Not allowed", str(error))
    if isinstance(error, exceptions.ValidationError):
        return ProblemResponse(400, "Invalid request", _first_sentence(error.detail), errors=error.detail)
    if isinstance(error, exceptions.APIException):
        problem = ProblemResponse(error.status_code, _title_of(error), str(error.detail))
        if getattr(error, "auth_header", None):
            problem["WWW-Authenticate"] = error.auth_header  # type: ignore[attr-defined]
        seconds = getattr(error, "wait", None)
        if seconds:
            problem["Retry-After"] = str(int(seconds) + 1)
        return problem
    return None


def _title_of(error: exceptions.APIException) -> str:
    """The kind of error in words. Some kinds have a place for a value in theirs, which stands in the detail."""
    title = str(error.default_detail).rstrip(".")
    return HTTPStatus(error.status_code).phrase.capitalize() if "{" in title else title


def problem_json(status: int, title: str, detail: str = "") -> JsonResponse:
    """The same for code outside of REST framework views."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return JsonResponse(body, status=status, content_type=CONTENT_TYPE)


def _encodable(value: Any) -> Any:
    """The same without halves of surrogate pairs: what was wrong is often said in the caller's own words."""
    if isinstance(value, dict):
        return {_encodable(key): _encodable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_encodable(each) for each in value]
    return whole(value) if isinstance(value, str) else value


def _within(path: str, name: Any) -> str:
    """The place of a value: of a field, or of an item of a list."""
    if isinstance(name, int):
        return f"{path}[{name}]"
    return f"{path}.{name}" if path else str(name)


def _first_sentence(detail: Any, path: str = "") -> str:
    """The first error with the place of its value: "strategy.steps[1].weight has to be a whole number."."""
    if isinstance(detail, dict):
        name, first = next(iter(detail.items()), ("", ""))
        deeper = path if name == "non_field_errors" else _within(path, name)
        return _first_sentence(first, deeper)
    if isinstance(detail, list) and detail:
        at = next((number for number, each in enumerate(detail) if each), 0)
        return _first_sentence(detail[at], _within(path, at) if isinstance(detail[at], dict) else path)
    if path and str(detail).startswith("It "):
        return path + str(detail).removeprefix("It")
    return f"{path}: {detail}" if path else str(detail)

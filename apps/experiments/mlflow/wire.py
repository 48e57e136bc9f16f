"""The wire of MLflow's REST API: the caller, the request, and errors as an MLflow client understands them.

Plain Django views: no serializer classes, because this is the path that training loops wait for.
"""

import base64
import enum
import functools
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qs

from django.conf import settings
from django.core.exceptions import SuspiciousOperation
from django.db import OperationalError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.http.request import UnreadablePostError
from django.views.decorators.csrf import csrf_exempt

from apps.core.access import Principal, client_ip, project_or_404, visible_projects
from apps.core.database.rows import NOT_STORABLE
from apps.core.errors import Conflict, FlotillaError, Invalid, Missing, NotAllowed, Unavailable
from apps.core.limits import LIMITS, Rate, whole
from apps.core.models import Project
from apps.core.secrets.tokens import find_token
from apps.core.states import Role
from apps.experiments.tracking.arguments import missing, mistyped, wrong
from apps.experiments.tracking.ingest import check_key, check_text, cut_text, int64

logger = logging.getLogger(__name__)

WORKSPACE_HEADER = "X-MLFLOW-WORKSPACE"
# The workspace that MLflow's client names when none is chosen (mlflow/utils/workspace_utils.py).
NO_WORKSPACE = "default"
RETRY_AFTER_SECONDS = "1"

# mlflow/exceptions.py: ERROR_CODE_TO_HTTP_STATUS.
STATUS = {
    "INTERNAL_ERROR": 500,
    "NOT_IMPLEMENTED": 501,
    "TEMPORARILY_UNAVAILABLE": 503,
    "ENDPOINT_NOT_FOUND": 404,
    "RESOURCE_DOES_NOT_EXIST": 404,
    "PERMISSION_DENIED": 403,
    "UNAUTHENTICATED": 401,
    "REQUEST_LIMIT_EXCEEDED": 429,
    "BAD_REQUEST": 400,
    "RESOURCE_ALREADY_EXISTS": 400,
    "INVALID_PARAMETER_VALUE": 400,
}
_CODES: tuple[tuple[type[FlotillaError], str], ...] = (
    (Missing, "RESOURCE_DOES_NOT_EXIST"),
    (NotAllowed, "PERMISSION_DENIED"),
    (Unavailable, "TEMPORARILY_UNAVAILABLE"),
    (Invalid, "INVALID_PARAMETER_VALUE"),
    # MLflow answers so when an object's state does not allow the request, such as a deleted run.
    (Conflict, "INVALID_PARAMETER_VALUE"),
)


class MlflowError(Exception):
    """An error with one of MLflow's own codes."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class TooMany(MlflowError):
    """The token has used its budget up; `wait` is in seconds. A stock client waits so long, and tries again."""

    def __init__(self, wait: float) -> None:
        super().__init__("REQUEST_LIMIT_EXCEEDED", f"This token asks too often. Wait for {whole(wait)} s.")
        self.wait = wait


class Access(enum.Enum):
    """The effect of an endpoint. It decides whether a run's own token may call the endpoint."""

    READ = enum.auto()
    RUN = enum.auto()
    """Writes to one run, found by `Call.writable_run`, which refuses any other run."""
    WRITE = enum.auto()
    """Writes elsewhere: never with a run's token."""


@dataclass
class Arguments:
    """What a client says: the query of a GET, the body otherwise."""

    body: dict[str, Any]

    def text(self, name: str, *, required: bool = False, limit: int = 100_000) -> str:
        """A string argument, "" when it is absent. Raises Invalid."""
        value = self.body.get(name)
        if value is None or value == "":
            if required:
                raise missing(name)
            return ""
        if not isinstance(value, str):
            raise mistyped(name, value, "a string")
        if "\x00" in value or len(value) > limit:
            raise wrong(name, value, f"It must have at most {limit} letters, and no NUL.")
        return value

    def integer(self, name: str, default: int | None = None) -> int | None:
        """A 64-bit integer argument. Raises Invalid."""
        value = self.body.get(name)
        return default if value in (None, "") else int64(value, name)

    def objects(self, name: str) -> list[dict[str, Any]]:
        """A list of objects, such as tags. Raises Invalid."""
        value = self.body.get(name)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise mistyped(name, value, "a list of objects")
        return value

    def strings(self, name: str) -> list[str]:
        """A list of strings. Raises Invalid."""
        value = self.body.get(name)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise mistyped(name, value, "a list of strings")
        return value

    def pairs(self, name: str, limit: int, *, cut: bool = False) -> dict[str, str]:
        """A list of `{key, value}` as a dict; values longer than `limit` are cut or refused. Raises Invalid."""
        check = cut_text if cut else check_text
        given: dict[str, str] = {}
        for number, item in enumerate(self.objects(name)):
            key = check_key(item.get("key"), f"{name}[{number}].key")
            given[key] = check(item.get("value"), limit, f"{name}[{number}].value")
        return given


@dataclass
class Ask(Arguments):
    """The arguments and the caller, with the workspace that a header names."""

    principal: Principal
    workspace: str

    @property
    def run_token(self) -> str:
        """The id of the run that the caller's token belongs to, or ""."""
        return self.principal.token.run_uid if self.principal.token else ""

    def project(self, at_least: Role = Role.VIEWER) -> Project:
        """The project that a name is looked up in: the token's, else the workspace's, else the only visible one."""
        token, name = self.principal.token, self.workspace
        if token is not None and token.project is not None and name in ("", NO_WORKSPACE):
            name = token.project.name
        if name and (name != NO_WORKSPACE or visible_projects(self.principal).filter(name=name).exists()):
            return project_or_404(self.principal, name, at_least)
        visible = visible_projects(self.principal)
        for project in only(visible):
            return project_or_404(self.principal, project.name, at_least)
        several = visible.exists()
        raise Invalid(
            "Which project? This token sees several." if several else "This token sees no project.",
            hint="Set MLFLOW_WORKSPACE=<project>, or use a token of one project." if several else "",
        )


@dataclass
class Call(Ask):
    """One request that goes through Django."""

    request: HttpRequest

    def about(self, **body: Any) -> "Call":
        """The same caller with other arguments."""
        return replace(self, body=body)

    def strings(self, name: str) -> list[str]:
        """A list of strings; a query may repeat the name. Raises Invalid."""
        return query_of(self.request).get(name, []) if self.request.method == "GET" else super().strings(name)


def only(projects: QuerySet[Project]) -> list[Project]:
    """The project where there is exactly one, else none."""
    found = list(projects[:2])
    return found if len(found) == 1 else []


Handler = Callable[..., dict[str, Any] | bytes | HttpResponseBase]
"""Answers with an object, with the JSON of one, or with a response."""


def endpoint(**methods: tuple[Access, Handler]) -> Callable[..., HttpResponseBase]:
    """A view that dispatches by HTTP method and answers every failure in MLflow's form."""

    @csrf_exempt
    def view(request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
        try:
            principal = authenticate(request.headers.get("Authorization", ""), client_ip(request))
            request.principal = principal  # type: ignore[attr-defined]
            limit(principal)
            if request.method not in methods:
                raise MlflowError("ENDPOINT_NOT_FOUND", f"{request.path} does not answer {request.method}.")
            access, handler = methods[request.method]
            admit(principal, access)
            call = Call({}, principal, request.headers.get(WORKSPACE_HEADER, "").strip(), request)
            if getattr(handler, "parses_body", True):
                call.body = arguments(request)
            answer = handler(call, **kwargs)
        except Exception as error:  # noqa: BLE001 - the door: whatever happens, the client gets MLflow's form
            return failure(request, error)
        if isinstance(answer, bytes):
            return HttpResponse(answer, content_type="application/json")
        return answer if isinstance(answer, HttpResponseBase) else JsonResponse(answer)

    return view


def raw_body(handler: Handler) -> Handler:
    """Mark a handler that reads the request's body by itself."""
    handler.parses_body = False  # type: ignore[attr-defined]
    return handler


def authenticate(authorization: str, ip: str | None) -> Principal:
    """The caller by token, as a bearer's or as the password of any name. Raises MlflowError UNAUTHENTICATED: cookies
    never count here."""
    text = token_text(authorization)
    token = find_token(text) if text else None
    if token is None:
        raise MlflowError(
            "UNAUTHENTICATED",
            "This token is unknown, expired or revoked. Set MLFLOW_TRACKING_TOKEN to a valid one."
            if text
            else "No token was sent. Make one in Flotilla and set MLFLOW_TRACKING_TOKEN to it, or "
            "MLFLOW_TRACKING_PASSWORD beside any MLFLOW_TRACKING_USERNAME.",
        )
    return Principal(user=token.user, token=token, ip=ip)


def admit(principal: Principal, access: Access) -> None:
    """Raise MlflowError where the token itself forbids what an endpoint does, whatever its owner may do."""
    if access is Access.WRITE and principal.token is not None and principal.token.run_uid:
        raise MlflowError("PERMISSION_DENIED", "A run's token may only write to its own run.")
    if access is not Access.READ and principal.read_only:
        raise MlflowError("PERMISSION_DENIED", "This token may only read.")


def token_text(header: str) -> str:
    """The token in an Authorization header; "" where there is none. MLFLOW_TRACKING_USERNAME and _PASSWORD are sent as
    Basic (https://www.rfc-editor.org/rfc/rfc7617)."""
    scheme, _, said = header.partition(" ")
    if scheme.lower() == "bearer":
        return said.strip()
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(said.strip(), validate=True).decode().partition(":")[2]
    except ValueError:
        return ""


def limit(principal: Principal) -> None:
    """Raise TooMany when the caller has used the budget up."""
    wait = LIMITS.take(f"mlflow {principal.key}", _rate(settings.MLFLOW_RATE))
    if wait:
        raise TooMany(wait)


@functools.cache
def _rate(text: str) -> Rate:
    return Rate.parse(text)


def query_of(request: HttpRequest) -> dict[str, list[str]]:
    """What the query says, however often: Django refuses more than a thousand arguments before a handler can say how
    many runs a client may ask for. A server reads no address that is too long."""
    return parse_qs(request.META.get("QUERY_STRING", ""), keep_blank_values=True)


def arguments(request: HttpRequest) -> dict[str, Any]:
    """The client's arguments: the query of a GET, else the JSON object of the body."""
    if request.method == "GET" or not request.body:
        return {name: values[-1] for name, values in query_of(request).items()}
    return parsed(request.body)


def parsed(content: bytes) -> dict[str, Any]:
    """The JSON object of a body. Raises MlflowError."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise MlflowError("BAD_REQUEST", f"The request's body is not JSON: {error}.") from error
    if not isinstance(body, dict):
        raise MlflowError("BAD_REQUEST", "The request's body is not a JSON object.")
    return body


def failure(request: HttpRequest, error: Exception) -> HttpResponse:
    """Any exception as MLflow's `{error_code, message}` with its HTTP status."""
    status, answer, headers = explained(f"{request.method} {request.path}", error)
    return JsonResponse(answer, status=status, headers=headers)


def explained(asked: str, error: Exception) -> tuple[int, dict[str, str], dict[str, str]]:
    """The status, the answer and the headers that tell a client of an exception. `asked` names the request in logs."""
    code, message = _explain(asked, error)
    headers: dict[str, str] = {}
    if code == "TEMPORARILY_UNAVAILABLE":
        headers["Retry-After"] = RETRY_AFTER_SECONDS
    elif isinstance(error, TooMany):
        headers["Retry-After"] = str(whole(error.wait))
    elif code == "UNAUTHENTICATED":
        headers["WWW-Authenticate"] = 'Bearer realm="flotilla"'
    return STATUS[code], {"error_code": code, "message": message}, headers


def _explain(asked: str, error: Exception) -> tuple[str, str]:
    if isinstance(error, MlflowError):
        return error.code, error.message
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code, error.sentence
    # Too many bytes, or arguments: what Django refuses before a handler sees it.
    if isinstance(error, SuspiciousOperation):
        return "INVALID_PARAMETER_VALUE", "The request is larger than the server accepts. Split it up."
    if isinstance(error, NOT_STORABLE):
        return "INVALID_PARAMETER_VALUE", "A value in the request can't be stored."
    if isinstance(error, OperationalError | UnreadablePostError):
        logger.warning("%s: %s", asked, type(error).__name__)
        return "TEMPORARILY_UNAVAILABLE", "The server can't do this now. Try again."
    logger.error("%s failed", asked, exc_info=error)
    return "INTERNAL_ERROR", "The server failed. Its log has the details."


@raw_body
def not_here(call: Call, **_: Any) -> dict[str, Any]:
    """Answers every MLflow endpoint that Flotilla does not have, with the reason."""
    raise MlflowError("ENDPOINT_NOT_FOUND", f"Flotilla does not have {call.request.path} of MLflow's API.")

"""The way of the calls that trainings wait for: from the web server to Postgres and back, past all that is for pages.

No request object, no middleware, no ORM: who may is a permit (`tracking.permits`), and a statement does the rest. The
web process asks here at once (`controlplane.edge`); Django's own views of the same addresses, which answer where the
web process does not know better, ask here as well.
"""

import functools
import json
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeGuard, TypeVar
from urllib.parse import parse_qsl

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from django.http.request import UnreadablePostError, split_domain_port, validate_host
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt

from apps.core.access import Principal, client_ip
from apps.core.errors import FlotillaError, Invalid, Unavailable
from apps.core.secrets.tokens import digest
from apps.core.states import Role
from apps.experiments.mlflow.lookup import DEFAULT_ID, active_run, experiment_by_pk, experiment_of, number_of, run_of
from apps.experiments.mlflow.wire import (
    WORKSPACE_HEADER,
    Access,
    Arguments,
    Ask,
    MlflowError,
    admit,
    authenticate,
    endpoint,
    explained,
    failure,
    limit,
    parsed,
    token_text,
)
from apps.experiments.models import Experiment
from apps.experiments.tracking.permits import Permit, stamp_by_experiment, stamp_by_run

T = TypeVar("T")

# Permits that one process keeps, and how often a request tries to get one that is not outdated at once.
MOST_KEPT = 10_000
TRIES = 5
_HEADERS = {"Content-Type": "application/json", "X-Content-Type-Options": "nosniff"}
_kept: dict[Hashable, Permit] = {}


@dataclass(frozen=True, slots=True)
class Sent:
    """One request as it came."""

    method: str
    path: str
    query: str
    body: bytes
    authorization: str
    workspace: str
    ip: str | None

    @classmethod
    def by_asgi(cls, scope: Mapping[str, Any], body: bytes) -> "Sent | None":
        """The request of an ASGI scope; None where Django refuses the host that it names."""
        headers = {"authorization": "", WORKSPACE_HEADER.lower(): "", "host": ""}
        for name, value in scope["headers"]:
            known = name.decode("latin-1")
            if known in headers:
                headers[known] = value.decode("latin-1")
        if not _is_our_host(headers["host"]):
            return None
        ip = (scope.get("client") or ("", 0))[0] or None
        query = scope["query_string"].decode("latin-1")
        return cls(
            scope["method"], scope["path"], query, body, headers["authorization"], headers[WORKSPACE_HEADER.lower()], ip
        )

    @classmethod
    def by_django(cls, request: HttpRequest) -> "Sent":
        """The request of a Django view. Raises what Django raises for a body that is too large."""
        workspace = request.headers.get(WORKSPACE_HEADER, "")
        authorization = request.headers.get("Authorization", "")
        query = request.META.get("QUERY_STRING", "")
        return cls(str(request.method), request.path, query, request.body, authorization, workspace, client_ip(request))


@functools.lru_cache(maxsize=1000)
def _is_our_host(host: str) -> bool:
    domain, _ = split_domain_port(host)
    return bool(domain) and validate_host(domain, settings.ALLOWED_HOSTS)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: the status, the headers, and the body as JSON."""

    status: int
    headers: dict[str, str]
    body: bytes


class Visit:
    """One request on its way: its arguments, and what it may do by a permit."""

    def __init__(self, sent: Sent, access: Access) -> None:
        """Raises MlflowError for who sends no token, and for a body that is no JSON object."""
        self.sent, self._access = sent, access
        self._digest = digest(token_text(sent.authorization))
        self._counted = False
        try:
            body = parsed(sent.body) if sent.method != "GET" and sent.body else dict(parse_qsl(sent.query, True))
        except MlflowError:
            self._admitted()
            raise
        self.arguments = Arguments(body)

    def on_run(self, work: "Callable[[Permit], T | None]") -> T:
        """Do `work` by a permit for the run that the arguments name; `work` gives None when that does not hold any
        more, and is then done by a new one. Raises what `work` raises, and Missing or MlflowError for who may not."""
        said = self.arguments.body.get("run_id") or self.arguments.body.get("run_uuid")
        # Of no other form is there one; whoever asks for such is told so after they have said who they are.
        uid = said if isinstance(said, str) and said.isascii() and said.isalnum() else ""

        def issue() -> Permit:
            stamp = stamp_by_run(self._digest, uid)
            ask = self.asked()
            about = run_of(ask) if self._access is Access.READ else active_run(ask)
            return Permit.by(self._digest, stamp, _anywhere(ask.principal), about)

        return self._by_permit((self._digest, "run", uid, self._access), issue, work)

    def on_experiment(self, work: "Callable[[Permit | None, Principal, Experiment], T | None]") -> T:
        """The same for the experiment that is named, as a developer. Without a permit where none is named: the one that
        is meant follows from what the caller sees, and may have to be made."""
        try:
            pk = number_of(self.arguments.text("experiment_id") or DEFAULT_ID)
        except Invalid:
            self._admitted()
            raise
        if not pk:
            ask = self.asked()
            done = work(None, ask.principal, experiment_of(ask, Role.DEVELOPER))
            assert done is not None  # noqa: S101 - only a permit can be outdated
            return done

        def issue() -> Permit:
            stamp = stamp_by_experiment(self._digest, pk)
            ask = self.asked()
            return Permit.by(self._digest, stamp, _anywhere(ask.principal), experiment_by_pk(ask, pk, Role.DEVELOPER))

        return self._by_permit(
            (self._digest, "experiment", pk, self._access),
            issue,
            lambda permit: work(permit, permit.principal, permit.experiment),
        )

    def asked(self) -> Ask:
        """The arguments and the caller, by no permit: for what the caller may read. Raises MlflowError for nobody."""
        return Ask(self.arguments.body, self._admitted(), self.sent.workspace.strip())

    def _by_permit(self, key: Hashable, issue: Callable[[], Permit], work: "Callable[[Permit], T | None]") -> T:
        for _ in range(TRIES):
            permit = _kept.get(key)
            is_known = permit is not None and permit.is_kept
            if permit is None or not is_known:
                permit = issue()
            else:
                self._count(permit.principal)
            try:
                done = work(permit)
            except (FlotillaError, MlflowError):
                # Nobody is told what is wrong with a request who may not make it.
                if is_known and not permit.holds():
                    _kept.pop(key, None)
                    continue
                raise
            if done is None:
                _kept.pop(key, None)
                continue
            if not is_known:
                _keep(key, permit)
            return done
        raise Unavailable("What this token may do changes too fast.", hint="Try again.")

    def _admitted(self) -> Principal:
        principal = authenticate(self.sent.authorization, self.sent.ip)
        self._count(principal)
        admit(principal, self._access)
        return principal

    def _count(self, principal: Principal) -> None:
        if not self._counted:
            limit(principal)
            self._counted = True


def _anywhere(principal: Principal) -> Principal:
    # A permit is used for requests from other addresses, too.
    return replace(principal, ip=None)


def _keep(key: Hashable, permit: Permit) -> None:
    if len(_kept) >= MOST_KEPT:
        _kept.clear()
    _kept[key] = permit


Handler = Callable[[Visit], dict[str, Any] | bytes]
"""Answers with an object, or with the JSON of one."""


def direct(handler: Handler) -> Handler:
    """Mark a handler that goes this way: it gets a Visit in place of a Call."""
    handler.is_direct = True  # type: ignore[attr-defined]
    return handler


def is_direct(handler: Callable[..., Any]) -> TypeGuard[Handler]:
    """Whether a handler goes this way."""
    return getattr(handler, "is_direct", False)


def answer(handler: Handler, access: Access, sent: Sent) -> Reply:
    """What a handler answers, or its failure in MLflow's form."""
    status, headers = 200, _HEADERS
    said: Any
    try:
        said = handler(Visit(sent, access))
    except Exception as error:  # noqa: BLE001 - the door: whatever happens, the client gets MLflow's form
        status, said, more = explained(f"{sent.method} {sent.path}", error)
        headers = _HEADERS | more
    return Reply(status, headers, said if isinstance(said, bytes) else json.dumps(said).encode())


def answer_asgi(
    handler: Handler, access: Access, scope: Mapping[str, Any], body: bytes
) -> tuple[int, dict[str, str], bytes] | None:
    """The same for an ASGI scope: status, headers and body; None where Django is to refuse the host."""
    sent = Sent.by_asgi(scope, body)
    if sent is None:
        return None
    reply = answer(handler, access, sent)
    return reply.status, reply.headers, reply.body


def view(**methods: tuple[Access, Callable[..., Any]]) -> Callable[..., HttpResponseBase]:
    """The view of an address: methods that go this way do so, others as any do."""
    usual = endpoint(**methods)

    @csrf_exempt
    def asked(request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
        access, handler = methods.get(str(request.method), (Access.READ, endpoint))
        if not is_direct(handler):
            return usual(request, **kwargs)
        try:
            sent = Sent.by_django(request)
        except (RequestDataTooBig, UnreadablePostError) as error:
            return failure(request, error)
        reply = answer(handler, access, sent)
        return HttpResponse(reply.body, status=reply.status, headers=reply.headers)

    return asked

"""The ASGI application: who asks (a bearer token), what for (routing), and how the answer goes out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from starlette.requests import ClientDisconnect

from localcluster.api import handlers
from localcluster.api.access import Access
from localcluster.api.discovery import discover
from localcluster.api.http import Message, Receive, Request, Response, Send, Stream, failure, text
from localcluster.api.logs import NodeAgent, handle_log
from localcluster.api.metrics import handle_metrics
from localcluster.api.openapi import OpenApi
from localcluster.api.pods import handle_binding, handle_eviction
from localcluster.api.proxy import Proxy
from localcluster.api.requestinfo import Target, parse_target
from localcluster.api.reviews import handle_review
from localcluster.api.scale import handle_scale
from localcluster.api.tokenrequest import handle_token_request
from localcluster.auth.users import ANONYMOUS, User
from localcluster.errors import StatusError, method_not_allowed, no_such_path
from localcluster.registry import Registry
from localcluster.resources import Resource

log = logging.getLogger(__name__)

_HEALTH = ("/healthz", "/readyz", "/livez")
# The paths that a real API server shows to anybody through the role system:public-info-viewer
# (https://kubernetes.io/docs/reference/access-authn-authz/rbac/#discovery-roles).
_PUBLIC = (*_HEALTH, "/version")
_REVIEWS = {
    ("authorization.k8s.io", "selfsubjectaccessreviews"): "SelfSubjectAccessReview",
    ("authorization.k8s.io", "selfsubjectrulesreviews"): "SelfSubjectRulesReview",
    ("authentication.k8s.io", "selfsubjectreviews"): "SelfSubjectReview",
}

Answer = Response | Stream


class Api:
    """The API server over a registry."""

    def __init__(
        self,
        registry: Registry,
        access: Access,
        *,
        agent: NodeAgent | None = None,
        counted: Callable[[], str] = str,
    ) -> None:
        """`counted` gives the text of `/metrics`: what the proxy of Services has counted."""
        self._registry = registry
        self._access = access
        self._agent = agent
        self._counted = counted
        self._proxy = Proxy(registry)
        self._openapi = OpenApi(registry.catalog)
        self._streams: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """End all watches, followed logs and proxied connections."""
        for task in tuple(self._streams):
            task.cancel()
        await asyncio.gather(*self._streams, return_exceptions=True)
        await self._proxy.close()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """ASGI: one request."""
        if scope["type"] != "http":
            raise RuntimeError(f"{scope['type']} is not spoken here")
        request = Request(scope, receive)
        try:
            response = await self._route(request, self._user_of(request))
        except StatusError as error:
            response = failure(error)
        except ClientDisconnect:
            return
        except Exception:
            log.exception("%s %s failed", request.method, request.path)
            response = failure(StatusError(500, "InternalError", "an error on the server; its log says more"))
        if isinstance(response, Stream):
            await self._send_stream(response, scope, receive, send)
        else:
            await response(scope, receive, send)

    def _user_of(self, request: Request) -> User:
        if request.path.rstrip("/") in _PUBLIC and "authorization" not in request.headers:
            return ANONYMOUS
        return self._access.user_of(request)

    async def _route(self, request: Request, user: User) -> Answer:
        path = request.path
        target = parse_target(path)
        self._access.authorize(user, request, target)
        if path.startswith(_HEALTH):
            return self._health(request)
        if request.method == "GET":
            stripped = path.rstrip("/")
            document = discover(stripped, request, self._registry.catalog) or self._openapi.answer(stripped)
            if document:
                return document
        if path == "/metrics" and request.method == "GET":
            return text(self._counted())
        if target is None:
            raise no_such_path()
        if kind := _REVIEWS.get((target.group, target.resource)):
            if request.method != "POST":
                raise method_not_allowed()
            return await handle_review(kind, self._access.rbac, user, request)
        if target.group == "metrics.k8s.io":
            return handle_metrics(self._registry, self._agent, target, request)
        row = self._registry.catalog.at(target.group, target.version, target.resource)
        if row is None or (target.namespace and not row.namespaced):
            raise no_such_path()
        if target.subresource and target.subresource != "status":
            return await self._subresource(row, target, request)
        applies = request.method == "PATCH" and request.content_type == handlers.APPLY_PATCH and not target.subresource
        if applies:
            # Before any object is read: from here on nothing waits, so that the action authorized is the action done.
            await request.body()
        if applies and not self._registry.exists(row.key, target.name or "", target.namespace):
            self._access.authorize_create(user, target)
        return await self._stored(row, target, request)

    def _health(self, request: Request) -> Response:
        name = request.path.strip("/").split("/")[0]
        if "verbose" in request.raw_query:
            return text(f"[+]ping ok\n[+]store ok\n{name} check passed\n")
        return text("ok")

    async def _stored(self, row: Resource, target: Target, request: Request) -> Answer:
        registry, method = self._registry, request.method
        if target.subresource and "status" not in row.subresources:
            raise no_such_path()
        if target.name is None:
            if method == "GET":
                return handlers.list_objects(registry, row, target, request)
            if method == "POST":
                return await handlers.create_object(registry, row, target, request)
            if method == "DELETE" and row.key != "namespaces":
                return await handlers.delete_collection(registry, row, target, request)
            raise method_not_allowed()
        if row.namespaced and not target.namespace:
            raise no_such_path()
        if method in ("GET", "HEAD"):
            return handlers.get_object(registry, row, target, request)
        if method == "PUT":
            return await handlers.update_object(registry, row, target, request)
        if method == "PATCH":
            return await handlers.patch_object(registry, row, target, request)
        if method == "DELETE" and not target.subresource:
            return await handlers.delete_object(registry, row, target, request)
        raise method_not_allowed()

    async def _subresource(self, row: Resource, target: Target, request: Request) -> Answer:
        name, method = target.subresource or "", request.method
        if name not in row.subresources:
            raise no_such_path()
        if name == "proxy" and row.plural in ("pods", "services"):
            return await self._proxy.handle(target, request)
        if name == "log" and method == "GET":
            return await handle_log(self._registry, self._agent, target, request)
        if name == "scale" and method in ("GET", "PUT", "PATCH"):
            return await handle_scale(self._registry, row, target, request)
        if name == "binding" and method == "POST":
            return await handle_binding(self._registry, target, request)
        if name == "eviction" and method == "POST":
            return await handle_eviction(self._registry, target, request)
        if name == "token" and method == "POST":
            return await handle_token_request(self._registry, self._access.tokens, target, request)
        if name == "finalize" and method == "PUT":
            return await handlers.update_object(self._registry, row, target, request)
        raise method_not_allowed()

    async def _send_stream(self, stream: Stream, scope: Message, receive: Receive, send: Send) -> None:
        """Send piece by piece; stop when the client goes or the server closes."""
        sending = asyncio.ensure_future(stream(scope, receive, send))
        self._streams.add(sending)
        try:
            await asyncio.wait({sending})
        finally:
            self._streams.discard(sending)
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        if not sending.cancelled():
            sending.result()

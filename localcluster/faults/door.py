"""The door before the API: it lets requests run into faults, and has the endpoint that switches these on and off.

POST   /localcluster/faults        a fault as JSON; see docs/localcluster.md
GET    /localcluster/faults        those that are on
DELETE /localcluster/faults[/id]   end all, or one
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from starlette import responses

from localcluster.api.access import attributes_of, bearer
from localcluster.api.app import Api
from localcluster.api.http import Message, Receive, Request, Response, Send, answer, failure
from localcluster.api.requestinfo import parse_target
from localcluster.api.watch import line
from localcluster.auth.attributes import Attributes
from localcluster.auth.tokens import Tokens
from localcluster.errors import StatusError, forbidden_to, method_not_allowed, unauthorized
from localcluster.faults.book import Faults
from localcluster.faults.cluster import ClusterFaults
from localcluster.faults.spec import Fault, Kind, Match, answer_of, parse
from localcluster.meta import dump

PATH = "/localcluster/faults"
#: Closes the connections from these clients, or all but these when the flag is set.
Abort = Callable[[Any, bool], None]


class _Watch:
    """An open watch, as far as a fault can reach it."""

    def __init__(self, client: Any, wish: Attributes, agent: str, user: str) -> None:
        self.client = client
        self.about = (wish, agent, user)
        self.silent = False
        #: Set to end it: the last words.
        self.last: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def end(self, words: bytes) -> None:
        """End the stream after these words, unless nobody would hear them."""
        if not (self.silent or self.last.done()):
            self.last.set_result(words)


class FaultDoor:
    """An ASGI application around the API."""

    def __init__(self, api: Api, tokens: Tokens, cluster: ClusterFaults, abort: Abort) -> None:
        self._api = api
        self._tokens = tokens
        self._cluster = cluster
        self._abort = abort
        self._faults = Faults()
        self._watches: set[_Watch] = set()
        self._closing = asyncio.Event()

    def close(self) -> None:
        """End all faults, and let go the requests that hang."""
        self._closing.set()
        self._faults.clear()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """ASGI: one request."""
        if scope["type"] != "http":
            await self._api(scope, receive, send)
        elif scope["path"] == PATH or scope["path"].startswith(f"{PATH}/"):
            await (await self._switch(Request(scope, receive)))(scope, receive, send)
        elif self._faults or b"watch=" in scope["query_string"]:
            await self._meet(scope, receive, send)
        else:
            await self._api(scope, receive, send)

    # -- what requests run into

    async def _meet(self, scope: Message, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            wish = attributes_of(request, parse_target(request.path))
        except StatusError:
            # An option that is not known: the API says so.
            await self._api(scope, receive, send)
            return
        token, agent = bearer(request), request.headers.get("user-agent", "")
        user = self._tokens.user_of(token) if token else None
        name = user.name if user else ""
        met = {fault.kind: fault for fault in self._faults.met(wish, agent, token, name)}
        if cut := met.get(Kind.CUT_OFF):
            if cut.parameters["mode"] == "Close":
                self._abort(scope["client"], False)
            await self._hang(receive)
            return
        if delay := met.get(Kind.DELAY):
            await asyncio.sleep(delay.parameters["delaySeconds"])
        if Kind.EXPIRE_TOKEN in met:
            await failure(unauthorized())(scope, receive, send)
        elif proxy := met.get(Kind.PROXY):
            await _of_proxy(proxy)(scope, receive, send)
        elif chosen := met.get(Kind.ANSWER):
            await _failed(answer_of(chosen), wish)(scope, receive, send)
        else:
            if Kind.MALFORMED in met:
                send = _garbling(send)
            watch = _Watch(scope["client"], wish, agent, name)
            watch.silent = Kind.DROP_WATCH in met
            await self._watched(watch, scope, receive, send)

    async def _watched(self, watch: _Watch, scope: Message, receive: Receive, send: Send) -> None:
        async def unless_silent(message: Message) -> None:
            # The head goes out in any case: a half-open connection looks well.
            if not watch.silent or message["type"] == "http.response.start":
                await send(message)

        if watch.about[0].verb == "watch":
            self._watches.add(watch)
        serving = asyncio.ensure_future(self._api(scope, receive, unless_silent))
        try:
            await asyncio.wait((serving, watch.last), return_when=asyncio.FIRST_COMPLETED)
            if watch.last.done():
                watch.silent = True
                await send({"type": "http.response.body", "body": watch.last.result()})
                return
            serving.result()
            if watch.silent:
                await self._hang(receive)
        finally:
            self._watches.discard(watch)
            watch.last.cancel()
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)

    async def _hang(self, receive: Receive) -> None:
        """Say nothing until the client goes or the server closes."""
        gone = asyncio.ensure_future(_disconnected(receive))
        closing = asyncio.ensure_future(self._closing.wait())
        try:
            await asyncio.wait((gone, closing), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (gone, closing):
                task.cancel()
            await asyncio.gather(gone, closing, return_exceptions=True)

    # -- the endpoint

    async def _switch(self, request: Request) -> Response:
        try:
            if not self._tokens.is_admin(bearer(request)):
                user = self._tokens.user_of(bearer(request))
                raise forbidden_to("", "", "faults are the administrator's") if user else unauthorized()
            return await self._administer(request)
        except StatusError as error:
            return failure(error)

    async def _administer(self, request: Request) -> Response:
        id_ = request.path.removeprefix(PATH).strip("/")
        if request.method == "POST" and not id_:
            fault = parse(await request.document())
            self._start(fault, request)
            return answer(fault.describe(), 201)
        if request.method == "DELETE":
            if id_:
                self._faults.remove(id_)
            else:
                self._faults.clear()
        elif request.method != "GET" or id_:
            raise method_not_allowed()
        return answer({"items": [fault.describe() for fault in self._faults.all()]})

    def _start(self, fault: Fault, request: Request) -> None:
        self._faults.add(fault, self._cluster.start(fault))
        if fault.kind is Kind.END_WATCH:
            self._end_watches(fault)
        if fault.kind is Kind.CUT_OFF and fault.parameters["mode"] == "Close":
            self._close_connections(fault, request)
        elif fault.kind in (Kind.DROP_WATCH, Kind.CUT_OFF):
            self._silence(fault)
        if fault.kind is Kind.DROP_WATCH and fault.seconds is None and fault.count is None:
            # Only watches that are open now are met; a client that asks again is served.
            self._faults.remove(fault.id)

    def _close_connections(self, fault: Fault, request: Request) -> None:
        if fault.match == Match():
            self._abort(request.client, True)
        for watch in self._watches:
            if fault.match.fits(*watch.about):
                self._abort(watch.client, False)

    def _end_watches(self, fault: Fault) -> None:
        words = line("ERROR", dump(answer_of(fault).status())) if "code" in fault.parameters else b""
        for watch in self._watches:
            if fault.match.fits(*watch.about):
                watch.end(words)
                self._faults.hit(fault)

    def _silence(self, fault: Fault) -> None:
        for watch in self._watches:
            if fault.count is not None and fault.hits >= fault.count:
                break
            if fault.match.fits(*watch.about) and not watch.silent:
                watch.silent = True
                self._faults.hit(fault)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue


def _failed(error: StatusError, wish: Attributes) -> Response:
    if error.code == 410 and wish.verb == "watch":
        # A real API server sends this inside the stream.
        return Response(line("ERROR", dump(error.status())))
    return failure(error)


def _of_proxy(fault: Fault) -> responses.Response:
    """The answer of a proxy in front of the API server, in its place."""
    parameters = fault.parameters
    headers = {"content-type": parameters.get("contentType", "text/plain; charset=utf-8")}
    return responses.Response(parameters.get("body", "404 page not found\n"), parameters["code"], headers)


def _garbling(send: Send) -> Send:
    """Passes each piece on with its second half cut off, in well-formed HTTP."""
    held: list[Message] = []

    async def garbled(message: Message) -> None:
        if message["type"] == "http.response.start":
            held.append(message)
            return
        body = message.get("body", b"")[: len(message.get("body", b"")) // 2]
        body = body + b"\n" if body and message.get("more_body") else body
        if held:
            start = held.pop()
            headers = [(name, value) for name, value in start["headers"] if name != b"content-length"]
            if not message.get("more_body"):
                headers.append((b"content-length", str(len(body)).encode()))
            await send({**start, "headers": headers})
        await send({**message, "body": body})

    return garbled


def aborter(connections: Callable[[], set[Any]]) -> Abort:
    """Closes connections of a uvicorn server, without a word: ``(client, False)`` that one's, ``True`` all others."""

    def abort(client: Any, others: bool) -> None:
        for connection in list(connections()):
            if (connection.client == client) != others:
                with contextlib.suppress(RuntimeError):
                    connection.transport.abort()

    return abort

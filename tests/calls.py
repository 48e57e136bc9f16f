"""Records what the adapter asks of clusters, in the words of roles."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest

from apps.clusters.kube.errors import KubeError
from apps.clusters.kube.stream import StreamClient
from apps.clusters.kube.transport import Answer, Transport
from localcluster.api.requestinfo import parse_target

# https://kubernetes.io/docs/reference/access-authn-authz/authorization/#determine-the-request-verb
OF_ONE = {"GET": "get", "PATCH": "patch", "PUT": "update", "POST": "create", "DELETE": "delete"}
OF_MANY = {"GET": "list", "POST": "create", "DELETE": "deletecollection"}


class Call(NamedTuple):
    """A verb on a resource, and on which object."""

    group: str
    resource: str
    verb: str
    name: str = ""


@dataclass
class Calls:
    """What was asked, and which of it was refused."""

    made: set[Call] = field(default_factory=set)
    refused: set[Call] = field(default_factory=set)

    def note(self, method: str, path: str, query: dict[str, str], status: int) -> None:
        target = parse_target(path)
        if target is None or target.group == "authorization.k8s.io":
            return  # open to everybody who is known
        verb = OF_ONE[method] if target.name else OF_MANY[method]
        resource = f"{target.resource}/{target.subresource}" if target.subresource else target.resource
        call = Call(target.group, resource, "watch" if query.get("watch") else verb, target.name or "")
        self.made.add(call)
        if method == "PATCH" and status == 201:
            # An apply that creates must be allowed to do that, too.
            self.made.add(call._replace(verb="create"))
        if status in {401, 403}:
            self.refused.add(call)


@contextmanager
def recorded() -> Iterator[Calls]:
    """Every call of every client of this process while the block runs."""
    calls = Calls()
    send, request = Transport._send, StreamClient._request

    def sending(self: Transport, method: str, path: str, query: Any, *rest: Any) -> Answer:
        answer = send(self, method, path, query, *rest)
        calls.note(method, path, query or {}, answer.status)
        return answer

    @asynccontextmanager
    async def requesting(self: StreamClient, path: str, query: dict[str, str], *rest: Any) -> AsyncIterator[Any]:
        try:
            async with request(self, path, query, *rest) as response:
                calls.note("GET", path, query, response.status)
                yield response
        except KubeError as error:
            refused = getattr(error, "refused", error)
            if refused.status in {401, 403}:
                calls.note("GET", path, query, refused.status)
            raise

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Transport, "_send", sending)
        patched.setattr(StreamClient, "_request", requesting)
        yield calls

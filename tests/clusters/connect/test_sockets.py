"""Where a connection really goes: redirects, and names that change their answer, through real sockets and resolvers."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from apps.clusters import services
from apps.clusters.kube import heads, pool, transport
from apps.clusters.kube.client import KubeClient
from apps.clusters.kube.connection import Connection
from apps.clusters.kube.errors import KubeError, NotTheApiServer, Unreachable
from apps.clusters.kube.stream import StreamClient
from apps.clusters.models import Cluster
from apps.core.access import Principal
from apps.core.errors import Invalid
from tests.clusters.fakeapi import TOKEN, FakeApi, certificate, server_context

REDIRECTS = [301, 302, 303, 307, 308]


class Trap:
    """A port on which nobody must ever connect: what an internal service would be. Counts who does."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        self._listener = socket.create_server((address, 0))
        self.port = self._listener.getsockname()[1]
        self.visits: list[bytes] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                visitor, _ = self._listener.accept()
                with visitor:
                    visitor.settimeout(1)
                    with contextlib.suppress(OSError):
                        self.visits.append(visitor.recv(4096))

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def trap() -> Iterator[Trap]:
    made = Trap()
    yield made
    made.close()


def connection(api: FakeApi) -> Connection:
    return Connection(f"https://127.0.0.1:{api.port}", "127.0.0.1", api.ca.decode(), token=TOKEN)


def by_urllib3(made: Connection) -> None:
    KubeClient(made).list("v1", "Pod")


def by_aiohttp(made: Connection) -> None:
    async def read() -> None:
        client = StreamClient(made)
        try:
            async for _ in client.list("v1", "Pod"):
                pass
        finally:
            await client.close()

    asyncio.run(read())


def by_watch(made: Connection) -> None:
    async def read() -> None:
        client = StreamClient(made)
        try:
            async for _ in client.watch("v1", "Pod", "1", server_seconds=1, grace_seconds=1):
                pass
        finally:
            await client.close()

    asyncio.run(read())


@pytest.mark.parametrize("code", REDIRECTS)
@pytest.mark.parametrize("call", [by_urllib3, by_aiohttp, by_watch])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_no_redirect_is_followed_and_no_token_leaks_by_one(
    api: FakeApi, trap: Trap, call: Callable[[Connection], None], code: int, scheme: str
) -> None:
    api.redirect_lists = code, f"{scheme}://127.0.0.1:{trap.port}/latest/meta-data"
    with pytest.raises(NotTheApiServer) as caught:
        call(connection(api))
    assert caught.value.http_status == code
    assert len(api.requests) == 1 and trap.visits == []


def test_a_write_and_a_proxied_request_follow_no_redirect_either(api: FakeApi, trap: Trap) -> None:
    api.redirect_lists = 307, f"https://127.0.0.1:{trap.port}/"
    client = KubeClient(connection(api))
    with pytest.raises(KubeError):
        client.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "n"}})
    assert client.proxy_pod("n", "p", 80, "POST", "/", body=b"{}").status == 307, "handed back, not followed"
    assert trap.visits == []


@pytest.fixture
def rebinding(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A name, k8s.test, whose answer changes: each look-up takes the next address, the last one stays."""
    answers: list[str] = []
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *args: Any, **options: Any) -> Any:
        if host not in {"k8s.test", b"k8s.test"}:
            return real(host, port, *args, **options)
        address = answers.pop(0) if len(answers) > 1 else answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return answers


@pytest.fixture
def named(api: FakeApi, admin: Principal, rebinding: list[str]) -> Cluster:
    """A cluster that is registered by that name, while the name still points to the API server."""
    rebinding.append("127.0.0.1")
    server = f"https://127.0.0.1:{api.port}"
    text = api.kubeconfig.replace(server, f"https://k8s.test:{api.port}\n    tls-server-name: 127.0.0.1")
    return services.register(principal=admin, name="named", kubeconfig_text=text)


@pytest.mark.django_db
@pytest.mark.parametrize("call", [by_urllib3, by_aiohttp])
def test_a_name_that_changes_after_the_check_changes_nothing(
    api: FakeApi, named: Cluster, rebinding: list[str], call: Callable[[Connection], None]
) -> None:
    """The check sees the API server; whoever asked the name again would be led to the metadata service."""
    rebinding[:] = ["127.0.0.1", "169.254.169.254"]
    made = services.connection_of(named)
    assert made.address == "127.0.0.1"
    call(made)
    assert api.count("GET /api/v1/pods") == 1
    assert rebinding == ["169.254.169.254"], "the name was asked once, by the check"


@pytest.mark.django_db
def test_a_name_that_changed_before_the_check_is_refused_at_connect(
    api: FakeApi, named: Cluster, rebinding: list[str], admin: Principal
) -> None:
    rebinding[:] = ["169.254.169.254"]
    for connect in (services.connect, services.connection_of):
        with pytest.raises(Invalid, match="metadata"):
            connect(named)
    report = services.check_connection(principal=admin, cluster=named)
    assert report.reason == "AddressRefused" and "169.254" not in report.sentence
    assert api.requests == []


@pytest.mark.django_db
def test_a_pooled_client_that_is_made_anew_checks_the_name_anew(
    api: FakeApi, named: Cluster, rebinding: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    services.connect(named).version()
    monkeypatch.setattr(pool, "MAX_AGE_SECONDS", 0.0)
    rebinding[:] = ["169.254.169.254"]
    with pytest.raises(Invalid, match="metadata"):
        services.connect(named)


@pytest.fixture(params=[b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{", b"HTTP/1.1 200 OK\r\nX-Never: e"])
def dripping(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, str]]:
    """A server whose answer's body, or head, never ends: a byte now and then. Its port and its CA."""
    monkeypatch.setattr(heads, "HEAD_SECONDS", 0.3)
    pem, key = certificate()
    context = server_context(pem, key)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                visitor, _ = listener.accept()
                threading.Thread(target=drip, args=(visitor,), daemon=True).start()

    def drip(visitor: socket.socket) -> None:
        with contextlib.suppress(OSError), context.wrap_socket(visitor, server_side=True) as stream:
            stream.recv(4096)
            stream.sendall(request.param)
            while True:
                stream.sendall(b" ")
                time.sleep(0.05)

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1], pem.decode()
    listener.close()


def test_an_answer_that_drips_in_ends_with_the_budget(
    dripping: tuple[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, ca = dripping
    client = KubeClient(Connection(f"https://127.0.0.1:{port}", "127.0.0.1", ca, token=TOKEN), budget=1.0)
    limits, ask = [], transport.Transport._ask

    def noted(*given: Any) -> Any:
        limits.append(given[-1])
        return ask(*given)

    monkeypatch.setattr(transport.Transport, "_ask", noted)
    for _ in range(3):
        with pytest.raises(Unreachable) as caught:
            client.version()
        assert caught.value.reason == "Timeout"
    assert len(limits) <= 3 and all(read < 0.5 for _, read in limits[1:]), "the budget is for all calls together"


def test_an_answer_that_drips_in_ends_without_a_budget_too(
    dripping: tuple[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "BODY_SECONDS", 0.5)
    port, ca = dripping
    with pytest.raises(Unreachable, match=r"too slowly|did not answer in time"):
        KubeClient(Connection(f"https://127.0.0.1:{port}", "127.0.0.1", ca, token=TOKEN)).version()

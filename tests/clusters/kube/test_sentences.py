"""What is said of a server that can't be trusted: one sentence for each cause, and it names both sides."""

import asyncio
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from apps.clusters.kube.client import KubeClient
from apps.clusters.kube.connection import Connection
from apps.clusters.kube.errors import Unreachable
from apps.clusters.kube.stream import StreamClient
from tests.clusters.fakeapi import FakeApi, certificate, server_context

MOMENT = r"20\d\d-\d\d-\d\d \d\d:\d\d UTC"
ANOTHER_AUTHORITY = (
    r" \(self-signed certificate\); the registered certificate authority is fake\. If the cluster has a new authority, "
    r"give it its new kubeconfig; else another server answers for it\."
)
FRONT = r"\. Look at the proxy or load balancer in front of it, and at the address that was registered\."


@dataclass(frozen=True)
class Case:
    """A server that was staged, and all that is said of it. `host` is what the cluster was registered by."""

    staged: Callable[[FakeApi], bytes]
    reason: str
    sentence: str
    host: str = "127.0.0.1"
    client_ended: bool = False


def shows(*, trusted: bool = True, **changes: object) -> Callable[[FakeApi], bytes]:
    """A server with another certificate; returns the authority that is registered."""

    def stage(api: FakeApi) -> bytes:
        pem, key = certificate(**changes)  # type: ignore[arg-type]
        api.listen_with(server_context(pem, key))
        return pem if trusted else api.ca

    return stage


def speaks_plain_http(api: FakeApi) -> bytes:
    api.listen_with(None)
    return api.ca


def answers(status: int, body: bytes, content_type: str = "text/html") -> Callable[[FakeApi], bytes]:
    def stage(api: FakeApi) -> bytes:
        api.proxy = (status, content_type, body)
        return api.ca

    return stage


def hangs_up(*, tls: bool, hears: bool) -> Callable[[FakeApi], bytes]:
    def stage(api: FakeApi) -> bytes:
        api.hang_up(server_context(api.ca, api.key) if tls else None, hears=hears)
        return api.ca

    return stage


def takes_certificates_of_another_only(api: FakeApi) -> bytes:
    context = server_context(api.ca, api.key)
    context.load_verify_locations(cadata=certificate(called="theirs")[0].decode())
    context.verify_mode = ssl.CERT_REQUIRED
    api.listen_with(context)
    return api.ca


CASES = {
    "another authority": Case(
        shows(trusted=False, called="new-ca"),
        "CertificateInvalid",
        rf"The server's certificate was issued by new-ca{ANOTHER_AUTHORITY}",
    ),
    "another authority of the same name": Case(
        shows(trusted=False),
        "CertificateInvalid",
        rf"The server's certificate was issued by another authority of the name fake{ANOTHER_AUTHORITY}",
    ),
    "another host name": Case(
        shows(host="kube.example"),
        "CertificateInvalid",
        r"The server's certificate is for kube\.example, and Flotilla asks for localhost\. Register the cluster by a "
        r"name that is in its certificate, or with tls-server-name\.",
        host="localhost",
    ),
    "another address": Case(
        shows(host="127.0.0.9"),
        "CertificateInvalid",
        r"The server's certificate is for 1 other address, and Flotilla asks for the registered address\. Register the "
        r"cluster by a name that is in its certificate, or with tls-server-name\.",
    ),
    "an expired certificate": Case(
        shows(days=-1),
        "CertificateInvalid",
        rf"The server's certificate expired on {MOMENT}; by Flotilla's clock it is {MOMENT}\. Renew it on the "
        r"cluster\.",
    ),
    "an expired client certificate": Case(
        takes_certificates_of_another_only,
        "ClientCertificateRefused",
        rf"Flotilla's client certificate expired on {MOMENT}, and the server does not take it( \([a-z ]+\))?\. Give "
        r"the cluster a new credential\.",
        client_ended=True,
    ),
    "plain HTTP": Case(
        speaks_plain_http,
        "PlainHttp",
        r"Flotilla asks localhost, port \d+, by TLS, but the server there answers in plain text, as HTTP does\. "
        r"Register the cluster by the port of its API server that takes https\.",
        host="localhost",
    ),
    "plain HTTP at an address": Case(
        speaks_plain_http,
        "PlainHttp",
        r"Flotilla asks the registered address, port \d+, by TLS, but the server there answers in plain text, as HTTP "
        r"does\. Register the cluster by the port of its API server that takes https\.",
    ),
    **{
        f"it hangs up {when}": Case(
            hangs_up(tls=tls, hears=hears),
            "ConnectionClosed",
            r"Flotilla asks the registered address, port \d+, and the server there closes the connection before it has "
            r"answered\. Is an API server there, and does it take https on this port\?",
        )
        for when, tls, hears in (
            ("at once", False, False),
            ("in the handshake", False, True),
            ("when it is asked", True, True),
        )
    },
    "a proxy's page": Case(
        answers(200, b"<html>Please log in</html>"),
        "NotTheApiServer",
        rf"Flotilla asked for the Kubernetes API, but a web page answered \(HTTP 200\){FRONT}",
    ),
    "a proxy's page of an error": Case(
        answers(404, b"<!doctype html>"),
        "NotTheApiServer",
        rf"Flotilla asked for the Kubernetes API, but a web page answered \(HTTP 404\){FRONT}",
    ),
    "another service": Case(
        answers(200, b'{"status": "ok"}', "application/json"),
        "NotTheApiServer",
        rf"Flotilla asked for the Kubernetes API, but something else answered \(HTTP 200\){FRONT}",
    ),
}


async def watched(connection: Connection) -> None:
    client = StreamClient(connection)
    try:
        await client.version(10.0)
    finally:
        await client.close()


def called(connection: Connection) -> None:
    client = KubeClient(connection)
    try:
        client.version()
    finally:
        client.close()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_is_wrong_between_two_sides_is_told_of_both(api: FakeApi, case: Case) -> None:
    connection = Connection(f"https://{case.host}:{api.port}", "127.0.0.1", ca=case.staged(api).decode())
    if case.client_ended:
        pem, key = (part.decode() for part in certificate(called="ours", days=-1))
        connection = replace(connection, client_certificate=pem, client_key=key)
    for ask in (called, lambda asked: asyncio.run(watched(asked))):
        with pytest.raises(Unreachable) as caught:
            ask(connection)
        assert caught.value.reason == case.reason
        assert re.fullmatch(case.sentence, caught.value.message), caught.value.message
        assert "127.0.0.1" not in caught.value.message, "not everyone who reads it may know the address"

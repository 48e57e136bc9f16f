"""A transport's exception, whichever library raised it, in words for people."""

import ssl
from collections.abc import Iterator

import urllib3

from apps.clusters.kube import trust
from apps.clusters.kube.connection import Connection
from apps.clusters.kube.errors import Unreachable

# A server that hangs up: within the handshake one library calls that an error of TLS, the other one a reset connection.
_HUNG_UP = (ssl.SSLEOFError, ConnectionResetError, ConnectionAbortedError, BrokenPipeError)


def unreachable(error: Exception, connection: Connection) -> Unreachable:
    """The Unreachable that tells people why a call by this connection failed."""
    causes = list(_causes(error))
    return _by_tls(causes, connection) or _by_socket(error, causes, connection)


def _by_tls(causes: list[BaseException], connection: Connection) -> Unreachable | None:
    # aiohttp's errors are of these classes, too, but only those that they wrap know what OpenSSL has found out.
    failures = [error for error in causes if isinstance(error, ssl.SSLError) and not isinstance(error, _HUNG_UP)]
    failure = next((error for error in failures if getattr(error, "reason", None)), next(iter(failures), None))
    if failure is None:
        return None
    if isinstance(failure, ssl.SSLCertVerificationError):
        return Unreachable(0, "CertificateInvalid", trust.untrusted(failure, connection))
    if trust.refuses_certificate(failure):
        return _refused(connection, trust.alert_words(failure))
    asked = f"{trust.asked_name(connection)}, port {connection.port},"
    if trust.without_tls(failure):
        message = (
            f"Flotilla asks {asked} by TLS, but the server there answers in plain text, as HTTP does. Register the "
            "cluster by the port of its API server that takes https."
        )
        return Unreachable(0, "PlainHttp", message)
    message = f"The TLS handshake with {asked} failed. Is an API server there, and does it take https on this port?"
    return Unreachable(0, "TLSFailed", message)


def _by_socket(error: Exception, causes: list[BaseException], connection: Connection) -> Unreachable:
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return Unreachable(0, "ConnectionRefused", "The connection was refused; nothing listens at this address.")
    if any(isinstance(cause, TimeoutError | urllib3.exceptions.TimeoutError) for cause in causes):
        return Unreachable(0, "Timeout", "The API server did not answer in time.")
    hung_up = any(isinstance(cause, _HUNG_UP) for cause in causes)
    if trust.expired_since(connection):
        return _refused(connection, "it closed the connection" if hung_up else "the connection failed")
    if hung_up:
        asked = f"{trust.asked_name(connection)}, port {connection.port},"
        message = (
            f"Flotilla asks {asked} and the server there closes the connection before it has answered. Is an API "
            "server there, and does it take https on this port?"
        )
        return Unreachable(0, "ConnectionClosed", message)
    return Unreachable(0, "ConnectionFailed", f"The connection failed ({type(error).__name__}).")


def _refused(connection: Connection, why: str) -> Unreachable:
    return Unreachable(0, "ClientCertificateRefused", trust.refusal(connection, why))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The exception and all that it wraps; each library keeps that in a place of its own."""
    waiting: list[object] = [error]
    seen: set[int] = set()
    while waiting:
        cause = waiting.pop()
        if not isinstance(cause, BaseException) or id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        named = [getattr(cause, name, None) for name in ("reason", "os_error", "certificate_error")]
        waiting += [cause.__cause__, cause.__context__, *cause.args, *named]

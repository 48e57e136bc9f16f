"""The parts of a connection to one API server, and its TLS context."""

import os
import ssl
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from apps.clusters.kube.errors import Unreachable

# Where an error of a handshake keeps the certificate (PEM) that the server has shown.
SHOWN = "shown_certificate"


@dataclass(frozen=True)
class Connection:
    """A checked address with a credential. `address` is the IP that was checked; nothing else is dialled."""

    server: str
    address: str
    ca: str = ""
    tls_server_name: str = ""
    token: str = field(default="", repr=False)
    client_certificate: str = field(default="", repr=False)
    client_key: str = field(default="", repr=False)
    # Read at each request in place of `token`: the kubelet rotates it.
    token_file: str = ""

    @property
    def host(self) -> str:
        """The host of the URL: what certificates are checked against, unless the kubeconfig names another."""
        return urlsplit(self.server).hostname or ""

    @property
    def port(self) -> int:
        """The port of the URL, 443 by default."""
        return urlsplit(self.server).port or 443

    @property
    def expected_name(self) -> str:
        """The name that the server's certificate must have."""
        return self.tls_server_name or self.host

    @property
    def base_path(self) -> str:
        """The URL's path, as with gateways that serve many clusters."""
        return urlsplit(self.server).path.rstrip("/")

    @property
    def pinned_url(self) -> str:
        """The URL with the checked IP instead of the name."""
        ip = f"[{self.address}]" if ":" in self.address else self.address
        return f"https://{ip}:{self.port}{self.base_path}"

    def headers(self) -> dict[str, str]:
        """Headers of every request. Raises Unreachable when the token's file is gone."""
        headers = {"Host": urlsplit(self.server).netloc, "User-Agent": "flotilla", "Accept": "application/json"}
        token = _read_token(self.token_file) if self.token_file else self.token
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return headers


def _read_token(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError as error:
        raise Unreachable(0, "NoToken", "The pod's service account token can't be read any more.") from error


def tls_context(connection: Connection) -> ssl.SSLContext:
    """A context that trusts the kubeconfig's CA alone, or the system's when it has none.

    Errors of its handshakes carry what the server has shown. Raises Unreachable when OpenSSL can't read the CA or the
    client certificate.
    """
    try:
        context = ssl.create_default_context(cadata=connection.ca or None)
        context.sslsocket_class, context.sslobject_class = _Socket, _Object
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if connection.client_certificate:
            _load_client_certificate(context, connection)
    # The ssl module does not even hand OpenSSL a text that is not ASCII.
    except (ssl.SSLError, ValueError, TypeError) as error:
        message = "The stored CA or client certificate can't be read. Register the cluster's credential again."
        raise Unreachable(0, "BadCertificate", message) from error
    return context


def _load_client_certificate(context: ssl.SSLContext, connection: Connection) -> None:
    """OpenSSL reads a certificate chain from a file only: it lives in a private directory for a moment."""
    with tempfile.TemporaryDirectory(prefix="flotilla-tls-") as folder:
        path = Path(folder) / "client.pem"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{connection.client_certificate}\n{connection.client_key}\n")
        context.load_cert_chain(path)


class _Socket(ssl.SSLSocket):
    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except ssl.SSLCertVerificationError as error:
            _keep_what_is_shown(error, self)
            raise


class _Object(ssl.SSLObject):
    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except ssl.SSLCertVerificationError as error:
            _keep_what_is_shown(error, self)
            raise


def _keep_what_is_shown(error: ssl.SSLCertVerificationError, tls: Any) -> None:
    """The library says that a certificate is not trusted, but not which one it was; OpenSSL still knows."""
    # It is public since Python 3.13 only, and a server may have shown none: then the sentence names one side less.
    with suppress(AttributeError, TypeError, IndexError, ssl.SSLError):
        setattr(error, SHOWN, tls._sslobj.get_unverified_chain()[0].public_bytes())

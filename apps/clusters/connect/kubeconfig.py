"""Reads a submitted kubeconfig without trusting it. Pure.

The official clients run `exec` and `auth-provider` commands and open files that a kubeconfig names, so a submitted one
never reaches them: only inline values are taken, and everything else is refused with the reason.
https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/
"""

import base64
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from apps.core.errors import Invalid
from apps.core.text import safeyaml

MAX_BYTES = 128 * 1024
MAX_SERVER = 500
# A DNS name or an IPv4 address, in ASCII: it becomes a Host header, a row, and the name that the TLS library compares.
_HOST = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?")
_FIELD = "kubeconfig"

_USER_REFUSED = {
    "exec": "it would run a command on the Flotilla server",
    "auth-provider": "it would run a plug-in on the Flotilla server",
    "tokenFile": "it names a file on the Flotilla server; paste the token itself",
    "client-certificate": "it names a file on the Flotilla server; use client-certificate-data",
    "client-key": "it names a file on the Flotilla server; use client-key-data",
    "username": "API servers no longer accept passwords; use a token or a client certificate",
    "password": "API servers no longer accept passwords; use a token or a client certificate",
    "as": "Flotilla acts as itself; impersonation is not supported",
    "as-uid": "Flotilla acts as itself; impersonation is not supported",
    "as-groups": "Flotilla acts as itself; impersonation is not supported",
    "as-user-extra": "Flotilla acts as itself; impersonation is not supported",
}
_CLUSTER_REFUSED = {
    "insecure-skip-tls-verify": "the server's identity would not be checked; add certificate-authority-data",
    "proxy-url": "it would send the credential through another server",
    "certificate-authority": "it names a file on the Flotilla server; use certificate-authority-data",
}
_USER_TAKEN = frozenset({"token", "client-certificate-data", "client-key-data", "extensions"})
_CLUSTER_TAKEN = frozenset(
    {"server", "certificate-authority-data", "tls-server-name", "extensions", "disable-compression"}
)


@dataclass(frozen=True)
class Kubeconfig:
    """The parts of a connection. Secrets are left out of `repr`, so that no traceback or log shows them."""

    server: str
    ca: str = ""
    tls_server_name: str = ""
    token: str = field(default="", repr=False)
    client_certificate: str = field(default="", repr=False)
    client_key: str = field(default="", repr=False)

    @property
    def credential_kind(self) -> str:
        """ "token" or "certificate"."""
        return "token" if self.token else "certificate"


def parse(text: str | bytes, context: str = "") -> Kubeconfig:
    """The connection of `context`, else of current-context, else of the only one. Raises Invalid with the reason."""
    document = _load(text)
    chosen = _context(document, context)
    cluster = _entry(document, "clusters", "cluster", _text(chosen, "cluster"))
    user = _entry(document, "users", "user", _text(chosen, "user"))
    _refuse(cluster, _CLUSTER_REFUSED, _CLUSTER_TAKEN, "The cluster entry")
    _refuse(user, _USER_REFUSED, _USER_TAKEN, "The user entry")
    token, certificate, key = _credential(user)
    return Kubeconfig(
        server=check_server(_text(cluster, "server")),
        ca=_certificates(_decoded(cluster, "certificate-authority-data"), "certificate-authority-data"),
        tls_server_name=_tls_server_name(_text(cluster, "tls-server-name")),
        token=token,
        client_certificate=certificate,
        client_key=key,
    )


def check_server(server: str) -> str:
    """The server's URL without a trailing slash. Raises Invalid unless it is plain https with a host."""
    if not server:
        raise _invalid("The cluster entry has no server address.")
    try:
        parts = urlsplit(server)
        port = parts.port
    except ValueError as error:
        raise _invalid(f"{server[:200]!r} is not a valid server address.") from error
    if parts.scheme != "https":
        raise _invalid(f"The server address must start with https://, not {parts.scheme or 'nothing'}.")
    if parts.username is not None or parts.password is not None:
        raise _invalid("The server address must not contain a user name or password.")
    plain = server.isascii() and server.isprintable() and not any(character in server for character in "?#\\ ")
    if not plain or port == 0 or len(server) > MAX_SERVER or not _is_host(parts.hostname or ""):
        hint = "" if server.isascii() else "Write an international name in its xn-- form."
        raise _invalid("The server address must be https://host, with a port and a path at most.", hint)
    return server.rstrip("/")


def _tls_server_name(name: str) -> str:
    if name and not _is_host(name):
        raise _invalid("tls-server-name is not the name of a host.")
    return name


def _is_host(name: str) -> bool:
    if ":" in name:
        try:
            return ipaddress.IPv6Address(name).scope_id is None
        except ValueError:
            return False
    return _HOST.fullmatch(name) is not None and ".." not in name


def _load(text: str | bytes) -> Mapping[str, Any]:
    try:
        size = len(text.encode() if isinstance(text, str) else text)
        if size > MAX_BYTES:
            raise _invalid(f"A kubeconfig of {size} bytes is too large; the limit is {MAX_BYTES}.")
        document = safeyaml.load(text)
    except UnicodeEncodeError:
        raise _invalid("This is not text: it holds half of an emoji.") from None
    except ValueError as error:
        raise _invalid(str(error)) from None
    if not isinstance(document, dict) or "clusters" not in document:
        raise _invalid(
            "This is not a kubeconfig: it has no clusters.", "Paste the output of: kubectl config view --raw"
        )
    if document.get("kind", "Config") != "Config":
        raise _invalid("This is not a kubeconfig: its kind is not Config.")
    return document


def _context(document: Mapping[str, Any], preferred: str) -> Mapping[str, Any]:
    contexts = {entry["name"]: entry.get("context") for entry in _named(document, "contexts")}
    if not contexts:
        raise _invalid("The kubeconfig has no contexts.", "Paste the output of: kubectl config view --raw --minify")
    name = preferred or str(document.get("current-context") or "")
    if not name:
        if len(contexts) > 1:
            raise _invalid(f"The kubeconfig has several contexts: {_names(contexts)}.", "Say which one to use.")
        name = next(iter(contexts))
    if name not in contexts:
        raise _invalid(f"The kubeconfig has no context {name[:100]!r}; it has {_names(contexts)}.")
    chosen = contexts[name]
    if not isinstance(chosen, dict):
        raise _invalid(f"The context {name[:100]!r} is empty.")
    return chosen


def _entry(document: Mapping[str, Any], section: str, key: str, name: str) -> Mapping[str, Any]:
    entry = next((entry for entry in _named(document, section) if entry["name"] == name), None)
    if entry is None:
        raise _invalid(f"The context's {key} {name[:100]!r} is not in {section}.")
    # Written with nothing in it, as `user: null`, it is there, and what it lacks is said below.
    value = {} if entry.get(key) is None else entry[key]
    if not isinstance(value, dict):
        raise _invalid(f"The {key} {name[:100]!r} must be an object.")
    return value


def _named(document: Mapping[str, Any], section: str) -> list[Mapping[str, Any]]:
    entries = document.get(section) or []
    if not isinstance(entries, list):
        raise _invalid(f"{section} must be a list.")
    if not all(isinstance(entry, dict) and isinstance(entry.get("name"), str) for entry in entries):
        raise _invalid(f"Every entry of {section} must have a name.")
    names = [entry["name"] for entry in entries]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise _invalid(f"Two {section} are named {twice[:100]!r}.", "Which one is meant? Take the other one out.")
    return entries


def _refuse(entry: Mapping[str, Any], refused: Mapping[str, str], taken: frozenset[str], owner: str) -> None:
    for key, value in entry.items():
        # False, null and "" switch nothing on.
        if key in taken or not value:
            continue
        reason = refused.get(str(key), "Flotilla does not know it")
        raise _invalid(f"{owner} has {str(key)[:60]!r}, which is refused: {reason}.")


def _credential(user: Mapping[str, Any]) -> tuple[str, str, str]:
    certificate = _certificates(_decoded(user, "client-certificate-data"), "client-certificate-data")
    return _one_credential(_text(user, "token"), certificate, _decoded(user, "client-key-data"))


def credential(token: str, certificate: str, key: str) -> tuple[str, str, str]:
    """A token, or a client certificate with its key (both PEM), given alone. Raises Invalid for what can't be one."""
    if token.strip() and (certificate.strip() or key.strip()):
        raise Invalid("Give a token or a client certificate, not both.", field="credential")
    try:
        return _one_credential(token, _certificates(certificate.encode(), "the certificate"), key.encode())
    except Invalid as error:
        raise Invalid(error.message, hint=error.hint, field="credential") from None


def _one_credential(token: str, certificate: str, key: bytes) -> tuple[str, str, str]:
    token = token.strip()
    if token:
        if not token.isascii() or any(c.isspace() or not c.isprintable() for c in token):
            raise _invalid("The token contains white space or characters that no token has.")
        return token, "", ""
    if not certificate and not key:
        raise _invalid("There is no credential.", "It needs a token, or a client certificate with its key.")
    if not certificate or not key:
        raise _invalid("A client certificate needs both client-certificate-data and client-key-data.")
    return "", certificate, _belonging(key, certificate)


def _belonging(key: bytes, certificate: str) -> str:
    """The key in PEM form, without what stands around it. Raises Invalid unless it is that of the certificate."""
    try:
        private = serialization.load_pem_private_key(key, password=None)
        parsed = x509.load_pem_x509_certificate(certificate.encode())
        form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        belongs = private.public_key().public_bytes(*form) == parsed.public_key().public_bytes(*form)
        text = private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _invalid("client-key-data is not an unencrypted private key in PEM form.") from error
    if not belongs:
        raise _invalid("client-key-data does not belong to client-certificate-data.")
    if parsed.not_valid_after_utc < datetime.now(UTC):
        raise _invalid(f"The client certificate expired on {parsed.not_valid_after_utc:%Y-%m-%d}.")
    return text


def _certificates(pem: bytes, name: str) -> str:
    try:
        return pem_blocks(pem) if pem else ""
    except ValueError as error:
        raise _invalid(f"{name} holds no certificate in PEM form.") from error


def pem_blocks(bundle: bytes) -> str:
    """The certificates of a bundle, without the words that may stand between them: OpenSSL is handed ASCII alone.

    Raises ValueError when there is none, or one that can't be read.
    """
    certificates = x509.load_pem_x509_certificates(bundle)
    return "".join(certificate.public_bytes(serialization.Encoding.PEM).decode() for certificate in certificates)


def _decoded(entry: Mapping[str, Any], key: str) -> bytes:
    text = _text(entry, key)
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError as error:
        raise _invalid(f"{key} is not base64.") from error


def _text(entry: Mapping[str, Any], key: str) -> str:
    value = entry.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _invalid(f"{key} must be text.")
    return value


def _names(names: Mapping[str, Any]) -> str:
    shown = ", ".join(name[:60] for name in list(names)[:10])
    return shown if len(names) <= 10 else f"{shown} and {len(names) - 10} more"


def _invalid(message: str, hint: str = "") -> Invalid:
    return Invalid(message, hint=hint, field=_FIELD)

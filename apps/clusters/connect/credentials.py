"""Reads a stored credential's kind and end. Pure; nothing here verifies a signature."""

import base64
import binascii
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cryptography import x509

TOKEN = "token"  # noqa: S105 - the name of a kind
CERTIFICATE = "certificate"
IN_CLUSTER = "in-cluster"


@dataclass(frozen=True)
class Validity:
    """A credential's kind and its end; None where it has none, or does not say."""

    kind: str
    expires_at: datetime | None = None

    @property
    def renews_itself(self) -> bool:
        """Whether the kubelet replaces it before it ends."""
        return self.kind == IN_CLUSTER


def validity(kind: str, *, token: str = "", certificate: str = "") -> Validity:
    """The end of a bearer token that is a JWT (RFC 7519, `exp`) or of a client certificate (`notAfter`)."""
    if kind == CERTIFICATE:
        return Validity(kind, _not_after(certificate))
    return Validity(kind, _exp(token))


def _exp(token: str) -> datetime | None:
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims: Any = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return datetime.fromtimestamp(int(claims["exp"]), UTC)
    except (binascii.Error, ValueError, KeyError, TypeError, OverflowError, OSError):
        return None  # an opaque token, or a JWT without an end


def _not_after(certificate: str) -> datetime | None:
    try:
        chain = x509.load_pem_x509_certificates(certificate.encode())
    except ValueError:
        return None
    return min(link.not_valid_after_utc for link in chain)

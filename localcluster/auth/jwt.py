"""JSON Web Tokens signed with ES256 (RFC 7515, RFC 7518 section 3.4), as far as ServiceAccount tokens need them."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

_HEADER = {"alg": "ES256", "typ": "JWT"}
_HALF = 32  # bytes of each of the signature's two numbers


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def sign(claims: dict[str, Any], key: ec.EllipticCurvePrivateKey) -> str:
    """A token with these claims."""
    body = ".".join(_encode(json.dumps(part, separators=(",", ":")).encode()) for part in (_HEADER, claims))
    r, s = decode_dss_signature(key.sign(body.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{body}.{_encode(r.to_bytes(_HALF, 'big') + s.to_bytes(_HALF, 'big'))}"


def verify(token: str, key: ec.EllipticCurvePublicKey) -> dict[str, Any] | None:
    """The claims of a token that ``key`` signed; None of any other. Its times are not looked at."""
    try:
        body, _, signature = token.rpartition(".")
        header, _, claims = body.partition(".")
        raw = _decode(signature)
        if len(raw) != 2 * _HALF or json.loads(_decode(header)).get("alg") != "ES256":
            return None
        r, s = (int.from_bytes(half, "big") for half in (raw[:_HALF], raw[_HALF:]))
        key.verify(encode_dss_signature(r, s), body.encode(), ec.ECDSA(hashes.SHA256()))
        found = json.loads(_decode(claims))
    except (ValueError, binascii.Error, AttributeError, InvalidSignature):
        return None
    return found if isinstance(found, dict) else None

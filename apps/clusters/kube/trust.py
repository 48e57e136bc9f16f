"""Why two sides of a TLS connection do not trust each other, in words that name both.

What the server has shown, `connection` has kept with the error of the handshake. Pure.
"""

import ssl
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime

from cryptography import x509
from cryptography.x509.oid import NameOID

from apps.clusters.kube.connection import SHOWN, Connection

# OpenSSL's X509_V_ERR_*: include/openssl/x509_vfy.h.
_NOT_YET_VALID, _EXPIRED, _OTHER_HOST, _OTHER_ADDRESS = 9, 10, 62, 64
# OpenSSL's names of the alerts (RFC 8446, 6.2) by which a server turns down a client's certificate.
_REFUSALS = (
    *("CERTIFICATE_EXPIRED", "CERTIFICATE_REVOKED", "CERTIFICATE_UNKNOWN", "CERTIFICATE_REQUIRED"),
    *("BAD_CERTIFICATE", "UNSUPPORTED_CERTIFICATE", "ALERT_UNKNOWN_CA", "ALERT_ACCESS_DENIED"),
)
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")
_NAMES_TOLD, _NAME_LENGTH = 3, 80


def untrusted(error: ssl.SSLCertVerificationError, connection: Connection) -> str:
    """Why the server's certificate is not trusted: what it shows, and what was registered."""
    shown, code = _shown_by(error), getattr(error, "verify_code", 0)
    now = f"by Flotilla's clock it is {_moment(datetime.now(UTC))}"
    if shown is not None and code == _EXPIRED:
        ended = _moment(shown.not_valid_after_utc)
        return f"The server's certificate expired on {ended}; {now}. Renew it on the cluster."
    if shown is not None and code == _NOT_YET_VALID:
        begins = _moment(shown.not_valid_before_utc)
        return f"The server's certificate is valid from {begins} on; {now}. Set the clocks."
    if code in (_OTHER_HOST, _OTHER_ADDRESS):
        names = _names_of(shown) if shown is not None else "another name"
        return (
            f"The server's certificate is for {names}, and Flotilla asks for {asked_name(connection)}. Register the "
            "cluster by a name that is in its certificate, or with tls-server-name."
        )
    return _other_authority(shown, connection, str(getattr(error, "verify_message", "") or "it can't be verified"))


def _other_authority(shown: x509.Certificate | None, connection: Connection, why: str) -> str:
    registered = _authorities(connection.ca)
    expected = f"the registered certificate authority is {registered}" if registered else "only public ones are trusted"
    if shown is None:
        return f"The server's certificate is not trusted ({why}): {expected}. {_NEW_KUBECONFIG}"
    issuer = _name(shown.issuer)
    by = f"another authority of the name {issuer}" if issuer in registered else issuer
    return f"The server's certificate was issued by {by} ({why}); {expected}. {_NEW_KUBECONFIG}"


_NEW_KUBECONFIG = "If the cluster has a new authority, give it its new kubeconfig; else another server answers for it."


def without_tls(error: ssl.SSLError) -> bool:
    """Whether the server does not speak TLS."""
    return _says(error, _NO_TLS)


def refuses_certificate(error: ssl.SSLError) -> bool:
    """Whether the server turned our client certificate down."""
    return _says(error, _REFUSALS)


def expired_since(connection: Connection) -> str:
    """When our client certificate ended, if it has; "" otherwise."""
    for certificate in _certificates(connection.client_certificate)[:1]:
        if certificate.not_valid_after_utc < datetime.now(UTC):
            return _moment(certificate.not_valid_after_utc)
    return ""


def refusal(connection: Connection, why: str) -> str:
    """The sentence for a server that refuses our client certificate: what we show, and what it says."""
    since = expired_since(connection)
    ours = f"Flotilla's client certificate expired on {since}, and the server" if since else "The server"
    rejection = "does not take it" if since else "does not take Flotilla's client certificate"
    because = f" ({why})" if why else ""
    return f"{ours} {rejection}{because}. Give the cluster a new credential."


def alert_words(error: ssl.SSLError) -> str:
    """The alert as OpenSSL names it: "SSLV3_ALERT_CERTIFICATE_EXPIRED" → "certificate expired"."""
    return str(getattr(error, "reason", None) or "").rpartition("ALERT_")[2].replace("_", " ").lower()


def _says(error: ssl.SSLError, words: Iterable[str]) -> bool:
    reason = str(getattr(error, "reason", None) or "").upper().replace(" ", "_")
    return any(word in reason for word in words)


def _shown_by(error: ssl.SSLCertVerificationError) -> x509.Certificate | None:
    pem = getattr(error, SHOWN, None)
    return next(iter(_certificates(pem)), None) if isinstance(pem, str) else None


def _certificates(pem: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem.encode()) if pem else []
    except ValueError:
        return []


def _authorities(ca: str) -> str:
    names = list(dict.fromkeys(_name(certificate.subject) for certificate in _certificates(ca)))
    return _listed(names)


def _names_of(shown: x509.Certificate) -> str:
    """The hosts that a certificate is for. Addresses are counted only: not everyone who reads this may know them."""
    names, addresses = [], 0
    with suppress(x509.ExtensionNotFound, ValueError):
        hosts = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = hosts.get_values_for_type(x509.DNSName)
        addresses = len(hosts.get_values_for_type(x509.IPAddress))
    listed = _listed(names) or ("" if addresses else _name(shown.subject))
    more = f"{addresses} other address{'' if addresses == 1 else 'es'}" if addresses else ""
    return (", and " if " and " in listed else " and ").join(part for part in (listed, more) if part)


def asked_name(connection: Connection) -> str:
    """The name that Flotilla asks for. An address is not told: not everyone who reads this may know it."""
    name = connection.expected_name
    return "the registered address" if _is_address(name) else name


def _is_address(name: str) -> bool:
    return ":" in name or name.replace(".", "").isdigit()


def _name(name: x509.Name) -> str:
    common = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(common[0].value if common else name.rfc4514_string())[:_NAME_LENGTH]


def _listed(names: list[str]) -> str:
    listed = ", ".join(name[:_NAME_LENGTH] for name in names[:_NAMES_TOLD])
    return listed if len(names) <= _NAMES_TOLD else f"{listed} and {len(names) - _NAMES_TOLD} more"


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"

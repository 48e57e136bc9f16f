"""The cluster's own certificate authority, server certificate, admin token, signing key and kubeconfig.

All are made at the first start, kept in ``<data dir>/pki`` (mode 0600) and used again. The server certificate is
renewed at a start within 30 days of its end.
"""

from __future__ import annotations

import base64
import ipaddress
import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")


@dataclass(frozen=True, slots=True)
class Credentials:
    """The keys and certificates of the server and its clients."""

    ca_file: Path
    cert_file: Path
    key_file: Path
    token: str
    #: Signs the tokens of ServiceAccounts, which so outlive a restart.
    signing_key_file: Path

    def signing_key(self) -> ec.EllipticCurvePrivateKey:
        """The key that signs ServiceAccount tokens."""
        return _load_key(self.signing_key_file)


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, in one step: a reader sees the old or the new content."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    temporary.replace(path)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{path} is no key of ours; delete {path.parent} to have a new one made")
    return key


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _builder(subject: str, issuer: str, key: ec.EllipticCurvePublicKey, days: int) -> x509.CertificateBuilder:
    start = datetime.now(UTC) - timedelta(hours=1)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=days))
    )


def _make_authority(cert_file: Path, key_file: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        _builder("localcluster-ca", "localcluster-ca", key.public_key(), 3650)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(authority=True), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(key, hashes.SHA256())
    )
    write_private(key_file, _pem(key))
    write_private(cert_file, certificate.public_bytes(serialization.Encoding.PEM))


def _make_server(folder: Path, host: str) -> None:
    authority = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
    authority_key = _load_key(folder / "ca.key")
    key = ec.generate_private_key(ec.SECP256R1())
    addresses = {ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address(host)}
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in _NAMES]
    names += [x509.IPAddress(address) for address in sorted(addresses, key=str)]
    certificate = (
        _builder("localcluster", "localcluster-ca", key.public_key(), 397)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
                authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
            ),
            critical=False,
        )
        .sign(authority_key, hashes.SHA256())
    )
    write_private(folder / "server.key", _pem(key))
    write_private(folder / "server.crt", certificate.public_bytes(serialization.Encoding.PEM))


def _is_fresh(cert_file: Path, host: str) -> bool:
    if not cert_file.exists():
        return False
    certificate = x509.load_pem_x509_certificate(cert_file.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    covered = ipaddress.ip_address(host) in names.get_values_for_type(x509.IPAddress)
    return covered and certificate.not_valid_after_utc - datetime.now(UTC) > timedelta(days=30)


def ensure_credentials(data_dir: Path, host: str) -> Credentials:
    """Make what is missing or runs out, and give the whole. ``host`` is the IP address that is served."""
    folder = data_dir / "pki"
    ca_file, ca_key = folder / "ca.crt", folder / "ca.key"
    if not (ca_file.exists() and ca_key.exists()):
        _make_authority(ca_file, ca_key)
        (folder / "server.crt").unlink(missing_ok=True)
    if not (_is_fresh(folder / "server.crt", host) and (folder / "server.key").exists()):
        _make_server(folder, host)
    token_file = folder / "admin.token"
    if not token_file.exists():
        write_private(token_file, secrets.token_urlsafe(32).encode())
    signing_key = folder / "sa.key"
    if not signing_key.exists():
        write_private(signing_key, _pem(ec.generate_private_key(ec.SECP256R1())))
    token = token_file.read_text().strip()
    return Credentials(ca_file, folder / "server.crt", folder / "server.key", token, signing_key)


def write_kubeconfig(path: Path, url: str, credentials: Credentials) -> None:
    """A kubeconfig with everything inline, context ``local``."""
    authority = base64.b64encode(credentials.ca_file.read_bytes()).decode()
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "local", "cluster": {"server": url, "certificate-authority-data": authority}}],
        "users": [{"name": "local-admin", "user": {"token": credentials.token}}],
        "contexts": [{"name": "local", "context": {"cluster": "local", "user": "local-admin"}}],
        "current-context": "local",
    }
    write_private(path, yaml.safe_dump(content, sort_keys=False).encode())
